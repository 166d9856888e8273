"""What a running cloud-collector told an intake: rows by key, and how often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.schema import REFERENCE_KEYS
from ebpf_net.testing.intake import MemorySink
from tests.world.waiting import wait_until

_PROGRAM = "import sys; from ebpf_net.cli import main; sys.exit(main())"


class ToldByProcess:
    """``cloud-collector`` as a process, and the intake that it sends to."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str], *arguments: str
    ) -> None:
        self._sink = MemorySink()
        self._server = IntakeServer(ServerOptions(port=0), self._sink)
        self._server.start()
        self._log = directory / "log"
        variables = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "error", "-c", _PROGRAM, "cloud-collector"),
                    *("--data-dir", str(directory / "data"), "--no-log-file"),
                    *("--intake-port", str(self._server.port), "--log-console"),
                    *("--interval-seconds", "0.2", *arguments),
                ],
                env=variables | dict(environment),
                stderr=log,
            )

    def close(self) -> str:
        """End it; return what it logged."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()
            self._server.close()
        return self.logged()

    def logged(self) -> str:
        return self._log.read_text()

    def rows(self, table: str) -> dict[str, dict[str, Any]]:
        """Return what holds now, by key."""
        with self._sink.changed:
            snapshots, batches = list(self._sink.snapshots), list(self._sink.batches)
        known: dict[str, dict[str, Any]] = {}
        last = snapshots[-1].header.sequence if snapshots else 0
        if snapshots:
            self._apply(known, table, snapshots[-1:])
        self._apply(known, table, [b for b in batches if b.header.sequence > last])
        return known

    def told(self) -> Counter[str]:
        """Return how many rows the windows had, by table."""
        found: Counter[str] = Counter()
        with self._sink.changed:
            for batch in self._sink.batches:
                for name in REFERENCE_KEYS:
                    found[name] += batch.tables[name].num_rows
        return +found

    def status(self) -> Counter[str]:
        with self._sink.changed:
            batches = self._sink.batches
            return Counter(batches[-1].header.status if batches else {})

    def addresses(self, *, ended: bool = False) -> dict[str, dict[str, Any]]:
        """Return rows of ``cloud_addresses`` that hold, or those that ended."""
        rows = self.rows("cloud_addresses").items()
        return {key: row for key, row in rows if bool(row["until_ns"]) == ended}

    def wait_for(self, condition: Any, seconds: float = 30) -> None:
        wait_until(condition, seconds, self.logged)

    @staticmethod
    def _apply(
        known: dict[str, dict[str, Any]], table: str, batches: Sequence[Any]
    ) -> None:
        key = REFERENCE_KEYS[table]
        for batch in batches:
            for row in batch.tables[table].to_pylist():
                known.pop(row[key], None)
                if not row["removed"]:
                    known[row[key]] = row
