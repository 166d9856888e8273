import numpy as np
import pyarrow as pa

from ebpf_net.reducer.end_texts import EndTexts
from ebpf_net.reducer.ends import About, nothing_found

PROCESSES = pa.table({"comm": ["nginx", ""]})
NODES = pa.chunked_array([["one"], ["two"]])


def ends():
    """An nginx on node two, a process without a name, and one that is not known."""
    found = nothing_found(3, About.COVERED)
    found["process"] = np.array([0, 1, -1])
    found["at_node"] = np.array([1, -1, -1])
    tables = {
        "processes": PROCESSES,
        "nodes": pa.table({"name": NODES}),
        "pods": pa.table({"name": pa.array([], pa.string())}),
    }
    return EndTexts(found, tables)


def test_texts_are_those_of_the_rows_that_were_found():
    assert ends()["comm"].to_pylist() == ["nginx", "", ""]
    assert ends()["at_name"].to_pylist() == ["two", "", ""]
    assert ends()["pod_name"].to_pylist() == ["", "", ""]


def test_a_row_is_not_yet_a_text():
    assert ends().has("process").tolist() == [True, True, False]
    assert ends().is_told("comm").tolist() == [True, False, False]
    assert ends().equal("comm", "nginx").tolist() == [True, False, False]


def test_the_first_that_is_true_is_chosen():
    few = ends()
    assert few.first("comm", "at_name", otherwise="?").to_pylist() == [
        "nginx",
        "?",
        "?",
    ]
    chosen = few.choose(
        (few.has("at_node"), few["at_name"]), (few.has("process"), "process")
    )
    assert chosen.to_pylist() == ["two", "process", ""]


def test_addresses_are_texts():
    few = ends()
    few._found["low"][0] = 0xFFFF_0A00_0001
    assert few.addresses().to_pylist()[0] == "10.0.0.1"
