import io
import subprocess
import sys

import pytest

from ebpf_net.exporters.exporter import Exporter
from ebpf_net.exporters.json_lines import JsonLinesExporter
from ebpf_net.exporters.otlp_client import OtlpExporter
from ebpf_net.exporters.otlp_settings import OtlpSettings
from ebpf_net.exporters.prometheus import PrometheusExporter
from ebpf_net.metrics import METRICS
from ebpf_net.schema import InternalPoint
from ebpf_net.testing.windows import make_window


@pytest.mark.parametrize(
    "build",
    [
        lambda: JsonLinesExporter(io.StringIO(), METRICS),
        lambda: OtlpExporter(OtlpSettings(endpoint="http://127.0.0.1:1"), METRICS),
        lambda: PrometheusExporter(METRICS),
    ],
)
def test_every_exporter_answers_for_its_windows(build):
    exporter: Exporter = build()
    answers = []
    exporter.export(make_window({}), answers.append)
    exporter.export_internal([InternalPoint("ebpf_net.up", 1)], 1)
    exporter.close(10)
    assert answers == [True]
    assert all(point.name.startswith("ebpf_net.") for point in exporter.metrics())


def test_exporters_do_without_protobuf():
    # It is a dependency of the tests only.
    modules = "json_lines, otlp_client, prometheus"
    code = (
        f"import sys\nfrom ebpf_net.exporters import {modules}\n"
        "sys.exit('google.protobuf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
