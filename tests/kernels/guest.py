"""Run on the kernel that is looked at: prints one JSON document about it."""

from __future__ import annotations

import json
import platform
import sys
from contextlib import ExitStack

from ebpf_net.collectors.kernel.probes import BTF, PROBES, Signal, Way
from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions, preflight
from ebpf_net.errors import EbpfNetError
from tests.kernels.checks import CHECKS, DOWN, UP, Check, check_volume
from tests.kernels.scene import Scene, make_cgroup, make_worker, next_port
from tests.world.tcp_traffic import exchange, open_connections, serve

RING_BYTES = 1 << 26


def main() -> None:
    """Try each signal, each way to the first of them, and each check."""
    signals = preflight(SourceOptions())
    (state,) = (probe for probe in PROBES if probe.name == "tcp.state")
    document = {
        "kernel": platform.release(),
        "signals": {signal.name: signal.attach for signal in signals},
        "reasons": {each.name: each.reason for each in signals if each.reason},
        "ways": [
            run_way(way, {other.kind for other in state.ways[:number]})
            for number, way in enumerate(state.ways)
        ],
        "checks": run_checks(),
    }
    print(json.dumps(document))


def run_checks() -> list[dict[str, object]]:
    """All of them, with everything attached that this kernel attaches."""
    with ExitStack() as stack:
        scene = _make_scene(stack, frozenset())
        return [_run(check, scene) for check in CHECKS]


def run_way(way: Way, forbid: set[str]) -> dict[str, object]:
    """Connections, with the better ways to their states taken away."""
    check = Check(way.attach, ("tcp.state",), check_volume)
    try:
        with ExitStack() as stack:
            scene = _make_scene(stack, frozenset(forbid))
            taken = _signals(scene)["tcp.state"].attach
            if taken != way.attach:
                return _result(check, "refused")
            return _run(check, scene)
    except EbpfNetError as error:
        return _result(check, "refused", str(error))


def _make_scene(stack: ExitStack, forbid: frozenset[str]) -> Scene:
    server, client = make_worker(), make_worker()
    stack.callback(server.close)
    stack.callback(client.close)
    cgroup = make_cgroup()
    stack.callback(cgroup.rmdir)
    port = next_port()
    server.call(serve, "127.0.0.1", port, UP, DOWN)
    client.call(open_connections, "127.0.0.1", port, 1)
    client.call(exchange, 1, UP, DOWN)
    options = SourceOptions(forbid=forbid, ring_bytes=RING_BYTES)
    source = stack.enter_context(KernelSource(options))
    return Scene(source, server, client, cgroup, port)


def _run(check: Check, scene: Scene) -> dict[str, object]:
    if not _is_told(check, _signals(scene)):
        return _result(check, "lost")
    try:
        told, done = check.run(scene)
    except Exception as error:  # noqa: BLE001, the other checks are of use
        return _result(check, "differs", f"{type(error).__name__}: {error}")
    if told == done:
        return _result(check, "exact")
    return _result(check, "differs", f"told {told}, done {done}")


def _is_told(check: Check, signals: dict[str, Signal]) -> bool:
    return (
        all(signals[name].attach for name in check.needs)
        and signals["tcp.state"].attach != check.not_by
        and check.kernel_word.encode() + b"\0" in BTF.read_bytes()
    )


def _signals(scene: Scene) -> dict[str, Signal]:
    return {signal.name: signal for signal in scene.source.signals}


def _result(check: Check, result: str, remark: str = "") -> dict[str, object]:
    print(f"{check.name}: {result} {remark}", file=sys.stderr, flush=True)
    return {"check": check.name, "result": result, "remark": remark}


if __name__ == "__main__":
    main()
