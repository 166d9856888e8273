from ebpf_net.cli.level_filter import LevelFilter
from ebpf_net.exporters.prometheus import PrometheusExporter
from ebpf_net.metrics import select_metrics
from ebpf_net.testing.windows import make_level, make_window


def test_only_enabled_levels_reach_the_exporter():
    nodes = [{"workload.name": "a"}, {"workload.name": "b"}]
    level = make_level(nodes, [{"source": 0, "dest": 1, "bytes": 7}])
    exporter = PrometheusExporter(select_metrics())
    done = []
    LevelFilter(exporter, ["az_az"]).export(
        make_window({"az_az": level, "id_id": level}), done.append
    )
    text = exporter.render(False).decode()
    assert done == [True]
    assert 'aggregation="az_az"' in text
    assert "id_id" not in text
