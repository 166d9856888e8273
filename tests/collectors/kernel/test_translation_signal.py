"""Whether address translation can be seen, as preflight says it."""

import errno
import os

import pytest
from tests.collectors.kernel.own_namespace import OwnNamespace

from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener
from ebpf_net.collectors.kernel.translation_signal import (
    missing_translations,
    try_translations,
)


def test_with_the_rights_it_is_there(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    assert try_translations(opener).attach == "conntrack/netlink"


def test_without_them_it_is_missing_and_says_what_is_needed() -> None:
    error = OSError(errno.EPERM, os.strerror(errno.EPERM))
    signal = missing_translations(error)
    assert (signal.attach, signal.reason) == ("", "Operation not permitted")
    assert "CAP_NET_ADMIN" in signal.hint


def test_program_that_has_ended_is_missing_too() -> None:
    opener = ConntrackOpener()
    opener.close()
    with pytest.raises(OSError, match="has ended"):
        opener.check("/proc/self/ns/net", 0)
    assert try_translations(opener).attach == ""
