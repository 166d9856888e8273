"""The real ``kernel-collector`` command whose batches a test reads."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ebpf_net.intake.options import ServerOptions
from ebpf_net.intake.server import IntakeServer
from ebpf_net.testing.intake import MemorySink
from tests.world.hosts import Host
from tests.world.programs import Program
from tests.world.system import command
from tests.world.waiting import wait_until

Row = Mapping[str, Any]
_SUMS = ("bytes_sent", "bytes_received", "opened", "closed")


class TappedCollector:
    """A collector of some hosts with windows of half a second; ``stop``, then read.

    With ``sees_others`` all network namespaces of this machine are those of its host.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        directory: Path,
        *flags: str,
        prefix: Sequence[str] = (),
        sees_others: bool = False,
    ) -> None:
        self.sink = MemorySink()
        self._server = IntakeServer(ServerOptions(port=0), self.sink)
        self._server.start()
        included = [x for host in hosts for x in ("--include-cgroup", host.cgroup.path)]
        self.program = Program(
            [
                *prefix,
                command("kernel-collector"),
                *("--intake-port", str(self._server.port)),
                *("--data-dir", directory / "data"),
                *("--no-log-file", "--log-console", "--interval-seconds", "0.5"),
                "--disable-container-metadata",
                *included,
                *(() if sees_others else ("--disable-other-namespaces",)),
                *flags,
            ],
            directory / "collector.log",
        )
        self.wait_windows(1)

    def wait_windows(self, count: int) -> None:
        """Wait for so many more windows."""
        have = len(self.sink.batches)
        self.program.wait_ready(lambda: len(self.sink.batches) >= have + count)

    def wait_row(self, table: str, **wanted: object) -> None:
        """Wait for a row."""
        wait_until(lambda: self.rows(table, **wanted), 30, lambda: self.rows(table))

    def stop(self) -> None:
        """End it; it hands over all it has."""
        assert self.program.stop(30) == 0, self.program.read_log()
        self._server.close()

    def rows(self, table: str, **wanted: object) -> list[Row]:
        """Return the rows of a table so far; addresses are texts, such as ``local``."""
        return [
            row
            for batch in list(self.sink.batches)
            if table in batch.tables
            for row in map(_with_texts, batch.tables[table].to_pylist())
            if all(row[name] == value for name, value in wanted.items())
        ]

    def sums(self, **wanted: object) -> dict[str, int]:
        """Return the sums of edges."""
        rows = self.rows("edges", **wanted)
        return {name: sum(row[name] for row in rows) for name in _SUMS}

    def translations(self) -> set[tuple[str, str, str, str]]:
        """Return what was told: client, service, outer address and server."""
        return {
            (
                row["client"],
                f"{row['service']} {row['service_port']}",
                row["outer"],
                f"{row['server']} {row['server_port']}",
            )
            for row in self.rows("translations", removed=False)
        }

    @property
    def status(self) -> Mapping[str, int]:
        """Return the counters of the last batch."""
        return self.sink.batches[-1].header.status

    def __enter__(self) -> TappedCollector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        print(self.program.describe())
        if self.program.is_running():
            self.program.kill()
        self._server.close()


def _with_texts(row: Row) -> Row:
    return dict(row) | dict(_addresses(row))


def _addresses(row: Row) -> Iterator[tuple[str, str]]:
    for name in row:
        if name.endswith("_address_high"):
            end = name.removesuffix("_address_high")
            low = row[f"{end}_address_low"]
            yield end, _text(row[name], low)


def _text(high: int, low: int) -> str:
    packed = high.to_bytes(8, "big", signed=True) + low.to_bytes(8, "big", signed=True)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
