"""Matching and aggregation against a reference in plain Python, row by row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.circumstances import Circumstances, Moment
from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.matching import count_gaps, match
from ebpf_net.reducer.memory import Memory
from ebpf_net.reducer.pipeline import Reducer, ReducerOptions
from ebpf_net.reducer.rows import Rows, Verdict, concat_rows, make_rows
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    Row,
    client_row,
    make_batch,
    make_header,
    make_table,
    server_row,
)

NO_SAMPLES = make_table("edge_samples", [])


def rows_of(host: str, *rows: Row, boot: str = "") -> Rows:
    return make_rows(
        make_table("edges", rows), NO_SAMPLES, text_key(host), text_key(boot or host)
    )


def not_held(rows: Rows) -> np.ndarray:
    return np.zeros(len(rows), np.bool_)


def test_peers_are_each_others_rows():
    rows = concat_rows(
        [
            rows_of("a", client_row("10.0.0.1", "10.0.0.2", 80)),
            rows_of("b", server_row("10.0.0.1", "10.0.0.2", 80)),
            rows_of("b", server_row("10.0.0.9", "10.0.0.2", 80)),
        ]
    )
    matched, learned, _ = match(
        rows, not_held(rows), Memory(), Circumstances(1, Moment.ON_TIME)
    )
    assert matched.peer.tolist() == [1, 0, -1]
    assert matched.volume.tolist() == [True, False, True]
    assert matched.held.tolist() == [False, False, True]
    assert len(learned.clients) == 1
    assert len(learned.stood_in) == 0
    assert len(learned.endpoints) == 1


def test_ends_of_a_link_local_edge_may_be_in_two_namespaces():
    ends = ("fe80::1", "fe80::2", 80)
    rows = concat_rows(
        [
            rows_of("a", client_row(*ends, netns=1), server_row(*ends, netns=2)),
            rows_of("b", server_row(*ends, netns=2)),
        ]
    )
    matched, _, _ = match(
        rows, not_held(rows), Memory(), Circumstances(1, Moment.ON_TIME)
    )
    assert matched.peer.tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.OPEN, Verdict.OPEN), (1, 0)),
        ((Verdict.COUNTS, Verdict.LEFT_OUT), (0, 1)),
        ((Verdict.LEFT_OUT, Verdict.COUNTS), (1, 0)),
    ],
)
def test_a_gap_is_covered_only_if_the_other_end_may_decide(verdicts, expected):
    rows = concat_rows(
        [
            rows_of("a", client_row("10.0.0.1", "10.0.0.2", 80)),
            rows_of("b", server_row("10.0.0.1", "10.0.0.2", 80)),
        ]
    )
    index = rows.edges.schema.get_field_index("verdict")
    told = pa.array(verdicts, pa.int8())
    rows = replace(rows, edges=rows.edges.set_column(index, "verdict", told))
    now = Circumstances(
        1,
        Moment.ON_TIME,
        restarted=frozenset([text_key("a")]),
        whole=frozenset([text_key("b")]),
    )
    matched, _, _ = match(rows, not_held(rows), Memory(), now)
    assert count_gaps(rows, matched, now) == expected


# -- the reference ----------------------------------------------------------------

HOSTS = ("a", "b", "c")
BOOTS = {"a": "boot-1", "b": "boot-2", "c": "boot-2"}
ADDRESSES = ("10.0.0.1", "10.0.0.2", "127.0.0.1", "172.17.0.2")
VALUES = (
    "bytes_sent", "bytes_received", "packets_sent", "retransmits", "resets_sent",
    "resets_received", "syn_timeouts", "opened", "closed", "open", "drops",
    "connect_failures", "rtt_count", "rtt_sum_us", "rtt_min_us", "rtt_max_us",
)  # fmt: skip
MEASURES = (
    "bytes", "packets", "retransmits", "resets", "syn_timeouts", "opened", "closed",
    "open", "drops", "connect_failures", "rtt_count", "rtt_sum_us",
)  # fmt: skip


@st.composite
def described_rows(draw: st.DrawFn) -> tuple[str, bool, dict]:
    """A host, whether it is a client's row, and the row."""
    is_client = draw(st.booleans())
    make = client_row if is_client else server_row
    values = {name: draw(st.integers(0, 3)) for name in VALUES}
    row = make(
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from((53, 80))),
        netns=draw(st.integers(1, 2)),
        process_id=draw(st.integers(1, 2)),
        protocol=draw(st.sampled_from((6, 17))),
        **values,
    )
    return draw(st.sampled_from(HOSTS)), is_client, dict(row)


