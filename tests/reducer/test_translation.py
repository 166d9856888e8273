"""What a translation known elsewhere makes of the ends' rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.pipeline import Reducer
from ebpf_net.reducer.places import Ranges
from ebpf_net.reducer.rows import (
    Rows,
    Verdict,
    concat_rows,
    int64_column,
    make_rows,
    with_scopes,
)
from ebpf_net.reducer.translation import Translated, see_from_outside, translate
from ebpf_net.reducer.translation_table import Passages, Steps, Tellers
from ebpf_net.reducer.watched import Watched
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    client_row,
    make_batch,
    make_header,
    make_table,
    server_row,
    split_address,
    translation_row,
)

NO_SAMPLES = make_table("edge_samples", [])
CLIENT, OTHER_CLIENT = "10.0.0.1", "10.0.0.2"
VIRTUAL, GATEWAY = "10.96.0.1", "192.168.0.1"
SERVER, OTHER_SERVER = "10.1.0.1", "10.1.0.2"


def rows_of(host: str, *rows: dict) -> Rows:
    return make_rows(
        make_table("edges", rows), NO_SAMPLES, text_key(host), text_key(host)
    )


def table_of(host: str, *rows: dict) -> pa.Table:
    table = make_table("translations", rows)
    source = np.full(table.num_rows, text_key(host), np.int64)
    return table.append_column("source", pa.array(source))


def passage(rows: Rows, table: pa.Table, *more: Rows) -> Translated:
    """Translate rows; ``more`` are of a window before."""
    watched = Watched()
    hosts = frozenset(text_key(host) for host in "abcde")
    for number, one in enumerate((*more, rows)):
        watched.note(one, one.source, number, hosts)
    source = int64_column(table, "source")
    passages = Passages.of(Steps.of(table, Tellers(source), watched))
    return translate(see_from_outside(rows, table), passages, watched)


def verdicts(rows: Rows) -> list[int]:
    return rows.int64("verdict").tolist()


def destinations(rows: Rows) -> list[tuple[int, int]]:
    """Server's address and port of clients' rows."""
    return [
        (int(rows.addresses.server_low[place]), int(rows.server_port[place]))
        for place in np.flatnonzero(rows.is_client)
    ]


def low(address: str) -> int:
    return split_address(address)[1]


def paired(rows: Rows) -> list[tuple[int, int]]:
    """Places of clients' and servers' rows with one far key."""
    far = rows.keys.far
    return [
        (int(client), int(server))
        for client in np.flatnonzero(rows.is_client)
        for server in np.flatnonzero(~rows.is_client)
        if far[client] == far[server]
    ]


def test_without_translations_nothing_changes():
    rows = rows_of("a", client_row(CLIENT, VIRTUAL, 80))
    translated = passage(rows, table_of("c"))
    assert translated.rows.edges.equals(rows.edges)


def test_ends_meet_whose_addresses_were_both_translated_elsewhere():
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 80, bytes_sent=7)),
            rows_of("b", server_row(GATEWAY, SERVER, 8080)),
        ]
    )
    table = table_of(
        "c", translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    )
    translated = passage(rows, table)
    assert paired(rows) == []
    assert paired(translated.rows) == [(0, 1)]
    assert destinations(translated.rows) == [(low(SERVER), 8080)]
    assert translated.rows.int64("local_address_low").tolist()[0] == low(CLIENT)
    assert translated.rows.int64("remote_address_low").tolist()[1] == low(CLIENT)
    assert translated.rows.int64("bytes_sent").tolist() == [7, 0]
    assert all(translated.rows.int64("translation_id"))
    assert verdicts(translated.rows) == [Verdict.COUNTS, Verdict.LEFT_OUT]
    assert translated.unresolved == 0


def test_what_a_clients_own_host_has_translated_is_left_to_the_matching():
    known = translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    identity = known["translation_id"]
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, SERVER, 8080, translation_id=identity)),
            rows_of("b", server_row(GATEWAY, SERVER, 8080)),
        ]
    )
    translated = passage(rows, table_of("a", known))
    assert paired(translated.rows) == [(0, 1)]
    assert verdicts(translated.rows) == [Verdict.OPEN, Verdict.OPEN]


def test_what_the_servers_host_has_translated_meets_a_client_that_knows_nothing():
    known = translation_row(CLIENT, (VIRTUAL, 30080), GATEWAY, (SERVER, 8080))
    identity = known["translation_id"]
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 30080)),
            rows_of("b", server_row(CLIENT, SERVER, 8080, translation_id=identity)),
        ]
    )
    assert paired(passage(rows, table_of("b", known)).rows) == [(0, 1)]


def test_translations_one_after_the_other_are_followed():
    second = "192.168.1.1"
    table = table_of(
        "c",
        translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, ("10.96.0.2", 81)),
        translation_row(GATEWAY, ("10.96.0.2", 81), second, (SERVER, 8080)),
    )
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 80)),
            rows_of("b", server_row(second, SERVER, 8080)),
        ]
    )
    translated = passage(rows, table)
    assert destinations(translated.rows) == [(low(SERVER), 8080)]
    assert translated.rows.int64("remote_address_low").tolist()[1] == low(CLIENT)
    assert verdicts(translated.rows) == [Verdict.COUNTS, Verdict.LEFT_OUT]


def test_a_server_alone_learns_who_is_behind_the_address_it_sees():
    known = translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    rows = rows_of("b", server_row(GATEWAY, SERVER, 8080))
    translated = passage(rows, table_of("c", known))
    assert translated.rows.int64("remote_address_low").tolist() == [low(CLIENT)]
    assert translated.rows.int64("translation_id").tolist() == [known["translation_id"]]
    assert translated.rows.keys.far.tolist() == rows.keys.far.tolist()
    assert verdicts(translated.rows) == [Verdict.OPEN]  # its client's row may come
    once_more = passage(translated.rows, table_of("c", known))
    assert once_more.rows.edges.equals(translated.rows.edges)


BOTH_CLIENTS = tuple(
    translation_row(client, (SERVER, 80), GATEWAY, (SERVER, 80))
    for client in (CLIENT, OTHER_CLIENT)
)


def test_a_server_decides_where_one_of_the_clients_it_sees_is_not_watched():
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, SERVER, 80)),
            rows_of("b", server_row(GATEWAY, SERVER, 80)),
        ]
    )
    translated = passage(rows, table_of("c", *BOTH_CLIENTS))
    assert translated.rows.int64("remote_address_low")[1] == low(GATEWAY)
    assert verdicts(translated.rows) == [Verdict.LEFT_OUT, Verdict.COUNTS]
    assert translated.unresolved == 0


def test_a_client_that_is_idle_is_watched_all_the_same():
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, SERVER, 80)),
            rows_of("b", server_row(GATEWAY, SERVER, 80)),
        ]
    )
    before = rows_of("e", client_row(OTHER_CLIENT, "10.9.9.9", 22))
    translated = passage(rows, table_of("c", *BOTH_CLIENTS), before)
    assert verdicts(translated.rows) == [Verdict.COUNTS, Verdict.LEFT_OUT]


def test_a_direct_connection_beside_a_translated_one_is_of_the_same_client_row():
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, SERVER, 80)),
            rows_of(
                "b",
                server_row(CLIENT, SERVER, 80),
                server_row(GATEWAY, SERVER, 80),
            ),
        ]
    )
    translated = passage(rows, table_of("c", BOTH_CLIENTS[0]))
    counts = [one == Verdict.COUNTS for one in verdicts(translated.rows)]
    assert counts == [True, False, False, False]  # the last one only names


def test_protocol_and_port_tell_translations_apart():
    known = translation_row(CLIENT, (VIRTUAL, 53), CLIENT, (SERVER, 53), protocol=17)
    rows = rows_of(
        "a",
        client_row(CLIENT, VIRTUAL, 53),
        client_row(CLIENT, VIRTUAL, 53, protocol=17),
        client_row(CLIENT, VIRTUAL, 54, protocol=17),
    )
    translated = passage(rows, table_of("c", known))
    assert [one[0] for one in destinations(translated.rows)] == [
        low(VIRTUAL),
        low(SERVER),
        low(VIRTUAL),
    ]


BALANCED = (
    translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (SERVER, 8080)),
    translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (OTHER_SERVER, 8080)),
)
BALANCED_ROWS = concat_rows(
    [
        rows_of("a", client_row(CLIENT, VIRTUAL, 80, bytes_sent=10, retransmits=2)),
        rows_of("b", server_row(CLIENT, SERVER, 8080, bytes_received=4)),
        rows_of("d", server_row(CLIENT, OTHER_SERVER, 8080, bytes_received=6)),
    ]
)


def test_what_is_balanced_counts_for_what_was_asked_and_servers_know_the_client():
    rows = passage(BALANCED_ROWS, table_of("c", *BALANCED)).rows
    assert verdicts(rows)[:3] == [Verdict.COUNTS, Verdict.LEFT_OUT, Verdict.LEFT_OUT]
    assert sorted(destinations(rows)) == sorted(
        [(low(VIRTUAL), 80), (low(SERVER), 8080), (low(OTHER_SERVER), 8080)]
    )
    assert sorted(server for _, server in paired(rows)) == [1, 2]
    assert int(rows.int64("bytes_sent").sum()) == 10
    assert int(rows.int64("retransmits").sum()) == 2


def test_what_neither_side_tells_wholly_is_counted():
    shared = [
        translation_row(client, (VIRTUAL, 80), GATEWAY, (server, 8080))
        for client in (CLIENT, OTHER_CLIENT)
        for server in (SERVER, OTHER_SERVER)
    ]
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 80, bytes_sent=10)),
            rows_of("b", server_row(GATEWAY, SERVER, 8080, bytes_received=30)),
        ]
    )
    translated = passage(rows, table_of("c", *shared))
    assert verdicts(translated.rows)[:2] == [Verdict.COUNTS, Verdict.LEFT_OUT]
    assert translated.unresolved == 1


def test_repeated_and_empty_translations_are_one():
    same = BALANCED[0]
    nothing = translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (VIRTUAL, 80))
    table = pa.concat_tables(
        [table_of("c", same, nothing), table_of("d", same, nothing)]
    )
    translated = passage(BALANCED_ROWS, table)
    assert destinations(translated.rows) == [(low(SERVER), 8080)]


BRIDGED, NODE = "172.17.0.2", "192.168.0.2"


def test_what_happens_to_an_address_of_several_hosts_nobody_else_can_tell():
    rows = concat_rows(
        [rows_of(host, client_row(BRIDGED, SERVER, 80)) for host in ("a", "b")]
    )
    known = translation_row(BRIDGED, (SERVER, 80), NODE, (SERVER, 80))
    translated = passage(rows, table_of("c", known)).rows
    assert translated.int64("outer_address_low").tolist() == [0, 0]
    rows = concat_rows(
        [rows_of(host, server_row(GATEWAY, BRIDGED, 80)) for host in ("a", "b")]
    )
    known = translation_row(CLIENT, (NODE, 80), GATEWAY, (BRIDGED, 80))
    translated = passage(rows, table_of("a", known)).rows
    seen = translated.int64("remote_address_low").tolist()
    assert seen == [low(GATEWAY), low(GATEWAY)]


def test_translation_is_of_its_own_scope_where_addresses_are_shared():
    blue, green = 5, 7
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 80)),
            rows_of("a", client_row(CLIENT, VIRTUAL, 80)),
        ]
    )
    rows = with_scopes(rows, np.array([blue, green]))
    known = translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (SERVER, 8080))
    told = table_of("c", known)
    high, client = split_address(CLIENT)
    shared = Ranges(np.array([high]), np.array([client]))
    tellers = Tellers(int64_column(told, "source"), ((np.array([blue]), shared),))
    passages = Passages.of(Steps.of(told, tellers, Watched()))
    translated = translate(rows, passages, Watched())
    assert destinations(translated.rows) == [(low(SERVER), 8080), (low(VIRTUAL), 80)]
    assert translated.rows.int64("scope").tolist() == [blue, green]


# -- through the whole reducer ----------------------------------------------------


@pytest.fixture
def reducer():
    made = Reducer()
    yield made
    made.close()


def send(reducer: Reducer, host: str, window: int, *rows: dict, known=()) -> None:
    end = START_NS + (window + 1) * WINDOW_NS
    tables = {
        "hosts": [{"host_id": host, "boot_id": f"boot-{host}", "zone": host}],
        "translations": known,
    }
    batch = make_batch(rows, tables=tables, header=make_header(window, collector=host))
    reducer.add(batch, end, end)


def exchanged(reducer: Reducer, windows: int) -> Counter:
    """Bytes by the zones of both ends; every host is a zone."""
    found: Counter = Counter()
    for one in reducer.close_windows(START_NS + (windows + 3) * WINDOW_NS):
        level = one.window.levels["az_az"]
        zones = level.nodes["availability_zone"].to_pylist()
        for edge in level.edges.to_pylist():
            found[zones[edge["source"]], zones[edge["dest"]]] += edge["bytes"]
    return +found


def test_volume_is_counted_once_between_the_true_ends(reducer):
    known = translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    for window in range(3):
        row = client_row(CLIENT, VIRTUAL, 80, bytes_sent=10, bytes_received=3)
        send(reducer, "a", window, row)
        row = server_row(GATEWAY, SERVER, 8080, bytes_sent=3, bytes_received=10)
        send(reducer, "b", window, row)
        send(reducer, "c", window, known=[known])
    assert exchanged(reducer, 3) == {("a", "b"): 30, ("b", "a"): 9}


def test_balanced_volume_is_the_clients(reducer):
    for window in range(3):
        send(reducer, "a", window, client_row(CLIENT, VIRTUAL, 80, bytes_sent=10))
        send(reducer, "b", window, server_row(CLIENT, SERVER, 8080, bytes_received=4))
        send(reducer, "c", window, known=BALANCED)
    assert exchanged(reducer, 3) == {("a", "(unknown)"): 30}


def test_rules_that_are_gone_do_not_count_twice(reducer):
    known = translation_row(CLIENT, (SERVER, 80), GATEWAY, (SERVER, 80))
    for window in range(4):
        send(reducer, "a", window, client_row(CLIENT, SERVER, 80, bytes_sent=10))
        seen = GATEWAY if window < 2 else CLIENT
        send(reducer, "b", window, server_row(seen, SERVER, 80, bytes_received=10))
        send(reducer, "c", window, known=[known])
    assert exchanged(reducer, 4) == {("a", "b"): 40}


def test_a_restart_knows_the_addresses_that_have_no_row_after_it(reducer):
    known = [
        translation_row(client, (SERVER, 80), GATEWAY, (SERVER, 80))
        for client in (CLIENT, OTHER_CLIENT)
    ]
    send(reducer, "a", 0, client_row(CLIENT, SERVER, 80, bytes_sent=10))
    send(reducer, "e", 0, *idle(OTHER_CLIENT))
    send(reducer, "b", 0)
    send(reducer, "c", 0, known=known)
    before = exchanged(reducer, 0)
    assert before == {("a", "(unknown)"): 10, ("e", "(unknown)"): 1}
    successor = Reducer()
    successor.restore(reducer.state())
    late = server_row(GATEWAY, SERVER, 80, bytes_received=10)  # what a has told
    for window, rows in ((1, [late]), (2, [])):
        for host in "abce":
            send(successor, host, window, *(rows if host == "b" else []))
    assert exchanged(successor, 2) == {}
    successor.close()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_bytes_are_those_of_the_clients_whatever_is_between(data):
    """Clients that are all watched; servers see what rules made of it, or skewed."""
    reducer = Reducer()
    servers = (SERVER, OTHER_SERVER)
    asked = st.sampled_from(((VIRTUAL, 80), (SERVER, 8080), (OTHER_SERVER, 8080)))
    sent, late, known = 0, [], []
    for window in range(5):
        rows: dict[str, dict] = {}
        now = late
        late = []
        for _ in range(data.draw(st.integers(0, 4))):
            client = data.draw(st.sampled_from((CLIENT, OTHER_CLIENT)))
            service = data.draw(asked)
            server = (
                service[0]
                if service[0] != VIRTUAL
                else data.draw(st.sampled_from(servers))
            )
            outer = data.draw(st.sampled_from((client, GATEWAY)))
            size = data.draw(st.integers(1, 99))
            sent += size
            key = repr((client, service))
            row = rows.setdefault(key, dict(client_row(client, *service, bytes_sent=0)))
            row["bytes_sent"] += size
            if (outer, server) != (client, service[0]):
                known.append(translation_row(client, service, outer, (server, 8080)))
            seen = server_row(outer, server, 8080, bytes_received=size)
            translated = (outer, server) != (client, service[0])
            (late if translated and data.draw(st.booleans()) else now).append(seen)
        hosts = {CLIENT: "a", OTHER_CLIENT: "e"}
        for client, host in hosts.items():
            mine = [row for key, row in rows.items() if f"'{client}'" in key]
            send(reducer, host, window, *mine, *idle(client))
        merged: dict[str, dict] = {}
        for seen in now:
            key = repr(sorted((k, v) for k, v in seen.items() if k != "bytes_received"))
            row = merged.setdefault(key, {**seen, "bytes_received": 0})
            row["bytes_received"] += seen["bytes_received"]
        send(reducer, "b", window, *merged.values())
        send(
            reducer, "c", window, known={k["translation_id"]: k for k in known}.values()
        )
    total = sum(exchanged(reducer, 6).values())
    reducer.close()
    assert total == sent + 5 * 2


def idle(client: str) -> list[dict]:
    """A byte to somebody else, so that the client's address is known."""
    return [client_row(client, "10.9.9.9", 22, bytes_sent=1)]


