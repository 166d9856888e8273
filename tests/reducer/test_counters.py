from __future__ import annotations

from ebpf_net.metrics import INTERNAL_METRICS
from ebpf_net.reducer.counters import Counters, collector_points
from ebpf_net.reducer.ingest import Collector


def test_every_point_is_in_the_catalogue():
    counters = Counters()
    with counters.stage("matching"):
        pass
    known = {metric.name: metric.labels for metric in INTERNAL_METRICS}
    points = counters.points() + collector_points([Collector("one", "host-one")], 0)
    assert {point.name for point in points} <= set(known)
    for point in points:
        assert tuple(name for name, _ in point.labels) == known[point.name]


def test_stages_add_up():
    counters = Counters()
    for _ in range(2):
        with counters.stage("matching"):
            sum(range(1000))
    spent = counters.stage_seconds
    assert spent["matching"] > 0
    assert spent["ingest"] == spent["enrichment"] == spent["aggregation"] == 0


def test_silence_is_counted_from_the_last_batch():
    collector = Collector("one", "host-one", last_received_ns=100, gap_ns=3 * 10**9)
    assert [point.value for point in collector_points([collector], 350)] == [250, 0, 3]
    assert collector_points([collector], 50)[0].value == 0
