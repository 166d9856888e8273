"""The program that enters namespaces, asked as the collector asks it."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.collectors.kernel.own_namespace import OwnNamespace

from ebpf_net.collectors.kernel.conntrack import ConntrackTable, Listening
from ebpf_net.collectors.kernel.conntrack_opener import (
    ConntrackOpener,
    NamespaceMovedError,
    Nat,
    Status,
    UnreachableError,
)


def test_it_says_when_rules_translate(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    before = opener.check(own_namespace.file, 0)
    assert before.nat == Nat(0)
    own_namespace.translate()
    after = opener.check(own_namespace.file, before.generation)
    assert after.nat == Nat.NFTABLES
    assert opener.check(own_namespace.file, after.generation).nat == Nat.UNCHANGED
    own_namespace.run("nft", "flush", "ruleset")
    assert opener.check(own_namespace.file, after.generation).nat == Nat(0)


def test_it_sees_rules_of_iptables(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    own_namespace.run("iptables-legacy", "-t", "nat", "-L")
    assert opener.check(own_namespace.file, 0).nat == Nat.IPTABLES


def test_what_it_opens_hears_translated_connections_only(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    own_namespace.translate()
    table = ConntrackTable(16)
    heard = {}
    for every in (False, True):
        heard[every] = opener.open_events(own_namespace.file, 1 << 20, every=every)
    own_namespace.connect()
    listening = Listening(own_namespace.number, 0, 1)
    assert table.drain(heard[False], listening) == 0
    assert (len(table), table.events) == (1, 1)
    for netlink in heard.values():
        os.close(netlink)


@pytest.mark.parametrize("status", [Status.DESTINATION_NAT, Status(0)])
def test_dump_has_connections_from_before(
    opener: ConntrackOpener, own_namespace: OwnNamespace, status: Status
) -> None:
    own_namespace.translate()
    own_namespace.connect()
    table = ConntrackTable(16)
    with opener.open_dump(own_namespace.file, status) as netlink:
        table.read_dump(netlink, Listening(own_namespace.number, 0, 1))
    assert table.count_live(own_namespace.number) == 1


def test_it_keeps_two_capabilities_and_no_namespace(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    opener.check(own_namespace.file, 0)
    status = Path(f"/proc/{opener.pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if "Cap" in line]
    assert masks[1] & ~(1 << 12 | 1 << 21) == 0
    assert masks[1] == masks[2]
    files = Path(f"/proc/{opener.pid}/fd").iterdir()
    held = {os.readlink(file) for file in files}
    assert f"net:[{own_namespace.number}]" not in held
    own = os.readlink(f"/proc/{opener.pid}/ns/net")
    assert own == os.readlink("/proc/self/ns/net")


def test_file_that_is_no_namespace_is_an_error(
    opener: ConntrackOpener, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
        opener.check(str(tmp_path / "file"), 0)
    with pytest.raises(FileNotFoundError):
        opener.check(str(tmp_path / "nothing"), 0)


def test_file_of_another_namespace_than_expected_is_an_error(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    wrong = own_namespace.number + 1
    opener.check(own_namespace.file, 0, own_namespace.number)
    with pytest.raises(NamespaceMovedError):
        opener.check(own_namespace.file, 0, wrong)
    with pytest.raises(NamespaceMovedError):
        opener.open_events(own_namespace.file, 4096, wrong, every=False)
    with (
        pytest.raises(NamespaceMovedError),
        opener.open_dump(own_namespace.file, 0, wrong),
    ):
        pass


def test_it_stays_at_signals_that_are_for_the_collector(
    opener: ConntrackOpener,
) -> None:
    opener.check("/proc/self/ns/net", 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(opener.pid, number)
    opener.check("/proc/self/ns/net", 0)


def test_when_it_has_ended_requests_fail() -> None:
    opener = ConntrackOpener()
    os.kill(opener.pid, signal.SIGKILL)
    with pytest.raises(OSError, match=r"ended|Broken pipe|reset"):
        opener.check("/proc/self/ns/net", 0)
    opener.close()


def sockets() -> int:
    """Return how many sockets this process has open."""
    files = list(Path("/proc/self/fd").iterdir())
    return sum(file.is_socket() for file in files)


def test_after_a_stall_late_answers_are_not_taken_for_others(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    own_namespace.translate()
    opener.check(own_namespace.file, 0)
    before = sockets()
    os.kill(opener.pid, signal.SIGSTOP)
    opener.begin_window()
    with pytest.raises(UnreachableError, match="does not answer"):
        opener.open_events(own_namespace.file, 4096, every=True)
    assert not opener.has_ended
    os.kill(opener.pid, signal.SIGCONT)
    opener.begin_window()
    assert opener.check(own_namespace.file, 0).nat == Nat.NFTABLES
    assert sockets() == before


def test_a_stall_holds_up_a_window_for_two_seconds_at_most(
    opener: ConntrackOpener,
) -> None:
    opener.check("/proc/self/ns/net", 0)
    os.kill(opener.pid, signal.SIGSTOP)
    opener.begin_window()
    began = time.monotonic()
    for _ in range(1000):
        with pytest.raises(UnreachableError):
            opener.check("/proc/self/ns/net", 0)
    assert 1.9 < time.monotonic() - began < 5
    os.kill(opener.pid, signal.SIGCONT)


def test_it_can_be_started_again(
    opener: ConntrackOpener, own_namespace: OwnNamespace
) -> None:
    os.kill(opener.pid, signal.SIGKILL)
    with pytest.raises(UnreachableError):
        opener.check(own_namespace.file, 0)
    assert opener.has_ended
    opener.restart()
    assert opener.check(own_namespace.file, 0).nat == Nat(0)
