"""Traffic of known numbers over loopback, and what the kernel side must say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ebpf_net.collectors.kernel.records import UdpDrop
from tests.bpf.watch import totals
from tests.kernels.scene import (
    Scene,
    accept_and_reset,
    bind_with_a_filter,
    connect_and_wait_for_the_reset,
    connect_in_vain,
    listen,
    make_worker,
    next_port,
    volume,
)
from tests.world.tcp_traffic import (
    close_connections,
    exchange,
    make_short_connections,
    open_connections,
    serve,
)
from tests.world.udp_traffic import (
    bind_without_reading,
    count_readable,
    exchange_datagrams,
    send_datagrams,
    serve_udp,
)
from tests.world.waiting import wait_until

UP, DOWN = 1009, 2003
"""Bytes of a request and of its reply."""
Pair = tuple[object, object]
"""What was told, and what was done."""


@dataclass(frozen=True)
class Check:
    """One thing to compare, and the signals without which it cannot be right."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[Scene], Pair]
    not_by: str = ""
    """A way to ``tcp.state`` that does not tell this."""
    kernel_word: str = ""
    """What the kernel's types must name, or it does not tell this."""


def check_connections(scene: Scene, address: str) -> Pair:
    """50 connections, each with one request and its reply, and whose they are."""
    port, count = next_port(), 50
    scene.server.call(serve, address, port, UP, DOWN)
    scene.client.call(make_short_connections, address, port, count, UP, DOWN)
    scene.watch.wait_closed(port, count)
    told = [volume(scene.watch.client(port)), volume(scene.watch.server(port))]
    done = [_volume(count, count, UP, DOWN), _volume(count, count, DOWN, UP)]
    pids = {"server": [scene.server.pid], "client": [scene.client.pid]}
    return [told, scene.processes(port)], [done, pids]


def check_volume(scene: Scene) -> Pair:
    """The same without the processes."""
    told, done = check_connections(scene, "127.0.0.1")
    assert isinstance(told, list)
    assert isinstance(done, list)
    return told[0], done[0]


def check_open(scene: Scene) -> Pair:
    """Five connections that stay open, read twice."""
    port, count = next_port(), 5
    scene.server.call(serve, "127.0.0.1", port, UP, DOWN)
    scene.client.call(open_connections, "127.0.0.1", port, count)
    told, done = [], []
    for rounds in (1, 2):
        scene.client.call(exchange, 1, UP, DOWN)
        scene.watch.scan()
        told += [volume(scene.watch.client(port)), volume(scene.watch.server(port))]
        sent, received = rounds * UP, rounds * DOWN
        done += [_volume(count, 0, sent, received), _volume(count, 0, received, sent)]
    opened, _ = scene.source.recount_open()
    ends = (opened["local_port"] == port) | (opened["remote_port"] == port)
    scene.client.call(close_connections)
    scene.watch.wait_closed(port, count)
    return [*told, int(ends.sum())], [*done, 2 * count]


def check_older(scene: Scene) -> Pair:
    """The connection from before the start, from then on."""
    port = scene.old_port
    scene.watch.adopt()
    for _ in range(2):
        scene.client.call(exchange, 1, UP, DOWN)
    records = scene.watch.scan()
    # Nobody has seen who connected, so the ends are told apart by their ports.
    client = totals(records[records["remote_port"] == port])
    server = totals(records[records["local_port"] == port])
    pids = {"server": [scene.server.pid], "client": [scene.client.pid]}
    told = [volume(client), volume(server), scene.processes(port)]
    scene.client.call(close_connections)
    return told, [
        _volume(0, 0, 2 * UP, 2 * DOWN),
        _volume(0, 0, 2 * DOWN, 2 * UP),
        pids,
    ]


def check_refused_connects(scene: Scene) -> Pair:
    """Connects to a port where nobody listens, at the client."""
    port, count = next_port(), 7
    scene.client.call(connect_in_vain, "127.0.0.1", port, count)
    wait_until(lambda: _drained(scene) and scene.watch.client(port).failed == count, 30)
    told = scene.watch.client(port)
    return [told.failed, told.opened, told.resets_received], [count, 0, count]


def check_refusals(scene: Scene) -> Pair:
    """The same at the server, where there is no socket."""
    port, count = next_port(), 7
    for address in ("127.0.0.1", "::1"):
        scene.client.call(connect_in_vain, address, port, count)
    scene.watch.drain()
    told = scene.watch.server(port)
    return [told.resets_sent, told.opened], [2 * count, 0]


def check_reset(scene: Scene) -> Pair:
    """A connection that the server ends by a reset."""
    port = next_port()
    scene.server.call(listen, "127.0.0.1", port)
    waiting = scene.client.submit(connect_and_wait_for_the_reset, "127.0.0.1", port)
    scene.server.call(accept_and_reset)
    error = waiting.result(60)
    scene.watch.wait_closed(port, 1)
    client, server = scene.watch.client(port), scene.watch.server(port)
    told = [error, server.resets_sent, client.resets_received]
    return told, ["ConnectionResetError", 1, 1]