# A pod calls the node port of another node, and its own node masquerades it: each of
# the two nodes tells what it has done.
NODE, THIRD = "192.168.0.2", "192.168.0.3"
BY_OWN_NODE = translation_row(CLIENT, (THIRD, 30080), NODE, (THIRD, 30080))
BY_THIRD = translation_row(NODE, (THIRD, 30080), THIRD, (SERVER, 8080))


@pytest.mark.parametrize("first_told", [0, 1], ids=["told at once", "told later"])
@pytest.mark.parametrize(
    ("by_client", "by_server"),
    [
        ((10, 0, 0), (10, 0, 0)),
        ((10, 0, 0), (0, 10, 0)),
        ((0, 10, 0), (10, 0, 0)),
        ((8, 2, 0), (10, 0, 0)),
        ((10, 0, 0), (8, 2, 0)),
        ((8, 2, 5), (10, 0, 5)),
        ((8, 2, 5), (2, 8, 5)),
        ((2, 8, 0), (8, 2, 0)),
    ],
    ids=str,
)
def test_two_nodes_translate_and_the_ends_read_at_different_times(
    reducer, by_client, by_server, first_told
):
    for window in range(3):
        asks = client_row(
            CLIENT,
            THIRD,
            30080,
            bytes_sent=by_client[window],
            translation_id=BY_OWN_NODE["translation_id"],
        )
        served = server_row(THIRD, SERVER, 8080, bytes_received=by_server[window])
        asked = [asks] if by_client[window] else []
        send(reducer, "a", window, *asked, known=[BY_OWN_NODE] if asked else [])
        send(reducer, "b", window, *([served] if by_server[window] else []))
        send(reducer, "c", window, known=[BY_THIRD] if window == first_told else [])
    counted = exchanged(reducer, 3)
    assert sum(counted.values()) == sum(by_client)
    assert {source for source, _ in counted} == {"a"}


