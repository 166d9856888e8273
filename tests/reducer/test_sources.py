from __future__ import annotations

from ebpf_net.reducer.pipeline import Reducer
from ebpf_net.reducer.reference import KEEP_WINDOWS
from ebpf_net.reducer.sources import Source, same_collectors, superseded_sources
from ebpf_net.reducer.state import read_state
from ebpf_net.testing.tables import WINDOW_NS, make_batch, make_header


def test_process_is_superseded_when_the_next_has_told_of_a_window_since():
    def superseded(*sources: Source) -> list[int]:
        return sorted(superseded_sources(dict(enumerate(sources))))

    former = Source("a", first=1, last=7)
    assert superseded(former, Source("a", last=7)) == []  # has not told anything
    assert superseded(former, Source("a", first=7, last=7)) == []
    assert superseded(former, Source("a", first=7, last=8)) == [0]
    assert superseded(former, Source("b", first=7, last=8)) == []
    # Two that run at once, as of a copied machine.
    assert superseded(former, Source("a", first=2, last=7)) == []


def test_processes_of_a_collector_go_together():
    sources = {1: Source("a"), 2: Source("b"), 3: Source("a"), 4: Source("c")}
    assert same_collectors(frozenset({3, 4, 5}), sources) == {1, 3, 4}


def test_rows_of_a_replaced_process_are_kept_for_late_edges_only():
    reducer = Reducer()
    kept = []
    for window in range(KEEP_WINDOWS + 4):
        header = make_header(
            window, collector="a", incarnation="second" if window else "first"
        )
        tables = {
            "hosts": [{"host_id": "h", "boot_id": "b"}],
            "processes": [{"process_id": 1, "comm": "c"}],
        }
        end = header.window_end_ns
        reducer.add(make_batch(tables=tables, header=header), end, end)
        reducer.close_windows(end + WINDOW_NS // 2)
        state = read_state(reducer.state(), 1)
        kept.append(state.tables["processes"].num_rows)
        assert state.tables["hosts"].num_rows == min(window + 1, 2)
    reducer.close()
    assert kept[0] == 1
    assert kept[1 : KEEP_WINDOWS + 2] == [2] * (KEEP_WINDOWS + 1)
    assert kept[-1] == 1
