from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ebpf_net.reducer.keys import text_key
from ebpf_net.reducer.reference import KEEP_WINDOWS, Change, References
from ebpf_net.testing.tables import Row, make_table


def processes(source: int, *rows: Row, snapshot: bool = False) -> Change:
    return Change(source, {"processes": make_table("processes", rows)}, snapshot)


def comms(references: References) -> dict[tuple[int, int], str]:
    return {
        (row["source"], row["process_id"]): row["comm"]
        for row in references.tables["processes"].to_pylist()
    }


def test_a_row_replaces_that_of_the_same_source_and_key():
    references = References()
    references.apply(
        [
            processes(1, {"process_id": 5, "comm": "old"}),
            processes(2, {"process_id": 5, "comm": "other"}),
            processes(1, {"process_id": 5, "comm": "new"}),
        ],
        window=0,
    )
    assert comms(references) == {(1, 5): "new", (2, 5): "other"}


def test_a_removed_row_is_kept_for_late_edges():
    references = References()
    references.apply([processes(1, {"process_id": 5, "comm": "old"})], window=0)
    references.apply([processes(1, {"process_id": 5, "removed": True})], window=10)
    references.forget(10 + KEEP_WINDOWS, frozenset())
    assert comms(references) == {(1, 5): "old"}
    references.forget(11 + KEEP_WINDOWS, frozenset())
    assert comms(references) == {}


def test_a_row_may_come_back():
    references = References()
    references.apply(
        [
            processes(1, {"process_id": 5, "comm": "old"}),
            processes(1, {"process_id": 5, "removed": True}),
            processes(1, {"process_id": 5, "comm": "new"}),
        ],
        window=0,
    )
    references.forget(99, frozenset())
    assert comms(references) == {(1, 5): "new"}


def test_a_snapshot_replaces_what_was_known_of_its_source():
    references = References()
    references.apply(
        [
            processes(
                1, {"process_id": 5, "comm": "a"}, {"process_id": 6, "comm": "b"}
            ),
            processes(2, {"process_id": 5, "comm": "c"}),
            processes(1, {"process_id": 6, "comm": "d"}, snapshot=True),
        ],
        window=0,
    )
    references.forget(99, frozenset())
    assert comms(references) == {(1, 6): "d", (2, 5): "c"}


def test_an_empty_snapshot_ends_all_rows_of_its_source():
    references = References()
    references.apply([processes(1, {"process_id": 5, "comm": "a"})], window=0)
    references.apply([processes(1, snapshot=True)], window=0)
    references.forget(99, frozenset())
    assert comms(references) == {}


def test_rows_of_gone_sources_are_dropped():
    references = References()
    references.apply([processes(1, {"process_id": 5, "comm": "a"})], window=0)
    references.forget(0, frozenset({1}))
    assert comms(references) == {}


def test_boots_are_those_of_the_hosts():
    references = References()
    hosts = make_table("hosts", [{"host_id": "h", "boot_id": "b"}])
    references.apply([Change(1, {"hosts": hosts}, snapshot=False)], window=0)
    assert references.boots() == {1: text_key("boot", "b")}


def restored(tables: Mapping[str, pa.Table]) -> References:
    references = References()
    references.restore(tables)
    return references


def test_table_of_another_version_has_blanks_and_the_others_are_as_they_were():
    told = References()
    hosts = make_table("hosts", [{"host_id": "h", "boot_id": "b", "zone": "z"}])
    told.apply(
        [
            processes(1, {"process_id": 5, "comm": "kept"}),
            Change(1, {"hosts": hosts}, snapshot=False),
        ],
        window=0,
    )
    former = told.tables["hosts"].drop_columns(["zone"])
    former = former.append_column("gone", pa.array(["x"]))
    references = restored({**told.tables, "hosts": former})
    assert comms(references) == {(1, 5): "kept"}
    assert references.tables["hosts"].schema == told.tables["hosts"].schema
    (host,) = references.tables["hosts"].to_pylist()
    assert (host["boot_id"], host["zone"]) == ("b", "")
    references.apply([Change(1, {"hosts": hosts}, snapshot=False)], window=1)
    assert references.tables["hosts"]["zone"].to_pylist() == ["z"]


