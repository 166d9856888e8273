"""Instances that see each other's public addresses, through the whole reducer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.testing.clouds import instance_address_row, instance_row
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    Row,
    client_row,
    make_batch,
    make_header,
    server_row,
    translation_row,
)

PRIVATE_A, PRIVATE_B = "10.0.0.1", "10.0.0.2"
PUBLIC_A, PUBLIC_B, PUBLIC_C = "198.51.100.1", "198.51.100.2", "198.51.100.3"
OUTSIDE = "192.0.2.1"
CONTAINER = "172.17.0.2"

Addresses = Sequence[tuple[str, str, str]]
Told = Mapping[str, tuple[Sequence[Row], Sequence[Row]]]
A_IS = (PRIVATE_A, "vpc-a", PUBLIC_A)
B_IS = (PRIVATE_B, "vpc-b", PUBLIC_B)

SENT = client_row(PRIVATE_A, PUBLIC_B, 80, bytes_sent=10, opened=1)
GOT = server_row(PUBLIC_A, PRIVATE_B, 80, bytes_received=10, opened=1)


def about(host: str, addresses: Addresses) -> dict[str, list[Row]]:
    made = {"hosts": [{"host_id": host, "boot_id": f"boot-{host}", "zone": host}]}
    if addresses:
        made["cloud_instances"] = [instance_row(f"i-{host}")]
        made["cloud_instance_addresses"] = [
            instance_address_row(private, network, public, f"eni-{number}")
            for number, (private, network, public) in enumerate(addresses)
        ]
    return made


def reduced(
    hosts: Mapping[str, Addresses],
    windows: Sequence[Told],
    order: Sequence[str] = (),
    told_in: int = 0,
) -> Counter:
    """Sums of bytes and opened by the zones of hosts; of others by their address.

    ``windows`` have rows and translations by host; clouds are told of in ``told_in``.
    """
    reducer, found = Reducer(ReducerOptions(levels=("id_id",))), Counter()
    for window in range(len(windows) + 3):
        end = START_NS + (window + 1) * WINDOW_NS
        told = windows[window] if window < len(windows) else {}
        for host in order or hosts:
            rows, translations = told.get(host, ((), ()))
            tables = about(host, hosts[host] if window >= told_in else ())
            batch = make_batch(
                rows,
                tables={**tables, "translations": translations},
                header=make_header(window, collector=host),
            )
            reducer.add(batch, end, end)
        for closed in reducer.close_windows(end + WINDOW_NS // 2):
            level = closed.window.levels["id_id"]
            nodes = level.nodes.to_pylist()
            for edge in level.edges.to_pylist():
                ends = tuple(
                    name(nodes[edge[side]], hosts) for side in ("source", "dest")
                )
                found[ends, "bytes"] += edge["bytes"]
                found[ends, "opened"] += edge["opened"]
    reducer.close()
    return Counter({key: count for key, count in found.items() if count})


def name(node: Mapping[str, str], hosts: Mapping[str, Addresses]) -> str:
    zone = node["availability_zone"]
    return f"{zone} {node['ip']}" if zone in hosts else node["ip"]


HOSTS = {"a": [A_IS], "b": [B_IS]}
FROM_A, FROM_B = (
    (f"a {PRIVATE_A}", f"b {PRIVATE_B}"),
    (f"b {PRIVATE_B}", f"a {PRIVATE_A}"),
)
ONE_EDGE = {(FROM_A, "bytes"): 10, (FROM_A, "opened"): 1, (FROM_B, "opened"): 1}


def test_both_rows_of_public_traffic_are_one_edge():
    assert reduced(HOSTS, [{"a": ([SENT], ()), "b": ([GOT], ())}]) == ONE_EDGE


@pytest.mark.parametrize(
    "windows",
    [
        [{"b": ([GOT], ())}, {"a": ([SENT], ())}],
        [{"a": ([SENT], ())}, {"b": ([GOT], ())}],
    ],
    ids=["held", "remembered"],
)
def test_rows_of_different_windows_meet_too(windows):
    found = reduced(HOSTS, windows)
    assert sum(count for (_, what), count in found.items() if what == "bytes") == 10


def test_addresses_that_are_told_later_join_what_was_held():
    windows = [{"b": ([GOT], ())}, {"a": ([SENT], ())}]
    assert sum(reduced(HOSTS, windows, told_in=1).values()) == 12


def test_without_metadata_each_end_stands_alone():
    found = reduced({"a": [], "b": []}, [{"a": ([SENT], ()), "b": ([GOT], ())}])
    assert found[(f"a {PRIVATE_A}", PUBLIC_B), "bytes"] == 10
    assert found[(PUBLIC_A, f"b {PRIVATE_B}"), "bytes"] == 10


def test_server_that_has_no_row_is_known_by_its_public_address():
    windows = [{"b": ([GOT], ()), "a": ([SENT], ())}, {"a": ([SENT], ())}]
    assert reduced(HOSTS, windows)[FROM_A, "bytes"] == 20


@settings(deadline=None, max_examples=25)
@given(
    order=st.permutations(["a", "b", "c", "d"]),
    sizes=st.lists(st.integers(0, 50), min_size=4, max_size=4),
)
def test_two_vpcs_with_equal_private_addresses_do_not_mix(order, sizes):
    """A and C have one private address, and so have B and D."""
    public_c, public_d = PUBLIC_C, "198.51.100.4"
    hosts = {
        "a": [(PRIVATE_A, "vpc-1", PUBLIC_A)],
        "b": [(PRIVATE_B, "vpc-1", PUBLIC_B)],
        "c": [(PRIVATE_A, "vpc-2", public_c)],
        "d": [(PRIVATE_B, "vpc-2", public_d)],
    }
    by_name = {"a": (PRIVATE_A, PUBLIC_A), "c": (PRIVATE_A, public_c)}
    servers = {"b": (PRIVATE_B, PUBLIC_B), "d": (PRIVATE_B, public_d)}
    pairs = [(client, server) for client in by_name for server in servers]
    rows: dict[str, list[Row]] = {host: [] for host in hosts}
    expected = Counter()
    for (client, server), size in zip(pairs, sizes, strict=True):
        private, public = by_name[client]
        own, seen = servers[server]
        count = {"bytes_sent": size, "opened": 1}
        rows[client].append(client_row(private, seen, 80, **count))
        rows[server].append(server_row(public, own, 80, bytes_received=size, opened=1))
        ends = (f"{client} {private}", f"{server} {own}")
        expected[ends, "bytes"] += size
        expected[ends, "opened"] += 1
        expected[ends[::-1], "opened"] += 1
    # Inside a VPC, too: the same four addresses in each.
    for client, server, size in (("a", "b", 1000), ("c", "d", 2000)):
        rows[client].append(client_row(PRIVATE_A, PRIVATE_B, 80, bytes_sent=size))
        rows[server].append(server_row(PRIVATE_A, PRIVATE_B, 80, bytes_received=size))
        expected[(f"{client} {PRIVATE_A}", f"{server} {PRIVATE_B}"), "bytes"] += size
    told = {host: (own, ()) for host, own in rows.items()}
    assert reduced(hosts, [told], order) == +expected


@pytest.mark.parametrize("windows", [1, 2])
def test_address_of_two_vpcs_meets_a_server_in_a_third(windows):
    third = "10.5.0.1"
    hosts = {
        "a": [(PRIVATE_A, "vpc-1", "")],
        "c": [(PRIVATE_A, "vpc-2", "")],
        "s": [(third, "vpc-3", "")],
    }
    sent = client_row(PRIVATE_A, third, 80, bytes_sent=5)
    got = server_row(PRIVATE_A, third, 80, bytes_received=5)
    told = {"a": ([sent], ()), "s": ([got], ())}
    expected = {((f"a {PRIVATE_A}", f"s {third}"), "bytes"): 5 * windows}
    assert reduced(hosts, [told] * windows) == expected


def test_outsider_with_a_way_of_its_own_is_one_edge():
    """A public address that talks to the private one, not through the internet."""
    hosts = {"x": [], "b": [B_IS]}
    sent = client_row(OUTSIDE, PRIVATE_B, 80, bytes_sent=5)
    got = server_row(OUTSIDE, PRIVATE_B, 80, bytes_received=5)
    expected = {((f"x {OUTSIDE}", f"b {PRIVATE_B}"), "bytes"): 5}
    assert reduced(hosts, [{"x": ([sent], ()), "b": ([got], ())}]) == expected
    windows = [{"x": ([sent], ()), "b": ([got], ())}, {"b": ([got], ())}]
    assert reduced(hosts, windows) == expected


def test_container_of_an_instance_is_seen_by_its_hosts_public_address():
    outgoing = translation_row(CONTAINER, (PUBLIC_B, 80), PRIVATE_A, (PUBLIC_B, 80))
    sent = client_row(
        CONTAINER,
        PUBLIC_B,
        80,
        bytes_sent=10,
        translation_id=outgoing["translation_id"],
    )
    found = reduced(HOSTS, [{"a": ([sent], [outgoing]), "b": ([GOT], ())}])
    assert found == {((f"a {CONTAINER}", f"b {PRIVATE_B}"), "bytes"): 10}


def test_container_behind_a_public_address_is_found_by_its_hosts_translation():
    incoming = translation_row(PUBLIC_A, (PRIVATE_B, 80), PUBLIC_A, (CONTAINER, 8080))
    got = server_row(
        PUBLIC_A,
        CONTAINER,
        8080,
        bytes_received=10,
        translation_id=incoming["translation_id"],
    )
    found = reduced(HOSTS, [{"a": ([SENT], ()), "b": ([got], [incoming])}])
    ends = (f"a {PRIVATE_A}", f"b {CONTAINER}")
    assert (found[ends, "bytes"], found[ends, "opened"]) == (10, 1)
    assert sum(found.values()) == 10 + 2
