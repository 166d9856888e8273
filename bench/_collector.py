"""The real ``kernel-collector`` command, and an intake that takes what it sends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ebpf_net.intake.batch import Receipt
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.server import IntakeServer
from ebpf_net.testing.intake import MemorySink

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass
class RowCounter(MemorySink):
    """Commits at once, and keeps no more than counts."""

    rows: int = 0
    opened: list[tuple[int, int, int]] = field(default_factory=list)
    """Connection ends by window: its start, its end, how many were opened."""
    first_row: float = 0.0  # time.monotonic
    status: dict[str, int] = field(default_factory=dict)

    def accept(self, batch: DecodedBatch, received_ns: int, sent_ns: int) -> Receipt:
        """Count the rows of a batch."""
        receipt = super().accept(batch, received_ns, sent_ns)
        with self.changed:
            edges = batch.tables.get("edges")
            if edges is not None:
                self.rows += edges.num_rows
                header, opened = batch.header, int(edges["opened"].to_numpy().sum())
                window = header.window_start_ns, header.window_end_ns, opened
                self.opened.append(window)
            self.status = dict(batch.header.status)
            if self.rows and not self.first_row:
                self.first_row = time.monotonic()
            self.batches.clear()
            self.snapshots.clear()
            self.changed.notify_all()
        return receipt


class Intake:
    """An intake in this process."""

    def __init__(self) -> None:
        self.sink = RowCounter()
        self._server = IntakeServer(ServerOptions(port=0), self.sink)
        self._server.start()
        self.port = self._server.port

    def opened_per_second(self, start_ns: int, end_ns: int) -> float | None:
        """Return the rate in the windows that lie wholly between these times."""
        whole = {
            (start, end): 0
            for start, end, _ in self.sink.opened
            if start_ns <= start and end <= end_ns
        }
        seconds = sum(end - start for start, end in whole) / 1e9
        opened = sum(
            count for *window, count in self.sink.opened if tuple(window) in whole
        )
        return round(opened / seconds, 1) if seconds else None

    def body_bytes(self) -> int:
        """Return how many bytes came over the wire."""
        return int(
            sum(
                point.value
                for point in self._server.metrics()
                if point.name == "ebpf_net.intake.bytes"
            )
        )

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Collector:
    """The command, started, until ``close``."""

    def __init__(self, intake: Intake, directory: Path, *flags: str) -> None:
        self._intake = intake
        self.started = time.monotonic()
        self._log = (directory / "collector.log").open("ab")
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("kernel-collector")),
                *("--intake-host", "127.0.0.1", "--intake-port", str(intake.port)),
                *("--data-dir", str(directory / "data")),
                *("--no-log-file", "--log-console", *flags),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        self.pid = self._process.pid

    def wait_first_row(self) -> float:
        """Return the seconds from the start to the first row at the intake."""
        sink = self._intake.sink
        with sink.changed:
            if not sink.changed.wait_for(lambda: sink.first_row, _START_SECONDS):
                raise TimeoutError(f"no row from kernel-collector: {self._log.name}")
            return sink.first_row - self.started

    def close(self) -> None:
        """End it as its user would."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wait(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(seconds)
