"""Fixtures of the kernel collector's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.collectors.kernel.own_namespace import OwnNamespace

from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener


@pytest.fixture
def own_namespace() -> Iterator[OwnNamespace]:
    """A network namespace; skipped without the rights to make one."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    namespace = OwnNamespace()
    yield namespace
    namespace.close()


@pytest.fixture
def opener() -> Iterator[ConntrackOpener]:
    """The program that enters namespaces."""
    opener = ConntrackOpener()
    yield opener
    opener.close()
