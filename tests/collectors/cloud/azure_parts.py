"""An Azure on loopback as the poller sees it: the parts, and what they yield."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.world.azure_api import AzureWorld, azure_world

from ebpf_net.collectors.cloud.azure import make_providers
from ebpf_net.collectors.cloud.held import format_range, pack_ranges, split_ranges
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.providers import Part, Provider, ProviderOptions
from ebpf_net.collectors.cloud.records import Interface


@contextmanager
def azure_here(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AzureWorld]:
    """Run an Azure that the SDK finds by its variables."""
    monkeypatch.setenv("HOME", str(directory))
    with azure_world(directory) as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world
        assert world.strangers == []


def quick_pace(tries: int = 3) -> CallPace:
    options = PaceOptions(
        tries=tries, first_wait_seconds=0.001, longest_distance_seconds=0.01
    )
    return CallPace(CallCounter(), threading.Event(), options)


def provider(*scopes: str, **more: object) -> Provider:
    options = ProviderOptions(scopes=scopes, environment=dict(os.environ), **more)  # type: ignore[arg-type]
    (made,) = make_providers(options)
    return made


def parts(pace: CallPace, *scopes: str, **more: object) -> dict[str, Part]:
    """Return the parts of the first subscription by product."""
    found = list(provider(*scopes, **more).parts(pace))
    first = found[0].key.account
    return {one.key.region: one for one in found if one.key.account == first}


def fetch(part: Part, pace: CallPace) -> dict[str, Interface]:
    """Return what a part yields, by the last two names of its id."""
    pace.missing.clear()
    found = list(part.fetch(pace))
    by_name = {"/".join(one.interface_id.split("/")[-2:]): one for one in found}
    assert len(by_name) == len(found)
    return by_name


def texts(interface: Interface) -> list[str]:
    """Return addresses as people write them; public ones end with an asterisk."""
    packed = split_ranges(pack_ranges(interface.addresses))
    return [
        format_range(one) + ("*" if address.is_public else "")
        for one, address in zip(packed, interface.addresses, strict=True)
    ]
