"""Builds what follows address translation, for the collector and for preflight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kernel.address_translation import (
    AddressTranslation,
    TranslationOptions,
)
from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.conntrack_opener import ConntrackOpener
from ebpf_net.collectors.kernel.network_namespaces import NetworkNamespaces
from ebpf_net.collectors.kernel.probes import Signal
from ebpf_net.collectors.kernel.translation_signal import (
    missing_translations,
    try_translations,
)
from ebpf_net.settings import Settings


@contextmanager
def watched_translation(
    settings: Settings,
) -> Iterator[tuple[AddressTranslation | None, tuple[Signal, ...]]]:
    """Yield what follows translations, None if nothing does, and its signal.

    Enter it before rights are given up: the program that it starts keeps some.
    """
    if settings.disable_address_translation:
        yield None, ()
        return
    try:
        opener = ConntrackOpener()
    except OSError as error:
        yield None, (missing_translations(error),)
        return
    try:
        signal = try_translations(opener)
        translation = (
            _translation(settings, opener, signal.attach) if signal.attach else None
        )
        try:
            yield translation, (signal,)
        finally:
            if translation is not None:
                translation.close()
    finally:
        opener.close()


def translation_signals(settings: Settings) -> tuple[Signal, ...]:
    """Try it, and leave nothing behind."""
    with watched_translation(settings) as (_, signals):
        return signals


def _translation(
    settings: Settings, opener: ConntrackOpener, attach: str
) -> AddressTranslation:
    wanted = CgroupFilter(settings.include_cgroup, settings.exclude_cgroup)
    root = settings.host_dir or Path("/")
    namespaces = NetworkNamespaces(
        settings.max_network_namespaces,
        wanted.admits if wanted.is_active else None,
        named=root / "run/netns",
        only_wanted=settings.disable_other_namespaces,
    )
    options = TranslationOptions(
        max_connections=1 << (settings.max_translated_connections - 1).bit_length(),
        max_translations=settings.max_translations,
        buffer_bytes=settings.conntrack_buffer_bytes,
    )
    clock = SystemClock()
    return AddressTranslation(opener, namespaces, options, clock.monotonic_ns, attach)
