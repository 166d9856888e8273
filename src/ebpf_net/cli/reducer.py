"""``reducer``: intake, reducer, exporters and endpoints, built and joined."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ebpf_net.cli.data_directory import locked_data_directory
from ebpf_net.cli.endpoint import Endpoint
from ebpf_net.cli.level_filter import LevelFilter
from ebpf_net.cli.name_files import watched_names
from ebpf_net.cli.service import ReducerService
from ebpf_net.cli.setting_files import check_intake_files
from ebpf_net.cli.signals import stop_at_signals
from ebpf_net.exporters.exporter import Exporter
from ebpf_net.exporters.json_lines import JsonLinesExporter
from ebpf_net.exporters.otlp_client import OtlpExporter
from ebpf_net.exporters.otlp_settings import OtlpProtocol, OtlpSettings, otlp_settings
from ebpf_net.exporters.prometheus import PrometheusExporter, Render, metrics_app
from ebpf_net.exporters.prometheus_text import render_internal
from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.server import IntakeServer
from ebpf_net.metrics import Metric, in_currency, select_metrics
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.schema import LEVELS
from ebpf_net.settings import REDUCER, Settings
from ebpf_net.ui.plain_lines import PlainLines

_NS = 1_000_000_000
_CLOSE_SECONDS = 6.0  # a container is killed ten seconds after it was asked to end
_ENDPOINT_VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Reduce until SIGTERM or SIGINT."""
    check_intake_files(settings)
    stop = threading.Event()
    stop_at_signals(stop.set)
    with locked_data_directory(settings.data_dir, REDUCER) as directory:
        options = intake_options(settings)
        output = _output_exporters(settings, stop)
        with running_reducer(
            settings, options, settings.interval_seconds, directory, output
        ) as (service, server):
            for host, port in server.addresses:
                logger.info("listening for collectors on %s port %d", host, port)
            service.run(stop)
    return 0


def intake_options(settings: Settings) -> ServerOptions:
    """Return where the intake listens and whom it lets in."""
    return ServerOptions(
        host="" if settings.listen_host == "127.0.0.1" else settings.listen_host,
        port=settings.port,
        allow_insecure=settings.allow_insecure_intake,
        token_file=settings.intake_token_file,
        tls_certificate=settings.intake_certificate,
        tls_key=settings.intake_key,
        client_ca=settings.intake_ca,
    )


@contextmanager
def running_reducer(
    settings: Settings,
    options: ServerOptions,
    interval_seconds: float,
    directory: Path,
    outputs: list[Exporter],
) -> Iterator[tuple[ReducerService, IntakeServer]]:
    """Build, start, and at the end close everything but the collectors.

    ``outputs`` are shown level id_id, whether it is exported or not.
    """
    metrics = select_metrics(settings.disable_metrics, settings.enable_metrics)
    levels = enabled_levels(settings)
    with ExitStack() as stack:
        shown = levels if not outputs else tuple(dict.fromkeys((*levels, "id_id")))
        reducer = Reducer(
            ReducerOptions(
                window_ns=int(interval_seconds * _NS),
                lateness_ns=int(settings.lateness_seconds * _NS),
                levels=tuple(level for level in LEVELS if level in shown),
                threads=settings.threads,
                memory_limit=f"{settings.memory_limit_bytes >> 10}KiB",
                spill_directory=directory / "spill",
                node_ip=not settings.disable_node_ip_field,
                system_ip=settings.enable_autonomous_system_ip,
                zones=any(metric.group == "zone" for metric in metrics),
            )
        )
        stack.callback(reducer.close)
        stack.enter_context(
            watched_names(
                *(reducer.names, settings.networks_file, settings.geoip_path),
                *(reducer.tolls, settings.price_file),
            )
        )
        metrics = in_currency(metrics, reducer.tolls.currency)
        exporters: list[Exporter] = [
            *outputs,
            *(LevelFilter(otlp, levels) for otlp in _otlp_exporters(settings, metrics)),
        ]
        if not settings.disable_prometheus_metrics:
            exporters.append(_prometheus(settings, metrics, levels, stack))
        service = ReducerService(reducer, exporters, directory / "reducer.state")
        if not settings.disable_prometheus_metrics:
            _serve_internal(service, settings, stack)
        server = IntakeServer(options, service)
        service.more_metrics = server.metrics
        server.start()
        stack.callback(service.close, _CLOSE_SECONDS)
        stack.callback(server.close)  # first, so that nothing comes any more
        yield service, server


def enabled_levels(settings: Settings) -> tuple[str, ...]:
    """Return the levels to export."""
    levels = ["az_az"]
    if settings.enable_id_id:
        levels.append("id_id")
    if settings.enable_az_id:
        levels += ["az_id", "id_az"]
    return tuple(level for level in LEVELS if level in levels)


def _prometheus(
    settings: Settings,
    metrics: tuple[Metric, ...],
    levels: tuple[str, ...],
    stack: ExitStack,
) -> Exporter:
    exporter = PrometheusExporter(metrics)
    _serve(exporter.render, settings.prom, "--prom", stack)
    return LevelFilter(exporter, levels)


def _serve_internal(
    service: ReducerService, settings: Settings, stack: ExitStack
) -> None:
    def render(openmetrics: bool) -> bytes:
        return render_internal(service.metrics(time.time_ns()), openmetrics)

    _serve(render, settings.internal_prom, "--internal-prom", stack)


def _serve(
    render: Render, address: tuple[str, int], flag: str, stack: ExitStack
) -> None:
    endpoint = Endpoint(metrics_app(render), address, flag)
    stack.callback(endpoint.close)
    host, port = endpoint.address
    logger.info("%s: scrape http://%s:%d/metrics", flag, host, port)


def _otlp_exporters(
    settings: Settings, metrics: tuple[Metric, ...]
) -> Iterator[Exporter]:
    if settings.enable_otlp_grpc_metrics:
        host, port = settings.otlp_grpc_metrics_host, settings.otlp_grpc_metrics_port
        host = f"[{host}]" if ":" in host else host
        target = {
            **settings.otel,
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://{host}:{port}",
        }
        yield _otlp(otlp_settings(target, OtlpProtocol.GRPC), metrics, "otlp_grpc")
    asked = any(settings.otel.get(variable) for variable in _ENDPOINT_VARIABLES)
    if settings.enable_otlp_metrics or (
        asked and not settings.enable_otlp_grpc_metrics
    ):
        yield _otlp(otlp_settings(settings.otel), metrics, "otlp")


def _otlp(target: OtlpSettings, metrics: tuple[Metric, ...], name: str) -> Exporter:
    logger.info("OTLP: sending to %s by %s", target.endpoint, target.protocol.value)
    return OtlpExporter(target, metrics, name=name)


def _output_exporters(settings: Settings, stop: threading.Event) -> list[Exporter]:
    if settings.reducer_output == "plain":
        lines = PlainLines(stop.set)
        lines.start()
        return [lines]
    if settings.reducer_output == "json":
        metrics = select_metrics(settings.disable_metrics, settings.enable_metrics)
        return [JsonLinesExporter(sys.stdout, metrics, stop.set)]
    return []
