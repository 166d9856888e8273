"""What a translation known elsewhere makes of the ends' rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from ebpf_net.reducer.keys import combine, text_key
from ebpf_net.reducer.lookups import Lookup
from ebpf_net.reducer.pipeline import Reducer
from ebpf_net.reducer.rows import (
    Rows,
    concat_rows,
    int64_column,
    make_rows,
    with_boots,
    with_scopes,
)
from ebpf_net.reducer.translation import Covered, Translated
from ebpf_net.reducer.translation import translate as translate_sorted
from ebpf_net.reducer.translation_table import (
    Tellers,
    sort_translations,
)
from ebpf_net.testing.kubernetes import Cluster
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


def translate(rows: Rows, translations: pa.Table, covered: Covered) -> Translated:
    """Translate where every source is a host and addresses mean the same everywhere."""
    source = int64_column(translations, "source")
    none = Lookup(np.empty(0, np.int64))
    tellers = Tellers(source, source, np.zeros(len(source), np.int64), none)
    table = sort_translations(translations, tellers)
    return translate_sorted(rows, table, rows.source, covered)


def everybody(keys):
    return np.ones(len(keys), np.bool_)


def nobody(keys):
    return np.zeros(len(keys), np.bool_)


def destinations(rows: Rows) -> list[tuple[int, int, int]]:
    """Server's address, port, and whether the servers have the volume."""
    chosen = np.flatnonzero(rows.is_client)
    return [
        (int(rows.addresses.server_low[place]), int(rows.server_port[place]),
         int(rows.int64("yields")[place]))
        for place in chosen
    ]  # fmt: skip


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
    assert translate(rows, table_of("c"), everybody).rows is rows


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
    translated = translate(rows, table, nobody)
    assert paired(rows) == []
    assert paired(translated.rows) == [(0, 1)]
    assert destinations(translated.rows) == [(low(SERVER), 8080, 0)]
    assert translated.rows.int64("local_address_low").tolist()[0] == low(CLIENT)
    assert translated.rows.int64("bytes_sent").tolist() == [7, 0]
    assert translated.rows.int64("translation_id")[0] != 0
    assert translated.unresolved == 0


def test_what_a_clients_own_host_has_translated_is_seen_from_outside():
    known = translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    rows = concat_rows(
        [
            rows_of(
                "a",
                client_row(
                    CLIENT, SERVER, 8080, translation_id=known["translation_id"]
                ),
            ),
            rows_of("b", server_row(GATEWAY, SERVER, 8080)),
        ]
    )
    assert paired(translate(rows, table_of("a", known), nobody).rows) == [(0, 1)]


def test_what_the_servers_host_has_translated_meets_a_client_that_knows_nothing():
    known = translation_row(CLIENT, (VIRTUAL, 30080), GATEWAY, (SERVER, 8080))
    rows = concat_rows(
        [
            rows_of("a", client_row(CLIENT, VIRTUAL, 30080)),
            rows_of(
                "b",
                server_row(
                    CLIENT, SERVER, 8080, translation_id=known["translation_id"]
                ),
            ),
        ]
    )
    assert paired(translate(rows, table_of("b", known), nobody).rows) == [(0, 1)]


def test_a_server_learns_who_is_behind_the_address_it_sees():
    known = translation_row(CLIENT, (VIRTUAL, 80), GATEWAY, (SERVER, 8080))
    rows = rows_of("b", server_row(GATEWAY, SERVER, 8080))
    translated = translate(rows, table_of("c", known), nobody)
    assert translated.rows.int64("remote_address_low").tolist() == [low(CLIENT)]
    assert translated.rows.int64("translation_id").tolist() == [known["translation_id"]]
    assert translated.rows.keys.far.tolist() == rows.keys.far.tolist()
    assert translated.unresolved == 0


def test_several_clients_behind_one_address_are_not_told_apart():
    known = (
        translation_row(client, (SERVER, 80), GATEWAY, (SERVER, 80))
        for client in (CLIENT, OTHER_CLIENT)
    )
    rows = rows_of("b", server_row(GATEWAY, SERVER, 80))
    translated = translate(rows, table_of("c", *known), nobody)
    assert translated.rows.int64("remote_address_low").tolist() == [low(GATEWAY)]
    assert translated.unresolved == 1


def test_protocol_and_port_tell_translations_apart():
    known = translation_row(CLIENT, (VIRTUAL, 53), CLIENT, (SERVER, 53), protocol=17)
    rows = rows_of(
        "a",
        client_row(CLIENT, VIRTUAL, 53),
        client_row(CLIENT, VIRTUAL, 53, protocol=17),
        client_row(CLIENT, VIRTUAL, 54, protocol=17),
    )
    translated = translate(rows, table_of("c", known), nobody)
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


