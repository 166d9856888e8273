"""``ebpf-net up``: collector, reducer, live table and endpoints on one machine.

The collector is a process of its own, as on any node: it stays small and gives up its
rights after loading. It reaches the reducer on a free loopback port with a token that
only the two of them know.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path

from ebpf_net.cli.data_directory import locked_data_directory
from ebpf_net.cli.level_filter import LevelFilter
from ebpf_net.cli.reducer import running_reducer
from ebpf_net.cli.signals import stop_at_signals
from ebpf_net.exporters.json_lines import JsonLinesExporter
from ebpf_net.intake.options import ServerOptions
from ebpf_net.metrics import select_metrics
from ebpf_net.settings import KERNEL_COLLECTOR, UP, Settings, to_yaml
from ebpf_net.ui.live_table import LiveTable, is_live_terminal
from ebpf_net.ui.plain_lines import PlainLines

_FLUSH_SECONDS = 8.0
_LAST_LINES = 20
_COLLECTOR = (
    "import sys; from ebpf_net.cli import kernel_collector_main; "
    "sys.exit(kernel_collector_main())"
)

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Watch this machine until Ctrl-C, q, or SIGTERM."""
    stop = threading.Event()
    stop_at_signals(stop.set)
    with locked_data_directory(settings.data_dir, UP) as directory:
        token_file = _make_token(directory)
        options = ServerOptions(port=settings.up_port, token_file=token_file)
        output = _output(settings, stop)
        state = directory / "up"  # a reducer may have the same data directory
        state.mkdir(mode=0o700, exist_ok=True)
        with running_reducer(
            settings,
            options,
            settings.up_interval_seconds,
            state,
            [output] if output else [],
        ) as (service, server):
            watcher = _Watcher(
                _start_collector(settings, directory, server.port, token_file),
                stop,
                show=not isinstance(output, LiveTable),
            )
            try:
                if isinstance(output, LiveTable | PlainLines):
                    output.start()
                service.run(stop)
            finally:
                exit_code = watcher.finish()
    watcher.tell()
    return exit_code


def _make_token(directory: Path) -> Path:
    path = directory / "up.token"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
    return path


def _output(
    settings: Settings, stop: threading.Event
) -> LiveTable | PlainLines | LevelFilter | None:
    output = settings.output
    if output == "auto":
        output = "table" if is_live_terminal(sys.stdout) else "plain"
    if output == "table":
        return LiveTable(stop.set, settings.sort)
    if output == "plain":
        return PlainLines(stop.set)
    if output == "none":
        return None
    metrics = select_metrics(settings.disable_metrics, settings.enable_metrics)
    return LevelFilter(JsonLinesExporter(sys.stdout, metrics, stop.set), ["id_id"])


def _start_collector(
    settings: Settings, directory: Path, port: int, token_file: Path
) -> subprocess.Popen[str]:
    child = replace(
        settings,
        data_dir=directory / "collector",
        interval_seconds=settings.up_interval_seconds,
        intake_host="127.0.0.1",
        intake_port=port,
        intake_token_file=token_file,
    )
    configuration = directory / "up.yaml"
    configuration.write_text(to_yaml(child, KERNEL_COLLECTOR), encoding="utf-8")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            _COLLECTOR,
            "--config-file",
            str(configuration),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is ours to hand on: it flushes first
    )


class _Watcher:
    """Keeps what the collector says last; the live table has the terminal meanwhile."""

    def __init__(
        self, collector: subprocess.Popen[str], stop: threading.Event, *, show: bool
    ) -> None:
        self._collector = collector
        self._stop = stop
        self._show = show
        self._is_ending = False
        self._ended_by_itself = False
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def finish(self) -> int:
        """End the collector; 1 if it had ended by itself, after saying why."""
        if not self._ended_by_itself:
            self._is_ending = True
            self._collector.terminate()
        try:
            self._collector.wait(_FLUSH_SECONDS)
        except subprocess.TimeoutExpired:
            self._collector.kill()
            self._collector.wait()
        self._thread.join()
        return int(self._ended_by_itself)

    def tell(self) -> None:
        """Print what was kept back."""
        sys.stderr.writelines(self._lines)

    def _watch(self) -> None:
        assert self._collector.stderr is not None
        for line in self._collector.stderr:
            if self._show:
                sys.stderr.write(line)
            else:
                self._lines.append(line)
        self._collector.wait()
        self._ended_by_itself = not self._is_ending
        self._stop.set()
