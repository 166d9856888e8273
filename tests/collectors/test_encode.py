import io

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from ebpf_net.collectors.encode import count_rows, encode_body
from ebpf_net.intake.decode import Limits, decode_tables
from ebpf_net.schema import EDGE_SAMPLES, EDGES, PROCESSES, REFERENCE_KEYS

ARROW_TYPES = {"bool": pa.bool_()}


def decode(body):
    stream = io.BytesIO(zstandard.ZstdDecompressor().decompress(body))
    tables = {}
    while stream.tell() < len(stream.getvalue()):
        table = pa.ipc.open_stream(stream).read_all()
        table.validate(full=True)
        tables[table.schema.metadata[b"table"].decode()] = table
    return tables


def numeric(columns, length):
    return {
        name: np.arange(length).astype(type_name)
        for name, type_name in columns
        if type_name != "string"
    }


def arrow_schema(columns):
    return pa.schema(
        [
            pa.field(name, ARROW_TYPES.get(kind) or getattr(pa, kind)())
            for name, kind in columns
        ]
    )


def test_numeric_tables_arrive_as_they_were():
    edges, samples = numeric(EDGES, 100), numeric(EDGE_SAMPLES, 7)
    tables = decode(encode_body({"edges": edges, "edge_samples": samples}))
    assert list(tables) == ["edges", "edge_samples"]
    assert tables["edges"].schema.equals(arrow_schema(EDGES))
    assert tables["edge_samples"].schema.equals(arrow_schema(EDGE_SAMPLES))
    assert tables["edges"].to_pydict() == {
        name: column.tolist() for name, column in edges.items()
    }
    assert tables["edge_samples"].num_rows == 7


def test_texts_and_booleans_arrive_as_they_were():
    processes = {
        "process_id": np.array([1, 2, 3], np.int64),
        "pid": np.array([1, 2, 3], np.int32),
        "cgroup_id": np.array([-1, 0, 1], np.int64),
        "comm": ["", "nginx", "größe"],
        "executable": ["/usr/bin/\ud800", "", "/bin/x"],
        "removed": np.array([True, False, True]),
    }
    table = decode(encode_body({"processes": processes}))["processes"]
    assert table.schema.equals(arrow_schema(PROCESSES))
    assert table["comm"].to_pylist() == ["", "nginx", "größe"]
    assert table["executable"].to_pylist() == ["/usr/bin/?", "", "/bin/x"]
    assert table["removed"].to_pylist() == [True, False, True]


def test_empty_tables_are_tables():
    tables = decode(
        encode_body(
            {"edges": numeric(EDGES, 0), "edge_samples": numeric(EDGE_SAMPLES, 0)}
        )
    )
    assert tables["edges"].num_rows == 0
    assert tables["edge_samples"].schema.names == [name for name, _ in EDGE_SAMPLES]


def test_columns_of_another_type_are_refused():
    edges = numeric(EDGES, 3)
    edges["opened"] = edges["opened"].astype(np.int64)
    with pytest.raises(TypeError, match="int64, expected int32"):
        encode_body({"edges": edges})


def test_rows_of_all_tables_are_counted():
    assert (
        count_rows(
            {"edges": numeric(EDGES, 4), "edge_samples": numeric(EDGE_SAMPLES, 3)}
        )
        == 7
    )


@pytest.mark.parametrize("length", [0, 1, 1_000, 100_000])
def test_body_is_one_frame_that_says_its_size(length):
    body = encode_body({"edges": numeric(EDGES, length)})
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert zstandard.get_frame_parameters(body).content_size == len(plain)
    assert decode(body)["edges"].num_rows == length


def test_body_without_tables_says_that_it_has_no_bytes():
    assert zstandard.get_frame_parameters(encode_body({})).content_size == 0


@pytest.mark.parametrize("length", [2048, 2049, 50_000])
def test_many_texts_are_few_record_batches(length):
    processes = numeric(PROCESSES, length)
    processes["comm"] = [f"program {number}" for number in range(length)]
    processes["executable"] = ["größe"] * length
    tables = decode_tables(encode_body({"processes": processes}))
    assert tables["processes"]["comm"].to_pylist() == processes["comm"]
    assert tables["processes"]["executable"].unique().to_pylist() == ["größe"]
    assert tables["processes"]["process_id"].to_pylist() == list(range(length))
    assert tables["processes"]["comm"].num_chunks <= 6


def test_all_tables_of_a_cluster_are_not_too_many_record_batches():
    reference = [name for name in REFERENCE_KEYS if name.startswith("kubernetes_")]
    assert 6 * len(reference) <= Limits().record_batches
