import io
import random
import resource
import struct
import time
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.collectors.encode import encode_body
from ebpf_net.errors import BatchError
from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.decode import (
    REASONS,
    Limits,
    decode,
    decode_tables,
    decompress,
)
from ebpf_net.schema import EDGES, TABLES
from ebpf_net.testing.intake import encode_tables, make_header, make_table

EDGE = {"protocol": 6, "role": 1, "bytes_sent": 5}
EDGE_TABLE = make_table("edges", [EDGE, {**EDGE, "protocol": 17}])
HOST_ROWS = [{"host_id": "a" * 7}, {"host_id": "b" * 11}, {"host_id": "c" * 13}]
HOST_TABLE = make_table("hosts", HOST_ROWS)
GOOD = {"edges": EDGE_TABLE, "hosts": HOST_TABLE}


def compress(plain):
    return zstandard.ZstdCompressor(level=1).compress(plain)


def plain_bytes(tables):
    return zstandard.ZstdDecompressor().decompress(encode_tables(tables))


def raw_stream(table, name="edges", options=None):
    out = io.BytesIO()
    named = table.replace_schema_metadata({"table": name})
    with pa.ipc.new_stream(out, named.schema, options=options) as writer:
        writer.write_table(named)
    return out.getvalue()


def reason_of(body, limits=None):
    with pytest.raises(BatchError) as caught:
        decode_tables(body, limits)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_tables_come_back_as_sent():
    tables = decode_tables(encode_tables(GOOD))
    assert list(tables) == list(TABLES)
    assert tables["edges"].to_pylist() == EDGE_TABLE.to_pylist()
    assert tables["hosts"].to_pylist() == HOST_TABLE.to_pylist()
    assert [tables[name].num_rows for name in ("processes", "cgroups")] == [0, 0]


def test_body_made_by_a_collector_is_read():
    edges = {name: np.ones(3, kind) for name, kind in EDGES}
    edges["protocol"][:] = 6
    samples = {
        "edge": np.array([0, 2], np.int32),
        "count": np.array([4, 5], np.int32),
        "bucket": np.array([-40, 3], np.int16),
        "kind": np.array([1, 3], np.int8),
    }
    processes = {
        "process_id": np.array([1, 2], np.int64),
        "pid": np.array([1, 2], np.int32),
        "cgroup_id": np.array([1, 1], np.int64),
        "comm": ["init", "naïve"],
        "executable": ["/sbin/init", ""],
        "removed": np.array([False, True]),
    }
    body = encode_body(
        {"processes": processes, "edges": edges, "edge_samples": samples}
    )
    tables = decode_tables(body)
    assert tables["edges"]["bytes_sent"].to_pylist() == [1, 1, 1]
    assert tables["edge_samples"]["bucket"].to_pylist() == [-40, 3]
    assert tables["processes"]["comm"].to_pylist() == ["init", "naïve"]
    assert tables["processes"]["removed"].to_pylist() == [False, True]


def test_empty_body_has_empty_tables():
    assert all(table.num_rows == 0 for table in decode_tables(compress(b"")).values())


def test_snapshot_has_no_edges():
    header = make_header(1, kind=BatchKind.SNAPSHOT)
    assert decode(header, encode_tables({"hosts": HOST_TABLE})).header is header
    with pytest.raises(BatchError) as caught:
        decode(header, encode_tables(GOOD))
    assert caught.value.reason == "snapshot"


def test_several_record_batches_are_one_table():
    out = io.BytesIO()
    named = EDGE_TABLE.replace_schema_metadata({"table": "edges"})
    with pa.ipc.new_stream(out, named.schema) as writer:
        writer.write_table(named, max_chunksize=1)
    plain = out.getvalue()
    assert decode_tables(compress(plain))["edges"].num_rows == 2


def test_schema_metadata_of_the_sender_does_not_go_further():
    assert decode_tables(encode_tables(GOOD))["edges"].schema.metadata is None


@pytest.mark.parametrize("body", [b"", b"\0", b"PK\x03\x04", b"(\xb5/\xfd", b"a" * 99])
def test_other_bytes_are_not_zstd(body):
    assert reason_of(body) == "zstd"


def test_bytes_after_the_frames_are_not_zstd():
    assert reason_of(encode_tables(GOOD) + b"garbage") == "zstd"


