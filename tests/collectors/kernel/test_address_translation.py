"""From the rules of real namespaces to true ends, without the programs of BPF."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.collectors.kernel.own_namespace import OwnNamespace

from ebpf_net.collectors.kernel.address_translation import (
    AddressTranslation,
    TranslationOptions,
)
from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener
from ebpf_net.collectors.kernel.network_namespaces import NetworkNamespaces
from ebpf_net.schema import Role
from ebpf_net.testing.kernel import tcp_records, udp_records

NOBODY = np.empty(0, np.int64)
CLIENT = np.array([Role.CLIENT], np.int64)


@pytest.fixture
def translation(
    opener: ConntrackOpener, own_namespace: OwnNamespace, tmp_path: Path
) -> Iterator[AddressTranslation]:
    """Sees the test's own namespace only."""
    named = tmp_path / "netns"
    named.mkdir()
    (named / "own").symlink_to(own_namespace.file)
    (tmp_path / "proc").mkdir()
    namespaces = NetworkNamespaces(10, None, tmp_path / "proc", named)
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns
    )
    yield translation
    translation.close()


def test_hosts_connections_are_found_where_no_rule_translates(
    opener: ConntrackOpener, own_namespace: OwnNamespace, tmp_path: Path
) -> None:
    (tmp_path / "1" / "ns").mkdir(parents=True)
    (tmp_path / "1" / "ns" / "net").symlink_to(own_namespace.file)
    own_namespace.run(
        *("conntrack", "-I", "-p", "udp", "-t", "100", "-s", "1.1.1.1", "-d"),
        *("2.2.2.2", "--sport", "1", "--dport", "2", "--dst-nat", "3.3.3.3"),
    )
    namespaces = NetworkNamespaces(10, None, tmp_path, tmp_path)
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns
    )
    for _ in range(2):
        translation.look()
    assert translation.status()["translations.connections"] == 1
    assert translation.status()["translations.namespaces"] == 1
    own_namespace.run("conntrack", "-F")
    translation.look()
    assert translation.status()["translations.namespaces"] == 0
    translation.close()


def client_port(namespace: OwnNamespace) -> int:
    """Return the port of the connection that the namespace's table has."""
    line = namespace.run("conntrack", "-L", "-p", "tcp").split()
    return int(next(word[6:] for word in line if word.startswith("sport=")))


def seen(namespace: OwnNamespace) -> np.ndarray:
    return tcp_records(
        {
            "time_ns": time.monotonic_ns(),
            "local_address": "127.0.0.1",
            "remote_address": "127.0.0.1",
            "local_port": client_port(namespace),
            "remote_port": 80,
            "netns": namespace.number,
        }
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_connection_is_known_from_dump_and_events(
    translation: AddressTranslation, own_namespace: OwnNamespace, when: str
) -> None:
    own_namespace.translate()
    if when == "before":
        own_namespace.connect()
    translation.look()
    if when == "after":
        own_namespace.connect()
    translation.listen()
    ends = translation.resolve_tcp(seen(own_namespace), CLIENT)
    assert ends is not None
    assert ends.ports[1].tolist() == [8080]
    told = translation.end_window(ends.translation_ids)
    assert told["translation_id"].tolist() == ends.translation_ids.tolist()
    assert translation.snapshot()["server_port"].tolist() == [8080]


def test_nothing_runs_without_rules(
    translation: AddressTranslation, own_namespace: OwnNamespace
) -> None:
    own_namespace.connect_plainly()
    translation.look()
    translation.listen()
    assert translation.resolve_tcp(seen(own_namespace), CLIENT) is None
    assert translation.resolve_udp(*udp_records({})) is None
    status = translation.status()
    assert status["translations.namespaces"] == 0
    assert status["translations.events"] == 0


def test_socket_is_closed_once_its_rules_and_connections_are_gone(
    translation: AddressTranslation, own_namespace: OwnNamespace
) -> None:
    own_namespace.translate()
    translation.look()
    own_namespace.connect()
    own_namespace.run("nft", "flush", "ruleset")
    translation.look()
    assert translation.status()["translations.namespaces"] == 1
    own_namespace.run("conntrack", "-F")
    translation.look()
    assert translation.status()["translations.namespaces"] == 0


def test_forwarded_connections_are_told_without_a_record(
    translation: AddressTranslation, own_namespace: OwnNamespace
) -> None:
    own_namespace.translate()
    translation.look()
    own_namespace.connect()
    translation.listen()
    assert len(translation.end_window(NOBODY)["translation_id"]) == 1


def test_namespace_without_a_wanted_process_is_followed_and_not_told(
    opener: ConntrackOpener, own_namespace: OwnNamespace, tmp_path: Path
) -> None:
    (tmp_path / "own").symlink_to(own_namespace.file)
    (tmp_path / "proc").mkdir()
    namespaces = NetworkNamespaces(10, lambda _: False, tmp_path / "proc", tmp_path)
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns
    )
    own_namespace.translate()
    translation.look()
    own_namespace.connect()
    translation.listen()
    assert len(translation.end_window(NOBODY)["translation_id"]) == 0
    ends = translation.resolve_tcp(seen(own_namespace), CLIENT)
    assert ends is not None
    assert ends.ports[1].tolist() == [8080]
    told = translation.end_window(ends.translation_ids)
    assert told["translation_id"].tolist() == ends.translation_ids.tolist()
    translation.close()


