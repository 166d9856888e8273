from tests.collectors.kubernetes.shapes import rows_of

from ebpf_net.collectors.reference_rows import MAX_TEXT_LENGTH
from ebpf_net.collectors.reference_tables import ReferenceTables

CLUSTERS, NAMESPACES = "kubernetes_clusters", "kubernetes_namespaces"


def two_tables():
    tables = ReferenceTables([CLUSTERS, NAMESPACES])
    tables[CLUSTERS].put("c", ("c", "main"))
    tables[NAMESPACES].put("n", ("n", "default", "{}"))
    return tables


def test_changes_are_of_the_tables_that_have_some():
    tables = two_tables()
    assert list(tables.changes()) == [CLUSTERS, NAMESPACES]
    tables[NAMESPACES].remove("n")
    changes = tables.changes()
    assert list(changes) == [NAMESPACES]
    assert [row["removed"] for row in rows_of(changes, NAMESPACES)] == [True]
    assert tables.changes() == {}


def test_a_snapshot_has_all_tables():
    tables = two_tables()
    tables.forget_changes()
    assert tables.changes() == {}
    snapshot = tables.snapshot()
    assert [len(rows_of(snapshot, name)) for name in snapshot] == [1, 1]


def test_rows_without_room_in_a_snapshot_are_told_again():
    tables = two_tables()
    tables.forget_changes()
    tables.tell_again([{NAMESPACES: tables.snapshot()[NAMESPACES]}])
    assert list(tables.changes()) == [NAMESPACES]


def test_all_is_told_anew_but_what_is_left_out():
    tables = two_tables()
    tables.forget_changes()
    tables.restate([CLUSTERS])
    assert list(tables.changes()) == [NAMESPACES]
    tables.restate()
    assert list(tables.changes()) == [CLUSTERS, NAMESPACES]


def test_rows_and_cut_texts_are_counted():
    tables = two_tables()
    tables[CLUSTERS].put("c", ("c", "x" * (MAX_TEXT_LENGTH + 1)))
    assert (tables.counts(), tables.cut) == ({CLUSTERS: 1, NAMESPACES: 1}, 1)
