"""From load to the end: what is attached, with which rights, and what remains."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ebpf_net.collectors.kernel.capabilities import Capability, drop_capabilities
from ebpf_net.collectors.kernel.libbpf import keep_capabilities
from ebpf_net.collectors.kernel.records import TcpFlag
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions, preflight
from ebpf_net.errors import KernelError
from tests.bpf.watch import Watch
from tests.world.bpf_objects import exists
from tests.world.hosts import Network
from tests.world.tcp_traffic import (
    connect_in_vain,
    exchange,
    make_short_connections,
    open_connections,
    serve,
)
from tests.world.waiting import wait_until

SIGNALS = [
    "tcp.state",
    "tcp.scan",
    "adopt",
    "tcp.resets_sent",
    "tcp.refused",
    "tcp.resets_received",
    "tcp.requests",
    "udp.packets",
    "udp.owners",
    "udp.drops",
    "udp.discards",
]
SUFFICIENT = (Capability.BPF, Capability.PERFMON, Capability.NET_ADMIN)


def in_a_process_of_its_own(function: Callable[[], object]) -> object:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function).result(60)


def those_in_kernel(kind: str, ids: set[int]) -> set[int]:
    return {each for each in ids if exists((kind, each))}


def owned_by(pid: int, kind: str) -> set[int]:
    """Ids of programs, maps or links that a process holds by a file descriptor."""
    found = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # what iterdir itself has open
            for line in info.read_text().splitlines():
                name, _, value = line.partition(":")
                if name == f"{kind}_id":
                    found.add(int(value))
    return found


def test_every_signal_attaches_here_the_best_way() -> None:
    signals = preflight(SourceOptions())
    assert [signal.name for signal in signals] == SIGNALS
    assert all(signal.attach for signal in signals)
    assert not any(signal.reason for signal in signals)


def test_a_missing_signal_does_not_stop_the_rest() -> None:
    options = SourceOptions(forbid=frozenset({"iter"}))
    with KernelSource(options) as source:
        missing = {each.name: each for each in source.signals if not each.attach}
        assert set(missing) == {"tcp.scan", "adopt"}
        assert missing["adopt"].reason
        assert missing["adopt"].hint
        flags = np.concatenate([source.adopt(), source.scan()])["flags"]
        assert not (flags & TcpFlag.ADOPTED).any()


def test_nothing_remains_in_the_kernel_after_a_kill() -> None:
    parent, child = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    victim = context.Process(target=_load_and_wait, args=(child,))
    victim.start()
    parent.recv()
    assert victim.pid
    owned = {kind: owned_by(victim.pid, kind) for kind in ("prog", "map", "link")}
    assert len(owned["link"]) >= len(SIGNALS)
    assert owned["link"] == those_in_kernel("link", owned["link"])
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    wait_until(
        lambda: not any(those_in_kernel(kind, owned[kind]) for kind in owned),
        20,
        lambda: {kind: those_in_kernel(kind, owned[kind]) for kind in owned},
    )


def _load_and_wait(ready: object) -> None:
    source = KernelSource(SourceOptions())
    ready.send(len(source.signals))  # type: ignore[attr-defined]
    signal.pause()


def test_close_detaches_and_may_be_repeated() -> None:
    source = KernelSource(SourceOptions())
    owned = owned_by(os.getpid(), "link")
    source.close()
    source.close()
    assert owned
    wait_until(lambda: not those_in_kernel("link", owned), 20)


def test_three_capabilities_suffice() -> None:
    assert in_a_process_of_its_own(_signals_with_three) == SIGNALS


def _signals_with_three() -> list[str]:
    keep_capabilities(sum(1 << each for each in SUFFICIENT))
    with KernelSource(SourceOptions()) as source:
        return [each.name for each in source.signals if each.attach]


@pytest.mark.parametrize("missing", SUFFICIENT)
def test_a_missing_capability_is_named(missing: Capability) -> None:
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        assert "CAP_" in pool.submit(_hint_without, missing).result(60)


def _hint_without(missing: Capability) -> str:
    keep_capabilities(sum(1 << each for each in SUFFICIENT if each != missing))
    try:
        KernelSource(SourceOptions()).close()
    except KernelError as error:
        return error.hint
    return ""


def test_without_rights_the_error_says_what_to_do() -> None:
    assert in_a_process_of_its_own(_hint_without_any) == (
        "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
    )


def _hint_without_any() -> str:
    keep_capabilities(0)
    try:
        KernelSource(SourceOptions()).close()
    except KernelError as error:
        return error.hint
    return ""


def test_all_works_after_capabilities_are_dropped() -> None:
    assert in_a_process_of_its_own(_work_after_drop) == (1, 1)


def _work_after_drop() -> tuple[int, int]:
    with KernelSource(SourceOptions()) as source:
        assert drop_capabilities(source.losses) <= {Capability.BPF}
        source.adopt()
        source.set_cgroup_verdict(1, True)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port))
            server, _ = listener.accept()
        watch = Watch(source)
        watch.scan()
        source.recount_open()
        source.read_udp()
        client.close()
        server.close()
        watch.wait_closed(port, 1)
        return watch.client(port).opened, watch.server(port).opened


def test_the_next_best_way_counts_the_same(network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    server, client = right.worker(), left.worker()
    options = SourceOptions(udp=False, forbid=frozenset({"tp_btf"}))
    with KernelSource(options) as source:
        state = source.signals[0]
        assert state.attach in ("fentry/tcp_set_state", "cgroup/sock_ops")
        assert state.reason == (
            "tp_btf/inet_sock_set_state is forbidden by --forbid-attach"
        )
        assert state.lost
        watch = Watch(source)
        server.call(serve, right.address, 7601, 100, 2000)
        client.call(make_short_connections, right.address, 7601, 50, 100, 2000)
        client.call(connect_in_vain, right.address, 7602, 3)
        watch.wait_closed(7601, 50)
        at_client, at_server = watch.client(7601), watch.server(7601)
        assert at_client.opened == at_server.opened == 50
        assert at_client.bytes_sent == at_server.bytes_received == 5000
        assert at_client.bytes_received == at_server.bytes_sent == 100_000
        assert watch.client(7602).failed == 3
        records = watch.records
        assert set(records["pid"][records["remote_port"] == 7601]) == {client.pid}
        client.call(open_connections, right.address, 7601, 5)
        client.call(exchange, 2, 100, 2000)
        watch.scan()
        assert watch.client(7601).opened == 55
        assert watch.client(7601).bytes_sent == 6000