def test_every_truncation_is_refused():
    plain = plain_bytes(GOOD)
    whole = {len(plain_bytes({"edges": EDGE_TABLE})), len(plain)}
    for size in range(1, len(plain)):
        if size not in whole:
            reason_of(compress(plain[:size]))


def test_truncated_frame_is_refused():
    body = encode_tables(GOOD)
    for size in range(len(body)):
        reason_of(body[:size])


def test_bomb_stops_at_the_limit():
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(512 << 20))
    assert len(bomb) < 70_000
    assert reason_of(bomb) == "decoded_size"
    # The frame's header claims 1000 bytes: FCS_Field_Size 4 (RFC 8878, 3.1.1.1).
    assert bomb[4] >> 6 == 2
    liar = bomb[:4] + bytes([bomb[4]]) + bomb[5:6] + struct.pack("<I", 1000) + bomb[10:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    assert reason_of(liar) == "zstd"
    assert time.process_time() - started < 0.2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_frame_without_its_size_is_refused():
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    assert reason_of(stream.compress(plain_bytes(GOOD)) + stream.flush()) == "zstd"


def test_claimed_size_is_not_allocated():
    frame = bytes.fromhex("28b52ffd") + bytes([0xE0]) + struct.pack("<Q", 1 << 30)
    assert reason_of(frame + bytes(10)) == "decoded_size"
    small = bytes.fromhex("28b52ffd") + bytes([0xE0]) + struct.pack("<Q", 60 << 20)
    assert reason_of(small + bytes(10)) == "zstd"


def test_huge_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert reason_of(stream.compress(bytes(100)) + stream.flush()) == "zstd"


def test_second_frame_is_refused():
    assert reason_of(encode_tables(GOOD) + compress(b"more")) == "zstd"


def test_large_frame_is_whole():
    plain = random.Random(1).randbytes(3_000_000)
    assert decompress(compress(plain), 1 << 22).to_pybytes() == plain


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compression_inside_arrow_is_refused(codec):
    options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
    big = pa.concat_tables([EDGE_TABLE] * 1000)
    assert reason_of(compress(raw_stream(big, options=options))) == "ipc_compression"


def test_bomb_inside_arrow_is_refused_before_it_is_decompressed():
    zeros = make_table("edges", [EDGE])
    columns = {name: np.zeros(400_000, kind) for name, kind in EDGES}
    zeros = pa.table(columns, schema=zeros.schema)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    body = compress(raw_stream(zeros, options=options))
    assert len(body) < 20_000
    assert reason_of(body) == "ipc_compression"


def newer_stream(name="cloud_moons", rows=3, options=None):
    """A table of a later version."""
    table = pa.table({"key": ["a"] * rows, "mass": pa.array([1.5] * rows)})
    return raw_stream(table, name, options)


def test_table_of_a_newer_collector_is_left_out_and_named():
    plain = newer_stream() + raw_stream(EDGE_TABLE) + newer_stream("cloud_suns")
    batch = decode(make_header(1), compress(plain))
    assert batch.tables["edges"].num_rows == 2
    assert list(batch.tables) == list(TABLES)
    assert batch.unknown == ("cloud_moons", "cloud_suns")
    assert decode(make_header(1), encode_tables(GOOD)).unknown == ()


def test_what_is_within_an_unknown_table_is_not_read():
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    assert decode_tables(compress(newer_stream(options=options)))
    dictionary = pa.table({"key": pa.array(["a"]).dictionary_encode()})
    assert decode_tables(compress(raw_stream(dictionary, "cloud_moons")))
    assert decode_tables(compress(newer_stream(rows=9)), Limits(rows=8))


def test_unknown_table_is_bounded_and_whole():
    stream = newer_stream()
    assert reason_of(compress(stream * 2)) == "table"
    assert reason_of(compress(stream), Limits(record_batches=0)) == "rows"
    for size in range(1, len(stream)):
        assert reason_of(compress(stream[:size])) == "ipc"


@pytest.mark.parametrize("name", ["", "Cloud", "a-b", "a" * 65, "1", "\u00e9"])
def test_what_is_no_name_of_a_table_is_refused(name):
    assert reason_of(compress(newer_stream(name))) == "table"


def test_nameless_tables_are_refused():
    assert reason_of(compress(raw_stream(EDGE_TABLE, b"\xff\xfe"))) == "table"
    out = io.BytesIO()
    with pa.ipc.new_stream(out, EDGE_TABLE.schema) as writer:
        writer.write_table(EDGE_TABLE)
    assert reason_of(compress(out.getvalue())) == "table"


def test_table_that_comes_twice_is_refused():
    assert reason_of(compress(raw_stream(EDGE_TABLE) * 2)) == "table"


def changed_column(name, values):
    index = EDGE_TABLE.column_names.index(name)
    return EDGE_TABLE.set_column(index, name, values)


@pytest.mark.parametrize(
    "table",
    [
        EDGE_TABLE.drop_columns(["role"]),
        EDGE_TABLE.append_column("more", pa.array([1, 2])),
        EDGE_TABLE.select(EDGE_TABLE.column_names[::-1]),
        EDGE_TABLE.rename_columns(["x", *EDGE_TABLE.column_names[1:]]),
        changed_column("role", pa.array([1, 1], pa.uint8())),
        changed_column("netns", pa.array([1.0, 1.0])),
        changed_column("netns", pa.array(["1", "1"])),
        changed_column("netns", pa.array([1, 1], pa.timestamp("ns"))),
        changed_column("netns", pa.nulls(2)),
        changed_column("netns", pa.array([[1], [1]])),
        changed_column("role", pa.array([True, False]).cast(pa.bool8())),
        changed_column("role", pa.RunEndEncodedArray.from_arrays([2], [1])),
    ],
)
def test_other_schema_is_refused(table):
    assert reason_of(compress(raw_stream(table))) == "schema"


def test_dictionaries_are_refused():
    table = changed_column("netns", pa.array([1, 1]).dictionary_encode())
    assert reason_of(compress(raw_stream(table))) in ("schema", "ipc_dictionary")


def test_nulls_are_refused():
    table = changed_column("netns", pa.array([1, None]))
    assert reason_of(compress(raw_stream(table))) == "nulls"


def test_rows_and_record_batches_are_bounded():
    body = encode_tables(GOOD)
    assert reason_of(body, Limits(rows=4)) == "rows"
    assert reason_of(body, Limits(record_batches=1)) == "rows"
    assert decode_tables(body, Limits(rows=5, record_batches=2))


def test_huge_message_metadata_is_refused():
    fields = [pa.field(f"column_{i:05}", pa.int64()) for i in range(20_000)]
    schema = pa.schema(fields, metadata={"table": "edges"})
    out = io.BytesIO()
    pa.ipc.new_stream(out, schema).close()
    assert reason_of(compress(out.getvalue())) == "ipc"


def damaged_offsets(old, new):
    plain = raw_stream(HOST_TABLE, "hosts")
    assert plain.count(struct.pack("<4i", *old)) == 1
    return compress(plain.replace(struct.pack("<4i", *old), struct.pack("<4i", *new)))


@pytest.mark.parametrize(
    "offsets",
    [
        (0, 7, 18, 2**31 - 1),
        (0, 2**30, 18, 31),
        (0, -1, 18, 31),
        (0, 18, 7, 31),
        (-8, 7, 18, 31),
    ],
)
def test_offsets_out_of_range_are_refused(offsets):
    assert reason_of(damaged_offsets((0, 7, 18, 31), offsets)) == "ipc"


def test_bad_utf8_is_refused():
    plain = raw_stream(HOST_TABLE, "hosts").replace(b"aaaaaaa", b"aaa\xffaaa")
    assert reason_of(compress(plain)) == "ipc"


@given(st.binary(max_size=300))
@example(b"\xff\xff\xff\xff\x00\x00\x00\x00")
@example(b"\xff\xff\xff\xff\xff\xff\xff\x7f")
@example(b"\x00" * 64)
def test_any_bytes_raise_only_the_documented_error(data):
    for body in (data, compress(data)):
        with suppress(BatchError):
            decode_tables(body)


def test_twenty_thousand_mutations_raise_only_the_documented_error():
    chance = random.Random(5)
    plain = plain_bytes(GOOD)
    for _ in range(20_000):
        damaged = bytearray(plain)
        for _ in range(chance.choice((1, 1, 2, 8))):
            damaged[chance.randrange(len(damaged))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        with suppress(BatchError):
            decode_tables(compress(bytes(damaged)))
