"""What following address translation costs; prints JSON.

A namespace of its own changes the source of what goes over its loopback. What the
kernel pays to tell of a connection is the difference in a sender's time, each of whose
datagrams begins one, with and without a listener, in rounds that take turns; what we
pay is the time of this process. ``record`` is what it costs to find the true ends of
one TCP socket. ``without_rules`` is what is left where no rules translate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _collector import wait
from _loads import (
    Load,
    Namespace,
    compile_connections,
    cpu_ns,
    median_and_quartiles,
    memory_kib,
)

from ebpf_net.collectors.kernel.address_translation import (
    AddressTranslation,
    TranslationOptions,
)
from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener
from ebpf_net.collectors.kernel.network_namespaces import NetworkNamespaces
from ebpf_net.collectors.kernel.records import TcpFlag, TcpRole
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions

PAIRS = 2
ROUNDS, QUICK_ROUNDS = 40, 6
DATAGRAMS = 3000  # of a round, each a connection
ROUND_SECONDS = 0.5
RATE = 8000
PORTS = range(901, 901 + PAIRS)  # of the load's servers
BUFFER_BYTES = 64 << 20
WINDOW_SECONDS = 10.0
LOOKS = 50
_RULES = f"""
table ip nat {{
    chain last {{
        type nat hook postrouting priority 100
        tcp dport {PORTS[0]}-{PORTS[-1]} snat to 127.9.9.9
        udp dport 1024-65535 snat to 127.9.9.9
    }}
    chain first {{
        type filter hook prerouting priority -300
        udp dport 1024-65535 drop
    }}
}}
"""
_SHORT = "".join(
    f"echo 1 >/proc/sys/net/netfilter/nf_conntrack_{timeout};"
    for timeout in ("tcp_timeout_time_wait", "tcp_timeout_close", "udp_timeout")
)
_SENDER = f"""
import socket, sys, time
for line in sys.stdin:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    ends = [("127.0.0.1", port) for port in range(2000, 2000 + {DATAGRAMS})]
    before = time.thread_time_ns()
    for end in ends:
        sender.sendto(b"", end)
    print(time.thread_time_ns() - before, flush=True)
    sender.close()
"""


class Listener:
    """Follows the load's namespace, or does not."""

    def __init__(self, opener: ConntrackOpener, file: str, place: Path) -> None:
        proc, named = place / "proc", place / "netns"
        proc.mkdir()
        named.mkdir()
        self._link = named / "load"
        self._file = file
        self.translation = AddressTranslation(
            opener,
            NetworkNamespaces(10, None, proc, named),
            TranslationOptions(max_connections=1 << 18, buffer_bytes=BUFFER_BYTES),
            time.monotonic_ns,
        )

    def set(self, listening: bool) -> None:
        """Begin, or end."""
        if listening:
            self._link.symlink_to(self._file)
        else:
            self._link.unlink()
        self.translation.look()


@contextmanager
def timed(spent: list[int]) -> Iterator[None]:
    """Add the time of this thread."""
    before = time.thread_time_ns()
    yield
    spent.append(time.thread_time_ns() - before)


def measure_connections(
    namespace: Namespace, listener: Listener, rounds: int
) -> dict[str, object]:
    """Take turns at listening; say what it costs whom that a connection begins."""
    translation = listener.translation
    sent_ns: dict[bool, list[float]] = {True: [], False: []}
    heard_ns: list[float] = []
    told = 0
    with subprocess.Popen(
        namespace.enter(sys.executable, "-c", _SENDER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as sender:
        assert sender.stdin is not None
        assert sender.stdout is not None
        for number in range(2 * rounds):
            listening = number % 2 == 0
            listener.set(listening)
            before = translation.status()["translations.events"]
            sender.stdin.write("\n")
            sent_ns[listening].append(int(sender.stdout.readline()) / DATAGRAMS)
            if listening:
                spent: list[int] = []
                with timed(spent):
                    translation.listen()
                heard_ns.append(sum(spent) / DATAGRAMS)
                told += translation.status()["translations.events"] - before
        sender.stdin.close()
    pairs = zip(sent_ns[True], sent_ns[False], strict=True)
    return {
        "kernel_ns": median_and_quartiles([one - other for one, other in pairs], 0),
        "user_ns": median_and_quartiles(heard_ns, 0),
        "events": round(told / rounds / DATAGRAMS, 3),
        "overruns": translation.status()["translations.overruns"],
        "without_listener_ns": median_and_quartiles(sent_ns[False], 0),
    }


def measure_records(listener: Listener, rounds: int) -> dict[str, object]:
    """Resolve what the kernel's programs report of both ends."""
    listener.set(True)
    spent: list[float] = []
    resolved = []
    with KernelSource(SourceOptions(udp=False)) as source:
        source.adopt()
        for _ in range(rounds):
            wait(ROUND_SECONDS)
            records = source.drain()
            listener.translation.listen()
            is_server = np.isin(records["local_port"], PORTS)
            ours = is_server | np.isin(records["remote_port"], PORTS)
            ours &= (records["flags"] & TcpFlag.CLOSED) != 0
            chosen = records[ours]
            roles = np.where(is_server[ours], TcpRole.SERVER, TcpRole.CLIENT)
            roles = roles.astype(np.int64)
            time_ns: list[int] = []
            with timed(time_ns):
                ends = listener.translation.resolve_tcp(chosen, roles)
            if chosen.size and ends is not None:
                spent.append(sum(time_ns) / chosen.size)
                found = np.count_nonzero(ends.translation_ids)
                resolved.append(100 * found / chosen.size)
    listener.set(False)
    return {
        "user_ns": median_and_quartiles(spent, 0),
        "resolved_percent": median_and_quartiles(resolved, 2),
    }


def measure_without_rules(opener: ConntrackOpener) -> dict[str, object]:
    """Look into all namespaces of this machine, as at a window's end."""
    namespaces = NetworkNamespaces(1000)
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns
    )
    translation.look()
    before, spent = cpu_ns(opener.pid), []
    for _ in range(LOOKS):
        with timed(spent):
            translation.look()
            translation.listen()
    theirs = (cpu_ns(opener.pid) - before) / LOOKS
    found, status = len(namespaces.find()), translation.status()
    translation.close()
    mine = sum(spent) / LOOKS
    return {
        "namespaces": found,
        "of_them_translating": status["translations.namespaces"],
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "us_per_window": round(mine / 1e3, 1),
        "us_per_window_of_opener": round(theirs / 1e3, 1),
        "core_percent": round((mine + theirs) / WINDOW_SECONDS / 1e7, 4),
    }


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 20 seconds")
    rounds = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    opener = ConntrackOpener()
    result: dict[str, object] = {"without_rules": measure_without_rules(opener)}
    with tempfile.TemporaryDirectory() as scratch, Namespace() as namespace:
        connections = compile_connections(Path(scratch))
        enter = namespace.enter
        subprocess.run(enter("nft", "-f", "-"), input=_RULES, text=True, check=True)
        subprocess.run(enter("sh", "-c", _SHORT), check=True)
        listener = Listener(opener, namespace.file, Path(scratch))
        with Load(connections, namespace, "churn", PAIRS, RATE, 50):
            result["record"] = measure_records(listener, rounds // 2)
        result["connection"] = measure_connections(namespace, listener, rounds)
        listener.translation.close()
    result["opener"] = memory_kib(opener.pid)
    opener.close()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
