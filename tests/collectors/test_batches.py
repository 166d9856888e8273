import numpy as np

from ebpf_net.collectors.batches import BatchMaker
from ebpf_net.intake.batch import BatchKind
from ebpf_net.schema import EDGES


def make(status=None):
    return BatchMaker("c", "host-1", 5, lambda: status or {"lost.x": 1})


def edges(length):
    return {name: np.zeros(length, kind) for name, kind in EDGES}


def test_windows_are_numbered_and_the_last_part_is_told():
    batches = make()
    first = list(batches.window([{"edges": edges(2)}, {"edges": edges(1)}], 10, 20))
    second = list(batches.window([{}], 20, 30))
    headers = [batch.header for batch in first + second]
    assert [header.sequence for header in headers] == [1, 2, 3]
    assert [header.last_of_window for header in headers] == [False, True, True]
    assert [batch.rows for batch in first + second] == [2, 1, 0]
    assert {header.kind for header in headers} == {BatchKind.WINDOW}
    assert (headers[2].window_start_ns, headers[2].window_end_ns) == (20, 30)
    assert headers[0].status == {"lost.x": 1}


def test_a_snapshot_follows_the_last_window():
    batches = make()
    assert batches.snapshot({}).header.window_end_ns == 5
    list(batches.window([{}], 10, 20))
    header = batches.snapshot({}).header
    assert (header.kind, header.sequence) == (BatchKind.SNAPSHOT, 1)
    assert (header.window_start_ns, header.window_end_ns) == (10, 20)


def test_each_start_is_another_incarnation():
    assert make().incarnation != make().incarnation
