from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.costs import Tolls, Traffic
from ebpf_net.reducer.prices import parse_prices
from ebpf_net.schema import Derived, ZoneRelation
from ebpf_net.testing.windows import make_level

ZONE = "availability_zone"
HERE: Mapping[str, str] = {ZONE: "us-east-1a", "cloud.provider": "aws"}
NEAR: Mapping[str, str] = {ZONE: "us-east-1b", "cloud.provider": "aws"}
FAR: Mapping[str, str] = {ZONE: "eu-west-1a", "cloud.provider": "aws"}
OFFICE: Mapping[str, str] = {"resolution_type": "NETWORK", "workload.name": "office"}
PLACES: Mapping[str, str] = {}
NODES = make_level(
    [{"resolution_type": "PROCESS", **end} for end in (HERE, NEAR, FAR, OFFICE)], []
).nodes
INTERNET = 4
"""A node that is nothing but a public address."""
ALL_NODES = make_level(
    [
        *NODES.to_pylist(),
        {"resolution_type": "IP", ZONE: "(unknown)"},
    ],
    [],
).nodes

Sent = tuple[int, int, int]
Key = tuple[int, int, str]


def traffic_of(sent: Sequence[Sent]) -> Traffic:
    """Source, dest and bytes; the protocol is always TCP."""
    source, dest, volume = np.array(sent, np.int64).reshape(-1, 3).T
    return Traffic(
        source,
        dest,
        np.full(len(source), 6),
        volume,
        source == INTERNET,
        dest == INTERNET,
    )


def tolls_of(rules: str, unit: str = "GB") -> Tolls:
    tolls = Tolls()
    tolls.use(parse_prices(f"currency: USD\nunit: {unit}\n{rules}"))
    return tolls


def count(
    tolls: Tolls, *sent: Sent, kind: Derived = Derived.ZONE_COST
) -> dict[Key, int]:
    places = tolls.places(ALL_NODES)
    assert places
    return {
        (source, dest, ZoneRelation(bucket).name.lower()): number
        for columns in tolls.samples(traffic_of(sent), ALL_NODES, places)
        for source, dest, one, bucket, number in zip(
            *(
                columns[name].tolist()
                for name in ("source", "dest", "kind", "bucket", "count")
            ),
            strict=True,
        )
        if one == kind
    }


def test_bytes_are_told_by_where_they_go() -> None:
    sent = [(0, 0, 1), (0, 1, 2), (2, 0, 3), (0, 4, 4), (4, 0, 5), (0, 3, 6), (1, 0, 0)]
    assert count(Tolls(), *sent, kind=Derived.ZONE_BYTES) == {
        (0, 0, "same_zone"): 1,
        (0, 1, "cross_zone"): 2,
        (2, 0, "cross_region"): 3,
        (0, 4, "internet"): 4,
        (4, 0, "internet"): 5,
        (0, 3, "unknown"): 6,
    }


def test_without_prices_there_is_no_cost() -> None:
    assert count(Tolls(), (0, 1, 1000)) == {}


def test_both_sides_pay_where_rules_say_so() -> None:
    tolls = tolls_of(
        "egress:\n - {relation: cross_zone, price: 0.01}\n"
        "ingress:\n - {relation: cross_zone, dest: {provider: aws}, price: 0.02}\n"
    )
    assert count(tolls, (0, 1, 7), (0, 0, 7)) == {(0, 1, "cross_zone"): 7 * 30}


def test_an_end_on_the_internet_never_pays() -> None:
    tolls = tolls_of("egress: [{price: 0.09}]\ningress: [{price: 0.01}]\n")
    assert count(tolls, (0, INTERNET, 10), (INTERNET, 0, 10)) == {
        (0, INTERNET, "internet"): 900,
        (INTERNET, 0, "internet"): 100,
    }


