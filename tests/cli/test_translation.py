"""What follows address translation, as the settings say."""

import os

import pytest

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


def test_trying_it_says_the_same() -> None:
    assert [signal.name for signal in translation_signals(Settings())] == [
        "translations"
    ]