def test_watched_servers_have_the_volume_of_what_was_balanced_between_them():
    translated = translate(BALANCED_ROWS, table_of("c", *BALANCED), everybody)
    rows = translated.rows
    assert translated.unresolved == 0
    assert sorted(destinations(rows)) == [
        (low(SERVER), 8080, 1),
        (low(OTHER_SERVER), 8080, 1),
    ]
    assert sorted(server for _, server in paired(rows)) == [1, 2]
    # What only the client measures is told once.
    assert int(rows.int64("retransmits").sum()) == 2


def test_what_is_balanced_to_servers_unwatched_counts_for_what_was_asked():
    translated = translate(BALANCED_ROWS, table_of("c", *BALANCED), nobody)
    assert translated.unresolved == 1
    assert sorted(destinations(translated.rows)) == sorted(
        [(low(VIRTUAL), 80, 0), (low(SERVER), 8080, 0), (low(OTHER_SERVER), 8080, 0)]
    )
    sent = translated.rows.int64("bytes_sent")[translated.rows.is_client]
    assert sorted(sent.tolist()) == [0, 0, 10]


def test_servers_that_see_several_clients_as_one_do_not_decide():
    shared = (
        *(
            translation_row(client, (VIRTUAL, 80), GATEWAY, (server, 8080))
            for client in (CLIENT, OTHER_CLIENT)
            for server in (SERVER, OTHER_SERVER)
        ),
    )
    rows = concat_rows(
        [
            rows_of(
                "a",
                client_row(CLIENT, VIRTUAL, 80, bytes_sent=10),
                client_row(OTHER_CLIENT, VIRTUAL, 80, bytes_sent=20),
            ),
            rows_of("b", server_row(GATEWAY, SERVER, 8080, bytes_received=30)),
        ]
    )
    translated = translate(rows, table_of("c", *shared), everybody)
    assert translated.unresolved == 2
    assert not translated.rows.int64("yields").any()


def test_a_host_knows_its_own_connections_better_than_by_their_ends():
    translated = translate(BALANCED_ROWS, table_of("a", *BALANCED), everybody)
    assert translated.unresolved == 1
    assert not translated.rows.int64("yields").any()


def test_repeated_and_empty_translations_are_one():
    same = BALANCED[0]
    nothing = translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (VIRTUAL, 80))
    table = pa.concat_tables(
        [table_of("c", same, nothing), table_of("d", same, nothing)]
    )
    translated = translate(BALANCED_ROWS, table, nobody)
    assert destinations(translated.rows) == [(low(SERVER), 8080, 0)]


BRIDGED, NODE, OTHER_NODE = "172.17.0.2", "192.168.0.2", "192.168.0.3"


def test_addresses_that_several_hosts_have_are_translated_by_their_own_only():
    rows = concat_rows(
        [rows_of(host, client_row(BRIDGED, SERVER, 80)) for host in ("a", "b")]
    )
    known = [
        translation_row(BRIDGED, (SERVER, 80), node, (SERVER, 80))
        for node in (NODE, OTHER_NODE)
    ]
    table = table_of("a", known[0])
    outer = translate(rows, table, nobody).rows.int64("outer_address_low")
    assert outer.tolist() == [low(NODE), 0]
    table = pa.concat_tables([table, table_of("b", known[1])])
    translated = translate(rows, table, nobody)
    outer = translated.rows.int64("outer_address_low")
    assert outer.tolist() == [low(NODE), low(OTHER_NODE)]
    assert translated.unresolved == 0


def test_server_of_an_address_that_several_hosts_have_hears_of_no_other_hosts_client():
    rows = concat_rows(
        [rows_of(host, server_row(GATEWAY, BRIDGED, 80)) for host in ("a", "b")]
    )
    known = translation_row(CLIENT, (NODE, 80), GATEWAY, (BRIDGED, 80))
    translated = translate(rows, table_of("a", known), nobody)
    seen = translated.rows.int64("remote_address_low").tolist()
    assert seen == [low(GATEWAY), low(GATEWAY)]


