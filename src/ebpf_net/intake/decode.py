"""From the body of a request to checked tables. The body is hostile until then.

The order: bounded decompression, framing and size of each Arrow message, exact schema,
full validation by Arrow, then the values. Whatever is wrong raises BatchError with one
of REASONS and nothing else. Tables that only a newer version knows are left out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import zstandard

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import BatchHeader, BatchKind
from ebpf_net.intake.table_values import check_values, keep_last_rows
from ebpf_net.schema import TABLES

REASONS: Mapping[str, str] = {
    "zstd": "not one complete zstd frame that says its size",
    "decoded_size": "decompresses to more than the limit",
    "ipc": "not one complete Arrow IPC stream after another",
    "ipc_compression": "buffers compressed inside Arrow",
    "ipc_dictionary": "dictionary batches",
    "table": "a table without a name, or that comes twice",
    "schema": "columns other than those of schema.TABLES",
    "nulls": "a null",
    "rows": "more rows or record batches than the limit",
    "values": "a value that cannot be",
    "snapshot": "a snapshot with edges",
}
"""Why a body is refused; the label ``reason`` of ``ebpf_net.intake.refused``."""

UNKNOWN_TABLE = "unknown_table"
"""Why a table is left out; the label ``reason`` of ``ebpf_net.intake.skipped``."""

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_MAX_MESSAGE_METADATA = 65_536
_MAX_ZSTD_WINDOW = 8 << 20
_RECORD_BATCH_COMPRESSION = 3  # field of the flatbuffer table RecordBatch, Message.fbs
_MESSAGE_HEADER = 2  # field of the flatbuffer table Message


@dataclass(frozen=True)
class Limits:
    """Bounds of one batch."""

    decoded_bytes: int = 64 << 20
    rows: int = 1_000_000  # of all tables together
    record_batches: int = 64


@dataclass(frozen=True)
class DecodedBatch:
    """A checked batch. ``tables`` has all of schema.TABLES; some may be empty.

    ``unknown`` names what else there was: its collector is newer than this reducer.
    """

    header: BatchHeader
    tables: dict[str, pa.Table]
    unknown: tuple[str, ...] = ()


@dataclass
class _Budget:
    limits: Limits
    rows: int = 0
    record_batches: int = 0

    def spend(self, rows: int) -> None:
        self.rows += rows
        self.record_batches += 1
        if self.rows > self.limits.rows:
            raise BatchError("rows", f"more than {self.limits.rows} rows")
        if self.record_batches > self.limits.record_batches:
            many = self.limits.record_batches
            raise BatchError("rows", f"more than {many} record batches")


@dataclass
class _Stream:
    name: str
    schema: pa.Schema | None  # None: the table is unknown, and nothing of it is read
    batches: list[pa.RecordBatch] = field(default_factory=list)


def decode(
    header: BatchHeader, body: bytes, limits: Limits | None = None
) -> DecodedBatch:
    """Return the checked batch; raises BatchError."""
    tables, unknown = _decode_body(body, limits or Limits())
    if header.kind is BatchKind.SNAPSHOT and tables["edges"].num_rows:
        raise BatchError("snapshot", "a snapshot has only reference tables")
    return DecodedBatch(header, tables, unknown)


def decode_tables(body: bytes, limits: Limits | None = None) -> dict[str, pa.Table]:
    """Return all of schema.TABLES, empty where the body lacks them."""
    return _decode_body(body, limits or Limits())[0]


def _decode_body(
    body: bytes, limits: Limits
) -> tuple[dict[str, pa.Table], tuple[str, ...]]:
    """Return the tables, and the names of those that are not known here."""
    plain = decompress(body, limits.decoded_bytes)
    tables = dict(_EMPTY)
    present: set[str] = set()
    try:
        for stream in _read_streams(plain, _Budget(limits)):
            if stream.name in present:
                raise BatchError("table", f"{stream.name} comes twice")
            present.add(stream.name)
            if stream.schema is not None:
                tables[stream.name] = _checked_table(stream, stream.schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        message = str(error).splitlines()[0][:200] if str(error) else "unreadable"
        raise BatchError("ipc", message) from error
    check_values(tables)
    return tables, tuple(sorted(present - TABLES.keys()))


def decompress(body: bytes, max_bytes: int) -> pa.Buffer:
    """Return what one zstd frame holds.

    The buffer has the size that the frame claims, but only what is really decompressed
    is ever touched. It is Arrow's memory, which is kept for the next batch.
    """
    claimed = _claimed_size(body, max_bytes)
    plain = pa.allocate_buffer(claimed)
    view = memoryview(plain)
    total = 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
    try:
        reader = decompressor.stream_reader(body, read_across_frames=True)
        while total < claimed and (size := reader.readinto(view[total:])):
            total += size
        more = reader.read(1)
    except zstandard.ZstdError as error:
        raise BatchError("zstd", str(error)) from error
    if total != claimed or more:
        raise BatchError("zstd", f"not the {claimed} bytes that the frame claims")
    return plain


def _claimed_size(body: bytes, max_bytes: int) -> int:
    try:
        frame = zstandard.get_frame_parameters(body)
    except zstandard.ZstdError as error:
        raise BatchError("zstd", str(error)) from error
    if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        raise BatchError("zstd", "the frame does not say how much it holds")
    if frame.content_size > max_bytes:
        message = f"claims {frame.content_size} bytes, at most {max_bytes} are taken"
        raise BatchError("decoded_size", message)
    return int(frame.content_size)


def _read_streams(plain: pa.Buffer, budget: _Budget) -> Iterator[_Stream]:
    source = pa.BufferReader(plain)
    while source.tell() < plain.size:
        yield _read_stream(source, plain, budget)


def _read_stream(source: pa.BufferReader, plain: pa.Buffer, budget: _Budget) -> _Stream:
    reader = pa.ipc.MessageReader.open_stream(source)
    stream: _Stream | None = None
    for message in _messages(reader):
        if stream is None:
            stream = _open_stream(message)
            continue
        if stream.schema is None:
            budget.spend(0)
            continue
        if message.type != "record batch":
            raise BatchError("ipc_dictionary", f"a {message.type} message")
        if _is_compressed(message.metadata.to_pybytes()):
            raise BatchError("ipc_compression", "compress the whole body instead")
        batch = pa.ipc.read_record_batch(message, stream.schema)
        budget.spend(batch.num_rows)
        stream.batches.append(batch)
    end = source.tell()
    if stream is None or plain[end - 8 : end].to_pybytes() != _END_OF_STREAM:
        raise BatchError("ipc", "truncated")
    return stream


def _messages(reader: pa.ipc.MessageReader) -> Iterator[pa.ipc.Message]:
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.metadata.size > _MAX_MESSAGE_METADATA:
            raise BatchError("ipc", f"metadata of {message.metadata.size} bytes")
        yield message


def _open_stream(message: pa.ipc.Message) -> _Stream:
    if message.type != "schema":
        raise BatchError("ipc", f"a {message.type} message before the schema")
    schema = pa.ipc.read_schema(message)
    name = (schema.metadata or {}).get(b"table", b"").decode("utf-8", "replace")
    if name not in TABLES:
        if not _TABLE_NAME.fullmatch(name):
            raise BatchError("table", f"no table is named {name[:80]!r}")
        return _Stream(name, None)
    if not schema.equals(_SCHEMAS[name]):
        _refuse_schema(name, schema)
    return _Stream(name, schema)


def _refuse_schema(name: str, schema: pa.Schema) -> None:
    """Compare names and types; nullability is the sender's own affair."""
    expected = _SCHEMAS[name]
    if schema.names != expected.names:
        raise BatchError("schema", f"columns of {name} are other than expected")
    for column, wanted in zip(schema, expected, strict=True):
        if column.type != wanted.type:
            raise BatchError(
                "schema", f"{name}.{wanted.name} is {column.type}, not {wanted.type}"
            )


