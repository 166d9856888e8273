"""This system: the real ``reducer`` and ``kernel-collector`` commands, started."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.world.exposition import read_samples, scrape, sum_samples
from tests.world.hosts import Host
from tests.world.otel_collector import OtelCollector
from tests.world.ports import free_port, is_listening
from tests.world.programs import Program
from tests.world.waiting import wait_until

_END_SECONDS = 30


def command(name: str) -> Path:
    """Return an installed command of ours."""
    return Path(sys.executable).with_name(name)


def between(source: str | Host, dest: str | Host) -> Mapping[str, str]:
    """Return the attributes of what goes from one host, or address, to another."""
    return {
        "aggregation": "id_id",
        "source.id": source if isinstance(source, str) else source.name,
        "dest.id": dest if isinstance(dest, str) else dest.name,
    }


class System:
    """One reducer with its collectors. Leaving the context ends all of them.

    Everything has the window of one second and the level ``id_id``; the id of a host is
    its name.
    """

    def __init__(self, directory: Path, otel: OtelCollector | None = None) -> None:
        self.directory = directory / "system"
        self.directory.mkdir()
        self.intake_port = free_port()
        self.prometheus_port = free_port()
        self.internal_port = free_port()
        self._otel = otel
        self.reducer: Program | None = None
        self.collectors: dict[str, Program] = {}

    def start_reducer(
        self, *flags: str, environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start it, again after it ended or was killed with the same ports and data."""
        target: tuple[str, ...] = ()
        if self._otel:
            port = str(self._otel.grpc_port)
            target = ("--enable-otlp-grpc-metrics", "--otlp-grpc-metrics-port", port)
        self.reducer = self._start(
            "reducer",
            "reducer",
            [
                *("--port", str(self.intake_port)),
                *("--prom", f"127.0.0.1:{self.prometheus_port}"),
                *("--internal-prom", f"127.0.0.1:{self.internal_port}"),
                *("--lateness-seconds", "1", "--enable-id-id"),
                *target,
                *flags,
            ],
            environment,
        )
        ports = (self.intake_port, self.prometheus_port, self.internal_port)
        pid = self.reducer.pid
        self.reducer.wait_ready(lambda: all(is_listening(p, pid) for p in ports))
        return self.reducer

    def start_collector(
        self,
        host: Host,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        wait: bool = True,
        sees_others: bool = False,
    ) -> Program:
        """Start the collector of one host and wait until the reducer has heard of it.

        The collector itself runs outside: what it sends is not counted. ``prefix`` is
        a command that runs it. With ``sees_others`` the other hosts' network namespaces
        are this host's, too.
        """
        started = time.monotonic_ns()
        program = self._start(
            f"collector-{host.name}",
            "kernel-collector",
            [
                *("--intake-port", str(self.intake_port)),
                *("--include-cgroup", host.cgroup.path),
                *(() if sees_others else ("--disable-other-namespaces",)),
                *flags,
            ],
            {
                "EBPF_NET_AGENT_HOST": host.name,
                **{
                    f"EBPF_NET_{runtime}_SOCKET": str(self.directory / "no.sock")
                    for runtime in ("DOCKER", "CONTAINERD", "CRIO", "PODMAN")
                },
                **(environment or {}),
            },
            prefix,
        )
        self.collectors[host.name] = program
        if wait:
            program.wait_ready(
                lambda: self._count_heard_since(started) == len(self.collectors)
            )
        return program

    def count_internal(
        self, name: str, labels: Mapping[str, str] | None = None
    ) -> float:
        """Return an internal metric of the reducer, added up."""
        return sum_samples(self.internal_port, name, labels)

    def count_exposed(self, name: str, labels: Mapping[str, str]) -> float:
        """Return a flow metric of the Prometheus endpoint, added up."""
        plain = {key.replace(".", "_"): value for key, value in labels.items()}
        return sum_samples(self.prometheus_port, name, plain)

    def finish(self) -> None:
        """End collectors, reducer and receiver in turn: each hands over all it has.

        Both ends of an edge are read at different moments. What moves in between counts
        twice, or not at all, if one goes just then: so all have been read when it goes.
        """
        if len(self.collectors) > 1:
            self._wait_until_all_are_heard()  # perhaps of what was read before
            self._wait_until_all_are_heard()
        for name in list(self.collectors):
            self.stop_collector(name)
        assert self.reducer is not None
        assert self.reducer.stop(_END_SECONDS) == 0, self.reducer.read_log()
        if self._otel:
            self._otel.stop()

    def stop_collector(self, name: str) -> None:
        """End one collector; it hands over what it has."""
        program = self.collectors.pop(name)
        assert program.stop(_END_SECONDS) == 0, program.read_log()

    def _wait_until_all_are_heard(self) -> None:
        now = time.monotonic_ns()
        wait_until(
            lambda: self._count_heard_since(now) == len(self.collectors), _END_SECONDS
        )

    def _count_heard_since(self, started_ns: int) -> int:
        """Return of how many collectors the reducer had a batch after that time."""
        elapsed = time.monotonic_ns() - started_ns
        return sum(
            sample.name == "ebpf_net_time_since_last_message_ns"
            and sample.value < elapsed
            for sample in read_samples(scrape(self.internal_port))
        )

    def __enter__(self) -> System:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        programs = [
            *self.collectors.values(),
            *([self.reducer] if self.reducer else []),
        ]
        for program in programs:
            print(program.describe())
            if program.is_running():
                program.kill()

    def _start(
        self,
        name: str,
        program: str,
        flags: Sequence[str],
        environment: Mapping[str, str] | None,
        prefix: Sequence[str] = (),
    ) -> Program:
        data = self.directory / name
        return Program(
            [
                *prefix,
                command(program),
                *("--log-console", "--no-log-file", "--interval-seconds", "1"),
                *flags,
            ],
            self.directory / f"{name}.log",
            {"EBPF_NET_DATA_DIR": str(data), **(environment or {})},
            output=self.directory / f"{name}.out",
        )