def test_table_that_is_missing_or_without_keys_is_empty():
    told = References()
    told.apply([processes(1, {"process_id": 5, "comm": "kept"})], window=0)
    tables = dict(told.tables)
    del tables["kubernetes_endpoints"]
    assert comms(restored(tables)) == {(1, 5): "kept"}
    assert restored(tables).tables["kubernetes_endpoints"].num_rows == 0
    tables["processes"] = tables["processes"].drop_columns(["process_id"])
    assert comms(restored(tables)) == {}


def test_boots_are_made_anew_only_when_hosts_change():
    references = References()
    hosts = make_table("hosts", [{"host_id": "h", "boot_id": "b"}])
    references.apply([Change(1, {"hosts": hosts}, snapshot=False)], window=0)
    before = references.boots()
    references.apply([processes(1, {"process_id": 5})], window=1)
    assert references.boots() is before
    references.apply([Change(2, {"hosts": hosts}, snapshot=False)], window=2)
    assert sorted(references.boots()) == [1, 2]


def test_what_a_former_process_told_ends_but_whose_host_it_was():
    references = References()
    hosts = make_table("hosts", [{"host_id": "h", "boot_id": "b"}])
    changes = [
        change
        for source in (1, 2)
        for change in (
            processes(source, {"process_id": 5, "comm": "c"}),
            Change(source, {"hosts": hosts}, snapshot=False),
        )
    ]
    references.apply(changes, window=0)
    for window in range(3, 4 + KEEP_WINDOWS):
        references.end({1}, window)
        references.forget(window, frozenset())
        assert len(comms(references)) == 2
    references.forget(4 + KEEP_WINDOWS, frozenset())
    assert comms(references) == {(2, 5): "c"}
    assert sorted(references.boots()) == [1, 2]


def addresses(*rows: Row, source: int = 1, snapshot: bool = False) -> Change:
    table = make_table("kubernetes_addresses", rows)
    return Change(source, {"kubernetes_addresses": table}, snapshot)


def spans(references: References) -> list[tuple[str, str, int, int]]:
    return [
        (row["address_key"], row["owner_uid"], row["from_ns"], row["until_ns"])
        for row in references.tables["kubernetes_addresses"].to_pylist()
    ]


HELD: Row = {"address_key": "a", "owner_uid": "pod", "from_ns": 5}
GIVEN_BACK: Row = {"address_key": "a", "until_ns": 9, "removed": True}


def test_address_that_is_given_back_keeps_its_owner_until_then():
    references = References()
    references.apply([addresses(HELD)], window=0)
    references.apply([addresses(GIVEN_BACK)], window=1)
    assert spans(references) == [("a", "pod", 5, 9)]
    references.forget(1 + KEEP_WINDOWS + 1, frozenset())
    assert spans(references) == []


def test_address_that_came_and_went_at_once_is_known():
    references = References()
    references.apply([addresses({**HELD, **GIVEN_BACK})], window=1)
    assert spans(references) == [("a", "pod", 5, 9)]
    references.forget(1 + KEEP_WINDOWS + 1, frozenset())
    assert spans(references) == []


def test_removal_of_what_was_never_heard_of_says_nothing():
    references = References()
    references.apply([addresses(GIVEN_BACK)], window=1)
    assert spans(references) == []


def test_text_is_a_key_like_any_other():
    references = References()
    references.apply(
        [
            addresses(HELD, {**HELD, "address_key": "b"}),
            addresses({**HELD, "from_ns": 7}),
            addresses(HELD, source=2),
        ],
        window=0,
    )
    assert sorted(spans(references)) == [
        ("a", "pod", 5, 0), ("a", "pod", 7, 0), ("b", "pod", 5, 0),
    ]  # fmt: skip
