"""Dropping is for good, so it is tried in threads that end."""

import threading
from collections.abc import Callable
from pathlib import Path

from ebpf_net.collectors.kernel.capabilities import Capability, drop_capabilities
from ebpf_net.errors import KernelError


def in_thread(function: Callable[[], object]) -> object:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def effective() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    raise AssertionError


def refuse() -> None:
    raise KernelError("map look-up: Operation not permitted")


def test_nothing_is_kept_where_nothing_is_needed() -> None:
    def drop() -> tuple[object, int]:
        return drop_capabilities(lambda: None), effective()

    assert in_thread(drop) == (frozenset(), 0)


def test_bpf_is_wanted_where_maps_need_it() -> None:
    held = effective() & 1 << Capability.BPF

    def drop() -> frozenset[Capability] | None:
        try:
            return drop_capabilities(refuse)
        except KernelError:
            return None  # it cannot keep what it never had

    expected = frozenset({Capability.BPF}) if held else None
    assert in_thread(drop) == expected