def _is_compressed(metadata: bytes) -> bool:
    """Whether the flatbuffer of a record batch message has a body compression.

    Arrow has verified the buffer, so that offsets are within it; still, reading past
    its end is an error and not a crash.
    """
    try:
        (root,) = struct.unpack_from("<I", metadata, 0)
        header = _flatbuffer_field(metadata, root, _MESSAGE_HEADER)
        if header is None:
            return False
        (offset,) = struct.unpack_from("<I", metadata, header)
        batch = header + offset
        compression = _flatbuffer_field(metadata, batch, _RECORD_BATCH_COMPRESSION)
    except struct.error as error:
        raise BatchError("ipc", "metadata that points outside itself") from error
    return compression is not None


def _flatbuffer_field(metadata: bytes, table: int, index: int) -> int | None:
    (back,) = struct.unpack_from("<i", metadata, table)
    vtable = table - back
    if vtable < 0:
        raise BatchError("ipc", "metadata that points outside itself")
    (size,) = struct.unpack_from("<H", metadata, vtable)
    slot = 4 + 2 * index
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, vtable + slot)
    return table + int(offset) if offset else None


def _checked_table(stream: _Stream, sent: pa.Schema) -> pa.Table:
    for batch in stream.batches:
        batch.validate(full=True)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if column.null_count:
                raise BatchError("nulls", f"{stream.name}.{name} has a null")
    schema = _SCHEMAS[stream.name]
    table = pa.Table.from_batches(stream.batches, sent)
    return keep_last_rows(
        stream.name, pa.Table.from_arrays(table.columns, schema=schema)
    )


def _arrow_schema(name: str) -> pa.Schema:
    return pa.schema([pa.field(column, _TYPES[kind]) for column, kind in TABLES[name]])


_TYPES: Mapping[str, pa.DataType] = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "int16": pa.int16(),
    "int8": pa.int8(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
_SCHEMAS = {name: _arrow_schema(name) for name in TABLES}
_EMPTY = {name: schema.empty_table() for name, schema in _SCHEMAS.items()}
