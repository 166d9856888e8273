from ebpf_net.exporters.internal_metrics import group_points, internal_metric
from ebpf_net.metrics import Kind
from ebpf_net.schema import InternalPoint


def test_metric_of_the_catalogue_is_found():
    assert internal_metric("ebpf_net.intake.rows").kind is Kind.SUM


def test_other_metric_is_a_gauge():
    assert internal_metric("ebpf_net.new").kind is Kind.GAUGE


def test_points_of_one_metric_lie_together():
    rows = InternalPoint("ebpf_net.intake.rows", 1, (("table", "edges"),))
    others = InternalPoint("ebpf_net.intake.rows", 2, (("table", "hosts"),))
    up = InternalPoint("ebpf_net.up", 1)
    groups = group_points([rows, up, others])
    assert {metric.name: points for metric, points in groups.items()} == {
        "ebpf_net.intake.rows": [rows, others],
        "ebpf_net.up": [up],
    }
