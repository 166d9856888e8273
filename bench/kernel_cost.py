"""What the programs in the kernel cost; prints JSON.

Times are the kernel's own (BPF statistics); other traffic of the machine runs the same
programs, so that of several rounds the least is nearest to the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from _loads import Load, Namespace, compile_connections, median_and_spread
from _program_runs import Programs, Runs, counted_runs, runs_between, sum_runs

from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions

SOCKETS = (1_000, 10_000, 90_000)
QUICK_SOCKETS = (1_000, 10_000)
PAIRS_OF_A_PROCESS = 9_000  # two open files a pair, and 20,000 are allowed
SCANS = 5
ROUNDS = 7
QUICK_ROUNDS = 3
ROUND_SECONDS = 1.0
CONNECTIONS_A_SECOND = 4_000
MESSAGES = 100
MESSAGE_ROUNDS = 100  # short ones, for each round: some are not disturbed


class Measurement:
    """A source in this process, and the load that it watches."""

    def __init__(self, connections: Path, namespace: Namespace, rounds: int) -> None:
        self.connections = connections
        self.namespace = namespace
        self.rounds = rounds

    def load(self, *arguments: object) -> Load:
        return Load(self.connections, self.namespace, *arguments)


def measure_connections(measurement: Measurement) -> dict[str, object]:
    """Open and close connections; both ends are on this machine."""
    sides, runs, others, kinds = [], [], [], {}
    with (
        KernelSource(SourceOptions()) as source,
        measurement.load("churn", 2, CONNECTIONS_A_SECOND, 1) as load,
    ):
        programs = Programs(os.getpid())
        source.adopt()
        for _ in range(measurement.rounds):
            before, count = programs.read(), load.ask()
            closed = drain_for(source, ROUND_SECONDS)
            others.append(closed - 2 * (load.ask() - count))
            kinds = runs_between(before, programs.read(), "tcp_")
            total = sum_runs(kinds)
            sides.append(total.nanoseconds / closed)
            runs.append(total.count / closed)
        lost = source.losses()["ring_full"]
    return {
        "ns_per_side": median_and_spread(sides),
        "runs_per_side": median_and_spread(runs, 2),
        "ns_per_run": {name: one.ns_per_run for name, one in kinds.items()},
        "sides_of_others": median_and_spread(others, 0),
        "lost_records": lost,
    }


def drain_for(source: KernelSource, seconds: float) -> int:
    """Keep the ring empty for some time; return how many connections' ends closed."""
    deadline = time.monotonic() + seconds
    source.drain()
    closed = 0
    while time.monotonic() < deadline:
        source.wait(50)
        flags = source.drain()["flags"]
        closed += int(np.count_nonzero(flags & TcpFlag.CLOSED))
    return closed


def measure_packets(
    measurement: Measurement, mode: str, *, udp: bool
) -> dict[str, object]:
    """Exchange messages over one pair of sockets that exists already."""
    rounds: list[tuple[int, dict[str, Runs]]] = []
    with (
        measurement.load(mode) as load,
        KernelSource(SourceOptions(udp=udp)) as source,
    ):
        programs = Programs(os.getpid())
        source.adopt()
        load.ask(1)
        for _ in range(measurement.rounds * MESSAGE_ROUNDS):
            before = programs.read()
            packets = load.ask(MESSAGES)
            rounds.append((packets, runs_between(before, programs.read())))
    return {
        "packets_a_round": rounds[0][0],
        "tcp_runs": runs_per_packet(rounds, "tcp_"),
        "udp_runs": runs_per_packet(rounds, "udp_"),
    }


def runs_per_packet(
    rounds: list[tuple[int, dict[str, Runs]]], prefix: str
) -> dict[str, object]:
    """Return runs and time a packet, sender and receiver together."""
    totals = [
        (packets, sum_runs(runs_between({}, runs, prefix))) for packets, runs in rounds
    ]
    _, last = rounds[-1]
    return {
        "per_packet": median_and_spread([one.count / n for n, one in totals], 4),
        "ns_per_packet": median_and_spread([one.nanoseconds / n for n, one in totals]),
        "ns_per_run": {
            name: one.ns_per_run
            for name, one in last.items()
            if name.startswith(prefix) and one.count >= MESSAGES
        },
    }


def measure_sockets(measurement: Measurement, sockets: int) -> dict[str, object]:
    """Adopt so many sockets, and scan them when none and when all have moved."""
    pairs = sockets // 2
    with ExitStack() as stack:
        loads = [
            stack.enter_context(
                measurement.load("hold", min(PAIRS_OF_A_PROCESS, pairs - start), number)
            )
            for number, start in enumerate(range(0, pairs, PAIRS_OF_A_PROCESS), 1)
        ]
        source = stack.enter_context(KernelSource(SourceOptions(ring_bytes=32 << 20)))
        programs = Programs(os.getpid())
        began = time.thread_time_ns()
        adopted = source.adopt().size
        adopt_ns = time.thread_time_ns() - began
        source.scan()
        idle, moved = [], []
        for _ in range(SCANS):
            idle.append(scan(source, programs, sockets))
            for load in loads:
                load.ask()
            moved.append(scan(source, programs, sockets))
    return {
        "sockets": sockets,
        "adopted": adopted,
        "adopt_cpu_ns_per_socket": round(adopt_ns / sockets, 1),
        "idle": summarize_scans(idle),
        "moved": summarize_scans(moved),
    }


def scan(
    source: KernelSource, programs: Programs, sockets: int
) -> tuple[float, float, int]:
    """Scan once: CPU time a socket, time in the program a socket, and records."""
    before = programs.read()
    began = time.thread_time_ns()
    records = source.scan().size
    cpu_ns = time.thread_time_ns() - began
    runs = sum_runs(runs_between(before, programs.read(), "tcp_scan"))
    return cpu_ns / sockets, runs.nanoseconds / sockets, records


def summarize_scans(scans: list[tuple[float, float, int]]) -> dict[str, object]:
    """Return medians."""
    return {
        "cpu_ns_per_socket": median_and_spread([one for one, _, _ in scans]),
        "program_ns_per_socket": median_and_spread([one for _, one, _ in scans]),
        "records": max(records for _, _, records in scans),
    }


def say(what: str) -> None:
    """Tell how far it is."""
    print(f"kernel_cost: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 15 seconds")
    quick = parser.parse_args().quick
    result: dict[str, object] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        Namespace() as namespace,
        counted_runs(),
    ):
        measurement = Measurement(
            compile_connections(Path(scratch)),
            namespace,
            QUICK_ROUNDS if quick else ROUNDS,
        )
        say("connections")
        result["tcp_connection"] = measure_connections(measurement)
        say("TCP packets")
        result["tcp_packet"] = measure_packets(measurement, "tcp", udp=True)
        say("TCP packets without the UDP programs")
        result["tcp_packet_udp_disabled"] = measure_packets(
            measurement, "tcp", udp=False
        )
        say("datagrams")
        result["udp_datagram"] = measure_packets(measurement, "udp", udp=True)
        scans = []
        for sockets in QUICK_SOCKETS if quick else SOCKETS:
            say(f"{sockets} sockets")
            scans.append(measure_sockets(measurement, sockets))
        result["scans"] = scans
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
