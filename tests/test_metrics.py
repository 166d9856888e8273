import pytest

from ebpf_net.errors import SettingError
from ebpf_net.metrics import (
    INTERNAL_METRICS,
    METRICS,
    Kind,
    in_currency,
    select_metrics,
)
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


def names(metrics):
    return {metric.name for metric in metrics}


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


def test_num_measurements_is_off_unless_asked():
    assert "tcp.rtt.num_measurements" not in names(select_metrics())
    enabled = select_metrics(enable=["tcp.rtt.num_measurements"])
    assert "tcp.rtt.num_measurements" in names(enabled)


def test_enable_wins_over_disable():
    disabled = ["tcp.all", "udp.bytes", "zone.all"]
    selected = select_metrics(disable=disabled, enable=["tcp.bytes"])
    assert names(selected) == {"tcp.bytes", "udp.packets", "udp.drops", "udp.active"}


def test_groups_of_the_reference_without_metrics_yet_are_no_error():
    assert select_metrics(disable=["http.all", "dns.all", "none"]) == select_metrics()


def test_unknown_metric_is_one_clear_error():
    with pytest.raises(SettingError, match=r"'tcp\.byte' is no metric"):
        select_metrics(disable=["tcp.byte"])


def test_internal_names_are_unique():
    assert len({metric.name for metric in INTERNAL_METRICS}) == len(INTERNAL_METRICS)


def test_money_has_the_unit_of_the_price_file():
    units = {metric.name: metric.unit for metric in in_currency(METRICS, "EUR")}
    assert units["zone.cost"] == "{EUR}"
    assert units["zone.bytes"] == "By"


def test_without_a_currency_there_is_no_metric_of_money():
    assert names(METRICS) - names(in_currency(METRICS, "")) == {"zone.cost"}


def test_metrics_without_a_protocol_are_of_all():
    (both,) = select_metrics(["tcp.all", "udp.all", "zone.cost"])
    (one,) = select_metrics(["tcp.all", "udp.all", "zone.all"], ["udp.bytes"])
    assert [both.is_of(protocol) for protocol in Protocol] == [True, True]
    assert [one.is_of(protocol) for protocol in Protocol] == [False, True]