def test_clients_behind_one_address_keep_their_own_volume(reducer):
    known = [
        translation_row(client, (SERVER, 80), GATEWAY, (SERVER, 80))
        for client in (CLIENT, OTHER_CLIENT)
    ]
    for window in range(3):
        send(reducer, "a", window, client_row(CLIENT, SERVER, 80, bytes_sent=10))
        send(reducer, "e", window, client_row(OTHER_CLIENT, SERVER, 80, bytes_sent=5))
        send(reducer, "b", window, server_row(GATEWAY, SERVER, 80, bytes_received=15))
        send(reducer, "c", window, known=known)
    assert exchanged(reducer, 3) == {("a", "b"): 30, ("e", "b"): 15}


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_bytes_are_the_clients_whenever_the_ends_of_a_chain_are_read(data):
    """Pods that their own nodes masquerade ask a third node for one server.

    Each end reads a part of what was exchanged a window later. Of several pods it is
    known before that they are watched.
    """
    reducer, windows = Reducer(), 6
    pods = {"a": (CLIENT, NODE), "e": (OTHER_CLIENT, "192.168.0.5")}
    asking = data.draw(st.sampled_from(["a", "ae"]))
    asked, served = Counter(), Counter()
    known: dict[tuple[str, int], list] = {}
    for host in asking:
        pod, node = pods[host]
        passed_on = translation_row(node, (THIRD, 30080), THIRD, (SERVER, 8080))
        first = data.draw(st.integers(1, 3))
        known.setdefault(("c", first + data.draw(st.integers(0, 1))), []).append(
            passed_on
        )
        for window in range(first, 4):
            size = data.draw(st.integers(1, 9))
            for end, whose in ((asked, host), (served, "b")):
                late = data.draw(st.sampled_from((0, size // 2, size)))
                end[whose, window] += size - late
                end[whose, window + 1] += late
    for window in range(windows):
        for host in asking:
            pod, node = pods[host]
            services = {(THIRD, 30080): asked[host, window]}
            if len(asking) > 1:
                services["10.9.9.9", 22] = 1 if window == 0 else 0
            rows, told = [], []
            for service, size in services.items():
                own = translation_row(pod, service, node, service)
                identity = own["translation_id"]
                row = client_row(
                    pod, *service, bytes_sent=size, translation_id=identity
                )
                if size:
                    rows.append(row)
                    told.append(own)
            send(reducer, host, window, *rows, known=told)
        size = served["b", window]
        row = server_row(THIRD, SERVER, 8080, bytes_received=size)
        send(reducer, "b", window, *([row] if size else []))
        send(reducer, "c", window, known=known.get(("c", window), ()))
    counted = exchanged(reducer, windows)
    reducer.close()
    idle_bytes = len(asking) if len(asking) > 1 else 0
    assert counted.total() == asked.total() + idle_bytes