def check_datagrams(scene: Scene, address: str) -> Pair:
    """100 datagrams there and 100 back."""
    port, count = next_port(), 100
    scene.server.call(serve_udp, address, port, DOWN)
    scene.client.call(exchange_datagrams, [address], address, port, count, UP)
    client, server = scene.client.pid, scene.server.pid
    return scene.read_udp(port), {
        "server": _udp(count, DOWN, UP, server),
        "client": _udp(count, UP, DOWN, client),
    }


def check_full_socket(scene: Scene) -> Pair:
    """100 datagrams to a socket that does not read."""
    port, count = next_port(), 100
    worker = make_worker()
    worker.call(bind_without_reading, "127.0.0.1", port, 8192)
    scene.client.call(send_datagrams, "127.0.0.1", port, count, UP)
    kept = worker.call(count_readable)
    worker.close()
    told = scene.read_udp(port)["server"]
    got = [told["datagrams_received"], told["bytes_received"]]
    drops = told["drops"][UdpDrop.RECEIVE_BUFFER]
    return [*got, drops], [kept, kept * UP, count - kept]


def check_filtered(scene: Scene) -> Pair:
    """100 datagrams to a socket whose filter takes none."""
    port, count = next_port(), 100
    scene.server.call(bind_with_a_filter, "127.0.0.1", port)
    scene.client.call(send_datagrams, "127.0.0.1", port, count, UP)
    told = scene.read_udp(port)["server"]
    return [told["datagrams_received"], sum(told["drops"])], [0, count]


def check_cgroup_filter(scene: Scene) -> Pair:
    """A client in a cgroup that is left out, and its server."""
    port, count = next_port(), 10
    scene.source.set_cgroup_verdict(scene.cgroup.stat().st_ino, False)
    scene.server.call(serve, "127.0.0.1", port, UP, DOWN)
    scene.server.call(serve_udp, "127.0.0.1", port, 0)
    outside = make_worker(scene.cgroup)
    outside.call(make_short_connections, "127.0.0.1", port, count, UP, DOWN)
    outside.call(send_datagrams, "127.0.0.1", port, count, UP)
    outside.close()
    wait_until(lambda: _drained(scene) and scene.watch.server(port).closed == count, 30)
    udp = scene.read_udp(port)
    client, server = scene.watch.client(port), scene.watch.server(port)
    sent, received = udp["client"], udp["server"]
    told = [client.opened, sent["datagrams_sent"]]
    return [*told, server.opened, received["datagrams_received"]], [0, 0, count, count]


def check_losses(scene: Scene) -> Pair:
    """Nothing of all this was lost on the way from the kernel."""
    return sum(scene.source.losses().values()), 0


def _drained(scene: Scene) -> bool:
    scene.watch.drain()
    return True


def _volume(count: int, closed: int, sent: int, received: int) -> dict[str, int]:
    ends = max(count, 1)
    return {
        "opened": count,
        "closed": closed,
        "failed": 0,
        "bytes_sent": ends * sent,
        "bytes_received": ends * received,
    }


def _udp(count: int, sent: int, received: int, pid: int) -> dict[str, object]:
    return {
        "bytes_sent": count * sent,
        "bytes_received": count * received,
        "datagrams_sent": count,
        "datagrams_received": count,
        "drops": [0] * UdpDrop.REASONS,
        "pids": [pid],
    }


SOCK_OPS = "cgroup/sock_ops"

CHECKS = (
    Check(
        "a connection from before the start",
        ("tcp.state", "tcp.scan", "adopt"),
        check_older,
        not_by=SOCK_OPS,
    ),
    Check(
        "50 connections, IPv4",
        ("tcp.state",),
        partial(check_connections, address="127.0.0.1"),
    ),
    Check(
        "50 connections, IPv6",
        ("tcp.state",),
        partial(check_connections, address="::1"),
    ),
    Check("connections that stay open", ("tcp.state", "tcp.scan"), check_open),
    Check(
        "refused connects, at the client",
        ("tcp.state", "tcp.resets_received"),
        check_refused_connects,
    ),
    Check("refused connects, at the server", ("tcp.refused",), check_refusals),
    Check(
        "a reset, at both ends",
        ("tcp.state", "tcp.resets_sent", "tcp.resets_received"),
        check_reset,
    ),
    Check(
        "100 datagrams each way, IPv4",
        ("udp.packets", "udp.owners"),
        partial(check_datagrams, address="127.0.0.1"),
    ),
    Check(
        "100 datagrams each way, IPv6",
        ("udp.packets", "udp.owners"),
        partial(check_datagrams, address="::1"),
    ),
    Check(
        "datagrams to a full socket", ("udp.packets", "udp.drops"), check_full_socket
    ),
    Check(
        "datagrams that a filter refuses",
        ("udp.packets", "udp.discards"),
        check_filtered,
        kernel_word="rx_sk",  # of the tracepoint kfree_skb: the socket
    ),
    Check(
        "a cgroup that is left out", ("tcp.state", "udp.packets"), check_cgroup_filter
    ),
    Check("nothing lost", (), check_losses),
)