def test_first_rule_that_fits_counts() -> None:
    tolls = tolls_of(
        "egress:\n"
        " - {source: {region: eu-*}, dest: {region: us-east-1}, price: 0.02}\n"
        " - {source: {region: eu-*}, price: 0.05}\n"
        " - {relation: [cross_zone, cross_region], price: 0}\n"
        " - {price: 0.5}\n"
    )
    assert count(tolls, (2, 0, 1), (2, 3, 1), (0, 1, 1), (0, 2, 1), (0, 0, 1)) == {
        (2, 0, "cross_region"): 20,
        (2, 3, "unknown"): 50,
        (0, 0, "same_zone"): 500,
    }


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ("network: office", True),
        ("network: 'off?ce'", True),
        ("network: [home, office]", True),
        ("network: home", False),
        ("network: OFFICE", False),
        ("region: '*'", False),
        ("provider: '*'", False),
        ("network: office, region: '*'", False),
    ],
)
def test_conditions_are_of_what_is_known(conditions: str, fits: bool) -> None:
    tolls = tolls_of(f"egress: [{{dest: {{{conditions}}}, price: 1}}]\n")
    assert bool(count(tolls, (0, 3, 1))) is fits


def test_workloads_with_the_name_of_a_network_are_none() -> None:
    tolls = tolls_of("egress: [{dest: {network: office}, price: 1}]\n")
    nodes = make_level([HERE, {**NEAR, "workload.name": "office"}], []).nodes
    places = tolls.places(nodes)
    assert places
    _, costs = tolls.samples(traffic_of([(0, 1, 5)]), nodes, places)
    assert len(costs["count"]) == 0


def test_zone_is_its_name_or_its_id() -> None:
    nodes = make_level([HERE, {**NEAR, "cloud.zone.id": "use1-az6"}], []).nodes
    for pattern in ("us-east-1b", "use1-az6"):
        tolls = tolls_of(f"egress: [{{dest: {{zone: {pattern}}}, price: 1}}]\n")
        places = tolls.places(nodes)
        assert places
        _, costs = tolls.samples(traffic_of([(0, 1, 5)]), nodes, places)
        assert costs["count"].tolist() == [5000]


@given(
    price=st.decimals(0, 100, places=6),
    unit=st.sampled_from([("GB", 10**9), ("GiB", 2**30)]),
    windows=st.lists(
        st.lists(st.integers(0, 10**12), max_size=4), min_size=1, max_size=4
    ),
)
def test_sum_over_edges_and_windows_is_exact(price, unit, windows) -> None:
    name, size = unit
    tolls = tolls_of(f"egress: [{{price: {price:f}}}]\n", name)
    ends = [(0, 0), (0, 1), (1, 2), (2, 0)]
    rate = Fraction(price) * 10**12 / size
    total, volume = 0, 0
    for window in windows:
        sent = [(*ends[at], one) for at, one in enumerate(window)]
        costs = count(tolls, *sent)
        for source, dest, one in sent:
            told = sum(cost for key, cost in costs.items() if key[:2] == (source, dest))
            assert abs(told - one * rate) < 1
        total += sum(costs.values())
        volume += sum(window)
    assert total == volume * rate.numerator // rate.denominator


@pytest.mark.parametrize(("price", "unit"), [("100", "GB"), ("99.999999", "GiB")])
def test_absurd_volumes_end_at_a_bound(price: str, unit: str) -> None:
    rule = f"[{{price: {price}}}]"
    tolls = tolls_of(f"egress: {rule}\ningress: {rule}\n", unit)
    huge = (1 << 63) - 1
    for _ in range(2):
        assert count(tolls, (0, 1, huge), (0, 2, huge)) == {
            (0, 1, "cross_zone"): 10**17,
            (0, 2, "cross_region"): 10**17,
        }


def test_nothing_is_told_until_a_zone_is_known_and_then_always() -> None:
    tolls = Tolls()
    bare = make_level([{"resolution_type": "PROCESS"}], []).nodes
    assert tolls.places(bare) is None
    assert tolls.places(bare.slice(0, 0)) is None
    assert tolls.places(NODES)
    assert tolls.places(bare)
    assert tolls_of("").places(bare)


def test_currency_stays() -> None:
    tolls = tolls_of("")
    assert (tolls.currency, Tolls().currency) == ("USD", "")
    with pytest.raises(ValueError, match=r"is EUR now, and was USD.*restart"):
        tolls.use(parse_prices("currency: EUR\nunit: GB\n"))
    tolls.use(parse_prices("currency: USD\nunit: GiB\n"))
