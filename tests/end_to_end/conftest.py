"""End-to-end tests: real traffic on the real kernel, read at the far end.

They need root, and BPF in the kernel; EBPF_NET_RUN_BPF_TESTS=1 says that both are
there, and without it they are skipped where one is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.world.otel_collector import OtelCollector
from tests.world.system import System


@pytest.fixture(autouse=True, scope="session")
def _needs_bpf() -> None:
    if os.environ.get("EBPF_NET_RUN_BPF_TESTS") == "1":
        return
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("needs a kernel with BTF")


@pytest.fixture
def system(tmp_path: Path, otel_collector: OtelCollector) -> Iterator[System]:
    """A reducer that sends to ``otel_collector``; the test starts its collectors."""
    with System(tmp_path, otel_collector) as system:
        system.start_reducer()
        yield system