def test_translation_is_of_its_own_scope_where_addresses_are_shared():
    blue, green = 5, 7
    rows = concat_rows(
        [rows_of(host, client_row(CLIENT, VIRTUAL, 80)) for host in "ab"]
    )
    rows = with_scopes(rows, np.array([blue, green]))
    known = translation_row(CLIENT, (VIRTUAL, 80), CLIENT, (SERVER, 8080))
    told, scope = table_of("c", known), np.array([blue])
    high, client = split_address(CLIENT)
    shared = Lookup(combine(np.array([high]), np.array([client])))
    source = int64_column(told, "source")
    table = sort_translations(told, Tellers(source, source, scope, shared))
    translated = translate_sorted(rows, table, rows.source, nobody)
    assert destinations(translated.rows) == [
        (low(SERVER), 8080, 0),
        (low(VIRTUAL), 80, 0),
    ]
    assert translated.rows.int64("scope").tolist() == [blue, green]


def test_collectors_of_one_machine_see_what_each_other_translates():
    known = translation_row(CLIENT, (SERVER, 80), GATEWAY, (SERVER, 80))
    told, boot = table_of("c", known), np.array([1])
    none = Lookup(np.empty(0, np.int64))
    source = int64_column(told, "source")
    table = sort_translations(told, Tellers(boot, source, np.zeros(1, np.int64), none))
    rows = with_boots(rows_of("b", server_row(GATEWAY, SERVER, 80)), boot)
    translated = translate_sorted(rows, table, rows.source, nobody)
    assert translated.rows.int64("remote_address_low").tolist() == [low(CLIENT)]


# -- through the whole reducer ----------------------------------------------------


@pytest.fixture
def reducer():
    made = Reducer()
    yield made
    made.close()


def send(
    reducer: Reducer,
    host: str,
    window: int,
    *rows: dict,
    known: Sequence[dict] = (),
    **header: object,
) -> None:
    end = START_NS + (window + 1) * WINDOW_NS
    tables = {
        "hosts": [{"host_id": host, "boot_id": f"boot-{host}", "zone": host}],
        "translations": known,
    }
    header = make_header(window, collector=host, **header)
    batch = make_batch(rows, tables=tables, header=header)
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


def test_balanced_volume_is_what_each_of_the_watched_servers_tells(reducer):
    for window in range(3):
        send(reducer, "a", window, client_row(CLIENT, VIRTUAL, 80, bytes_sent=10))
        send(reducer, "b", window, server_row(CLIENT, SERVER, 8080, bytes_received=4))
        row = server_row(CLIENT, OTHER_SERVER, 8080, bytes_received=6)
        send(reducer, "d", window, row)
        send(reducer, "c", window, known=BALANCED)
    assert exchanged(reducer, 3) == {("a", "b"): 12, ("a", "d"): 18}


def test_balanced_volume_is_the_clients_where_a_server_is_not_watched(reducer):
    for window in range(3):
        send(reducer, "a", window, client_row(CLIENT, VIRTUAL, 80, bytes_sent=10))
        send(reducer, "b", window, server_row(CLIENT, SERVER, 8080, bytes_received=4))
        send(reducer, "c", window, known=BALANCED)
    assert exchanged(reducer, 3) == {("a", "(unknown)"): 30}
    points = {point.name: point.value for point in reducer.metrics(0)}
    assert points["ebpf_net.reducer.unresolved_rows"] == 3


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


def test_own_translations_are_known_as_such_after_a_restart(reducer):
    for window in range(3):
        row = client_row(CLIENT, VIRTUAL, 80, bytes_sent=10)
        process = "second" if window else "first"
        send(reducer, "a", window, row, known=BALANCED, incarnation=process)
        for host, server, size in (("b", SERVER, 4), ("d", OTHER_SERVER, 6)):
            row = server_row(CLIENT, server, 8080, bytes_received=size)
            send(reducer, host, window, row)
    assert exchanged(reducer, 3) == {("a", "(unknown)"): 30}


def test_what_another_cluster_translates_is_not_done_to_the_same_addresses(reducer):
    known = translation_row(CLIENT, (VIRTUAL, 53), CLIENT, (SERVER, 53))
    for window in range(3):
        for name, boot in (("blue", "boot-c"), ("green", "boot-a")):
            cluster = Cluster(name)
            cluster.add_node(f"node-{name}", boot_id=boot)
            cluster.add_pod("client", [CLIENT], node_name=f"node-{name}")
            cluster.add_pod("server", [SERVER], workload="server")
            header = make_header(window, collector=name)
            batch = make_batch(tables=cluster.tables, header=header)
            reducer.add(batch, header.window_end_ns, header.window_end_ns)
        send(reducer, "c", window, known=[known])
        send(reducer, "a", window, client_row(CLIENT, VIRTUAL, 53, bytes_sent=10))
    reached = set()
    for one in reducer.close_windows(START_NS + 6 * WINDOW_NS):
        nodes = one.window.levels["az_az"].nodes
        reached |= set(nodes["workload.name"].to_pylist())
    assert "server" not in reached
