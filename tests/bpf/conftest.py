"""Tests of the programs in the kernel, with real sockets. They need root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from ebpf_net.errors import EbpfNetError
from tests.bpf.watch import Watch


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root"
    try:
        KernelSource(SourceOptions()).close()
    except EbpfNetError as error:
        return f"the kernel does not take the programs: {error}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def _kernel() -> None:
    reason = _why_not()
    if reason and os.environ.get("EBPF_NET_RUN_BPF_TESTS") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Everything attached, nothing adopted.

    The ring has room for what else goes on on the machine while a test does not drain.
    """
    with KernelSource(SourceOptions(ring_bytes=1 << 26)) as source:
        yield Watch(source)
