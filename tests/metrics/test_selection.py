import pytest

from ebpf_net.errors import SettingError
from ebpf_net.metrics import METRICS, in_currency, select_metrics


def names(metrics):
    return {metric.name for metric in metrics}


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


def test_money_has_the_unit_of_the_price_file():
    units = {metric.name: metric.unit for metric in in_currency(METRICS, "EUR")}
    assert units["zone.cost"] == "{EUR}"
    assert units["zone.bytes"] == "By"


def test_without_a_currency_there_is_no_metric_of_money():
    assert names(METRICS) - names(in_currency(METRICS, "")) == {"zone.cost"}
