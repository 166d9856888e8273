"""A batch as the bytes of one file: a small head with a checksum, header, body.

What is read may be damaged in any way: it raises BatchError("record") and nothing else.
"""

from __future__ import annotations

import json
import struct
import zlib

from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.headers import from_headers, to_headers

_HEAD = struct.Struct("<4sIIII")  # magic, header bytes, body bytes, rows, CRC32
_MAGIC = b"EBN1"


def pack_batch(batch: Batch) -> list[bytes]:
    """Return the parts of the record, to be written one after another."""
    header = json.dumps(to_headers(batch.header, sent_ns=0)).encode()
    sizes = (len(header), len(batch.body), batch.rows)
    checksum = _checksum(sizes, header, batch.body)
    return [_HEAD.pack(_MAGIC, *sizes, checksum), header, batch.body]


def unpack_batch(record: bytes) -> Batch:
    """Return the batch; raises BatchError."""
    if len(record) < _HEAD.size:
        raise BatchError("record", "truncated")
    magic, header_size, body_size, rows, checksum = _HEAD.unpack_from(record)
    if magic != _MAGIC or len(record) != _HEAD.size + header_size + body_size:
        raise BatchError("record", "of another size than written")
    header = record[_HEAD.size : _HEAD.size + header_size]
    body = record[_HEAD.size + header_size :]
    if checksum != _checksum((header_size, body_size, rows), header, body):
        raise BatchError("record", "another checksum than written")
    try:
        fields = {name.lower(): text for name, text in json.loads(header).items()}
        return Batch(from_headers(fields)[0], body, rows)
    except (ValueError, AttributeError, TypeError) as error:
        raise BatchError("record", f"not a header: {error}") from error


def _checksum(sizes: tuple[int, int, int], header: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(header, zlib.crc32(struct.pack("<III", *sizes))))
