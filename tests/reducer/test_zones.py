from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from ebpf_net.reducer.rows import make_rows
from ebpf_net.reducer.zones import EndPlaces, region_of_zone
from ebpf_net.schema import ZoneRelation
from ebpf_net.testing.tables import client_row, make_table
from ebpf_net.testing.windows import make_level

End = Mapping[str, str]
ZONE, PROVIDER, KIND = "availability_zone", "cloud.provider", "resolution_type"


def places_of(*ends: End) -> EndPlaces:
    return EndPlaces(make_level([{KIND: "PROCESS", **end} for end in ends], []).nodes)


def relation(one: End, other: End, *, internet: bool = False) -> str:
    ends = np.array([0, 1])
    related = places_of(one, other).relate(ends, ends[::-1], np.full(2, internet))
    there, back = (ZoneRelation(number).name.lower() for number in related)
    assert there == back
    return there


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({ZONE: "a"}, {ZONE: "a"}, "same_zone"),
        ({ZONE: "a"}, {ZONE: "b"}, "cross_zone"),
        ({ZONE: "a"}, {}, "unknown"),
        ({ZONE: "(unknown)"}, {ZONE: "(unknown)"}, "unknown"),
        ({ZONE: "a", "region": "r"}, {ZONE: "b", "region": "s"}, "cross_region"),
        ({ZONE: "a", "region": "r"}, {ZONE: "a", "region": "s"}, "cross_region"),
        ({ZONE: "a", "region": "r"}, {ZONE: "b", "region": "r"}, "cross_zone"),
        ({"region": "r"}, {"region": "s"}, "cross_region"),
        ({"region": "r"}, {"region": "r"}, "unknown"),
        ({ZONE: "us-east-1a"}, {ZONE: "us-east-1b"}, "cross_zone"),
        ({ZONE: "us-east-1a"}, {ZONE: "us-east-2a"}, "cross_region"),
        ({ZONE: "us-east-1a"}, {ZONE: "x", "region": "us-east-1"}, "cross_zone"),
        ({ZONE: "1", PROVIDER: "aws"}, {ZONE: "1", PROVIDER: "gcp"}, "cross_region"),
        ({ZONE: "Example Net", KIND: "IP"}, {ZONE: "a"}, "unknown"),
        ({ZONE: "Example Net", KIND: "NETWORK"}, {ZONE: "a"}, "unknown"),
        ({ZONE: "b", KIND: "IP", PROVIDER: "aws"}, {ZONE: "a"}, "cross_zone"),
        (
            {ZONE: "us-east-1a", "cloud.zone.id": "use1-az1"},
            {ZONE: "us-east-1b", "cloud.zone.id": "use1-az1"},
            "same_zone",
        ),
    ],
)
def test_where_two_ends_are(one: End, other: End, expected: str) -> None:
    assert relation(one, other) == expected


def test_internet_wins_over_what_zones_say() -> None:
    assert relation({ZONE: "a"}, {ZONE: "a"}, internet=True) == "internet"


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("us-east-1a", "us-east-1"),
        ("us-gov-west-1b", "us-gov-west-1"),
        ("ap-southeast-2c", "ap-southeast-2"),
        ("us-west-2-lax-1a", "us-west-2"),
        ("us-east-1-wl1-bos-wlz-1", ""),
        ("europe-west4-b", "europe-west4"),
        ("us-central1-f", "us-central1"),
        ("westeurope-2", "westeurope"),
        ("eastus2-1", "eastus2"),
        ("southeastasia-3", "southeastasia"),
        ("rack7", ""),
        ("rack-1", ""),
        ("dc-hall-1a", ""),
        ("berlin-room1-a", ""),
        ("", ""),
        ("(unknown)", ""),
    ],
)
def test_zones_of_clouds_tell_their_region(zone: str, region: str) -> None:
    assert region_of_zone(zone) == region


def internet(peers: Sequence[str], **peer: str) -> list[bool]:
    """Tell of which addresses one end, as it has been named, is on the internet."""
    edges = [client_row("10.0.0.1", address, 80) for address in peers]
    rows = make_rows(
        make_table("edges", edges), make_table("edge_samples", []), source=1, boot=1
    )
    places = places_of({}, peer)
    return places.internet(rows, np.ones(len(peers), np.int32)).tolist()


def test_public_addresses_of_nobody_are_the_internet() -> None:
    addresses = ["8.8.8.8", "10.0.0.2", "203.0.113.9", "2001:db8::1", "fd00::1", "::"]
    assert internet(addresses, **{KIND: "IP"}) == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "peer",
    [
        {KIND: "NETWORK"},
        {KIND: "PROCESS"},
        {KIND: "K8S_NODE"},
        {KIND: "IP", PROVIDER: "aws"},
    ],
)
def test_public_addresses_of_somebody_are_not(peer: End) -> None:
    assert internet(["8.8.8.8"], **peer) == [False]


def test_zones_are_known_only_of_ends_that_have_one() -> None:
    assert not places_of({}, {ZONE: "(unknown)"}).knows_zones
    assert not places_of({ZONE: "Example Net", KIND: "IP"}).knows_zones
    assert places_of({}, {ZONE: "a"}).knows_zones
