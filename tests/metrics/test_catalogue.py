from ebpf_net.metrics import METRICS, Kind, select_metrics
from ebpf_net.schema import LEVEL_EDGES, Protocol

REFERENCE = {
    "tcp.bytes": "By",
    "tcp.rtt.num_measurements": "1",
    "tcp.active": "1",
    "tcp.rtt.average": "us",
    "tcp.packets": "1",
    "tcp.retrans": "1",
    "tcp.syn_timeouts": "1",
    "tcp.new_sockets": "1",
    "tcp.resets": "1",
    "udp.bytes": "By",
    "udp.packets": "1",
    "udp.drops": "1",
    "udp.active": "1",
}


def test_names_and_units_of_the_reference_stay():
    units = {metric.name: metric.unit for metric in METRICS}
    assert {name: units.get(name) for name in REFERENCE} == REFERENCE


def test_every_metric_reads_a_column_of_the_level_table():
    columns = {name for name, _ in LEVEL_EDGES}
    for metric in METRICS:
        assert metric.column in columns
        assert not metric.divisor or metric.divisor in columns
        assert (metric.kind is Kind.HISTOGRAM) <= (metric.sample is not None)
        # The protocol is told beside the reason only.
        assert (metric.protocol is None) <= bool(metric.reason_attribute)
        assert (metric.parts != 1) <= bool(metric.reason_attribute)


def test_metrics_without_a_protocol_are_of_all():
    (both,) = select_metrics(["tcp.all", "udp.all", "zone.cost"])
    (one,) = select_metrics(["tcp.all", "udp.all", "zone.all"], ["udp.bytes"])
    assert [both.is_of(protocol) for protocol in Protocol] == [True, True]
    assert [one.is_of(protocol) for protocol in Protocol] == [False, True]