def without_repetition(
    described: Sequence[tuple[str, bool, dict]],
) -> list[tuple[str, bool, dict]]:
    names = (
        "local_address_low", "remote_address_low", "netns", "process_id", "protocol",
        "role", "local_port", "remote_port",
    )  # fmt: skip
    distinct = {}
    for host, is_client, row in described:
        key = (host, *(row.get(name, 0) for name in names))
        distinct.setdefault(key, (host, is_client, row))
    return list(distinct.values())


def edge_key(is_client: bool, row: Mapping[str, int]) -> tuple:
    local, remote = row["local_address_low"], row["remote_address_low"]
    client, server = (local, remote) if is_client else (remote, local)
    port = row["remote_port"] if is_client else row["local_port"]
    return client, server, port, row["protocol"]


def is_loopback(low: int) -> bool:
    return low >> 24 & 0xFF == 127


def near_key(host: str, is_client: bool, row: Mapping[str, int]) -> tuple:
    key = edge_key(is_client, row)
    if is_loopback(key[0]) or is_loopback(key[1]):
        return (*key, BOOTS[host], row["netns"])
    return (*key, BOOTS[host])


def far_key(host: str, is_client: bool, row: Mapping[str, int]) -> tuple:
    key = edge_key(is_client, row)
    loopback = is_loopback(key[0]) or is_loopback(key[1])
    return near_key(host, is_client, row) if loopback else key


def expected_totals(described: Sequence[tuple[str, bool, dict]]) -> Counter:
    """Totals by protocol, direction from the client and measure, of all edges."""
    by_near: dict = defaultdict(lambda: ([], []))
    for host, is_client, row in described:
        by_near[near_key(host, is_client, row)][not is_client].append(
            (host, is_client, row)
        )
    edges, left = [], defaultdict(lambda: ([], []))
    for clients, servers in by_near.values():
        if clients and servers:
            edges.append((clients, servers))
            continue
        for one in clients + servers:
            left[far_key(*one)][not one[1]].extend([one])
    edges += left.values()
    endpoints = {
        key[1:]
        for one in described
        if not one[1]
        for key in (near_key(*one), far_key(*one))
    }
    totals: Counter = Counter()
    for clients, servers in edges:
        for one in clients:
            is_known = {near_key(*one)[1:], far_key(*one)[1:]} & endpoints
            count_row(totals, one, bool(servers or is_known), True)
        for one in servers:
            count_row(totals, one, bool(clients), not clients)
    return +totals


def count_row(
    totals: Counter, one: tuple[str, bool, dict], other_reports: bool, volume: bool
) -> None:
    _, is_client, row = one
    protocol = row["protocol"]
    there, back = ("to", "from") if is_client else ("from", "to")
    facts = [
        (there, "retransmits", "retransmits"),
        (there, "syn_timeouts", "syn_timeouts"),
        (there, "rtt_count", "rtt_count"),
        (there, "rtt_sum_us", "rtt_sum_us"),
        (there, "resets", "resets_sent"),
        (back, "drops", "drops"),
    ]
    if not other_reports:
        facts.append((back, "resets", "resets_received"))
    if is_client or volume:
        facts.append(("to", "connect_failures", "connect_failures"))
    if volume:
        facts += [
            (there, "bytes", "bytes_sent"),
            (back, "bytes", "bytes_received"),
            (there, "packets", "packets_sent"),
        ]
        for name in ("opened", "closed", "open"):
            facts += [(there, name, name), (back, name, name)]
    for way, measure, name in facts:
        totals[protocol, way, measure] += row[name]


def actual_totals(described: Sequence[tuple[str, bool, dict]]) -> Counter:
    """Totals by protocol and measure from the reducer."""
    reducer = Reducer(ReducerOptions())
    end = START_NS + WINDOW_NS
    for host in HOSTS:
        edges = [row for name, _, row in described if name == host]
        batch = make_batch(
            edges,
            tables={"hosts": [{"host_id": host, "boot_id": BOOTS[host]}]},
            header=make_header(collector=host),
        )
        reducer.add(batch, end, end)
    closed = reducer.close_windows(end + 10 * WINDOW_NS)
    reducer.close()
    totals: Counter = Counter()
    for one in closed:
        for edge in one.window.levels["az_az"].edges.to_pylist():
            for name in MEASURES:
                totals[edge["protocol"], name] += edge[name]
    return +totals


@settings(deadline=None, max_examples=100)
@given(st.lists(described_rows(), max_size=12))
def test_totals_are_those_of_the_reference(described):
    described = without_repetition(described)
    expected: Counter = Counter()
    for (protocol, _, measure), value in expected_totals(described).items():
        expected[protocol, measure] += value
    assert actual_totals(described) == expected