def test_process_that_moved_is_not_taken_for_its_former_namespace(
    opener: ConntrackOpener, own_namespace: OwnNamespace, tmp_path: Path
) -> None:
    plain = OwnNamespace()
    for pid, namespace in (("7", plain), ("8", own_namespace)):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "net").symlink_to(namespace.file)
    namespaces = NetworkNamespaces(10, None, tmp_path, tmp_path / "none")
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns
    )
    translation.look()
    own_namespace.translate()
    (tmp_path / "7" / "ns" / "net").unlink()
    (tmp_path / "7" / "ns" / "net").symlink_to(own_namespace.file)
    translation.look()
    listening = translation.status()["translations.namespaces"]
    translation.close()
    plain.close()
    assert listening == 1


def test_after_a_stall_it_goes_on(
    translation: AddressTranslation,
    own_namespace: OwnNamespace,
    opener: ConntrackOpener,
) -> None:
    translation.look()
    own_namespace.translate()
    os.kill(opener.pid, signal.SIGSTOP)
    translation.look()
    status = translation.status()
    assert status["lost.conntrack_unreachable"] == 1
    assert status["signal.translations.conntrack"] == 0
    os.kill(opener.pid, signal.SIGCONT)
    own_namespace.connect()
    translation.look()
    ends = translation.resolve_tcp(seen(own_namespace), CLIENT)
    assert ends is not None
    assert ends.ports[1].tolist() == [8080]
    assert translation.status()["signal.translations.conntrack"] == 1


def test_what_a_dump_could_not_tell_is_asked_for_again(
    translation: AddressTranslation,
    own_namespace: OwnNamespace,
    opener: ConntrackOpener,
) -> None:
    own_namespace.translate()
    for _ in range(9):
        translation.look()
    os.kill(opener.pid, signal.SIGSTOP)
    own_namespace.connect()
    translation.look()  # the tenth has a dump
    assert translation.status()["translations.connections"] == 0
    os.kill(opener.pid, signal.SIGCONT)
    translation.look()
    assert translation.status()["translations.connections"] == 1


def test_program_that_ended_is_started_again_and_that_is_said(
    translation: AddressTranslation,
    own_namespace: OwnNamespace,
    opener: ConntrackOpener,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_namespace.translate()
    os.kill(opener.pid, signal.SIGKILL)
    for _ in range(3):
        translation.look()
        translation.listen()
    assert translation.resolve_tcp(tcp_records({}), CLIENT) is None
    assert translation.status()["translations.namespaces"] == 1
    assert translation.status()["lost.conntrack_unreachable"] == 1
    assert translation.status()["signal.translations.conntrack"] == 1
    assert caplog.text.count("cannot be looked at") == 1
    assert caplog.text.count("was started again") == 1


def test_program_that_would_have_other_rights_is_not_started_again(
    opener: ConntrackOpener,
    own_namespace: OwnNamespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "own").symlink_to(own_namespace.file)
    (tmp_path / "proc").mkdir()
    namespaces = NetworkNamespaces(10, None, tmp_path / "proc", tmp_path)
    translation = AddressTranslation(
        opener, namespaces, TranslationOptions(), time.monotonic_ns, "other"
    )
    opener.check("/proc/self/ns/net", 0)
    os.kill(opener.pid, signal.SIGKILL)
    for _ in range(3):
        translation.look()
    assert translation.status()["lost.conntrack_unreachable"] >= 3
    assert translation.status()["signal.translations.conntrack"] == 0
    assert caplog.text.count("restart the collector") == 1
    translation.close()
