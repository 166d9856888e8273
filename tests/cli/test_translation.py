"""What follows address translation, as the settings say."""

import os
from pathlib import Path

import pytest
from tests.collectors.kernel.own_namespace import OwnNamespace

from ebpf_net.cli.translation import translation_signals, watched_translation
from ebpf_net.settings import Settings


def test_disabled_it_starts_nothing_and_has_no_signal() -> None:
    settings = Settings(disable_address_translation=True)
    with watched_translation(settings) as (translation, signals):
        assert translation is None
        assert signals == ()


def test_with_rights_it_looks_into_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with watched_translation(Settings()) as (translation, signals):
        assert translation is not None
        translation.look()
        assert translation.status()["lost.namespaces_limit"] == 0
    assert [signal.attach for signal in signals] == ["conntrack/netlink"]


def test_limits_are_the_settings() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    settings = Settings(max_network_namespaces=0, max_translated_connections=1000)
    with watched_translation(settings) as (translation, _):
        assert translation is not None
        translation.look()
        assert translation.status()["lost.namespaces_limit"] > 0
        assert translation.status()["translations.connections"] == 0


@pytest.mark.parametrize("only_wanted", [False, True])
def test_a_cgroup_filter_hides_no_namespace_unless_asked(only_wanted: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    settings = Settings(
        include_cgroup=("/none",),
        disable_other_namespaces=only_wanted,
        max_network_namespaces=0,
    )
    with watched_translation(settings) as (translation, _):
        assert translation is not None
        translation.look()
        left_out = translation.status()["lost.namespaces_limit"]
    assert (left_out == 0) == only_wanted


def test_trying_it_says_the_same() -> None:
    assert [signal.name for signal in translation_signals(Settings())] == [
        "translations"
    ]


def open_sockets() -> set[str]:
    """Return the sockets that this process has open."""
    files = Path("/proc/self/fd").iterdir()
    return {os.readlink(file) for file in files if file.is_socket()}


def fail_with(settings: Settings) -> None:
    with watched_translation(settings) as (translation, _):
        assert translation is not None
        translation.look()
        assert translation.is_listening
        raise KeyboardInterrupt


def test_a_body_that_fails_leaves_no_socket_open() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    namespace = OwnNamespace()
    try:
        namespace.translate()
        before = open_sockets()
        with pytest.raises(KeyboardInterrupt):
            fail_with(Settings())
        assert open_sockets() == before
    finally:
        namespace.close()
