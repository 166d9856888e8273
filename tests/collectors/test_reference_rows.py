from tests.collectors.kubernetes.shapes import rows_of

from ebpf_net.collectors.encode import encode_body
from ebpf_net.collectors.reference_rows import (
    MAX_TEXT_LENGTH,
    ReferenceRows,
)
from ebpf_net.intake.table_values import MAX_STRING_BYTES
from ebpf_net.schema import TABLES


def changes(rows):
    table = rows.take_changes()
    found = rows_of({"t": table}, "t") if table is not None else []
    return sorted((row["name"], row["removed"]) for row in found)


def namespaces():
    rows = ReferenceRows("kubernetes_namespaces")
    rows.put("u", ("u", "one", "{}"))
    return rows


def test_a_change_is_told_once():
    rows = namespaces()
    assert [changes(rows), changes(rows)] == [[("one", False)], []]


def test_the_same_row_again_is_no_change():
    rows = namespaces()
    changes(rows)
    rows.put("u", ("u", "one", "{}"))
    assert changes(rows) == []


def test_an_end_is_told_with_the_last_row():
    rows = namespaces()
    changes(rows)
    rows.put("u", ("u", "two", "{}"))
    rows.remove("u")
    rows.remove("nobody")
    assert [changes(rows), changes(rows)] == [[("two", True)], []]


def test_one_that_is_back_has_not_ended():
    rows = namespaces()
    changes(rows)
    rows.remove("u")
    rows.put("u", ("u", "one", "{}"))
    assert changes(rows) == [("one", False)]


def test_all_rows_are_told_anew_with_what_has_gone():
    rows = namespaces()
    rows.put("v", ("v", "two", "{}"))
    changes(rows)
    rows.remove("u")
    rows.restate()
    assert changes(rows) == [("one", True), ("two", False)]
    assert changes(rows) == []


def test_a_snapshot_has_all_rows_and_leaves_the_changes():
    rows = namespaces()
    assert [row["name"] for row in rows_of({"t": rows.snapshot()}, "t")] == ["one"]
    assert changes(rows) == [("one", False)]


def test_what_a_snapshot_tells_is_no_change():
    rows = namespaces()
    rows.forget_changes()
    assert changes(rows) == []
    assert "u" in rows
    assert len(rows) == 1


def test_columns_have_the_types_of_the_schema():
    rows = ReferenceRows("kubernetes_addresses")
    rows.put("k", ("k", "pod", "u", -1, 5, 6, 7, 80, 6))
    table = rows.take_changes()
    assert list(table) == [name for name, _ in TABLES["kubernetes_addresses"]]
    assert encode_body({"kubernetes_addresses": table})
    pods = ReferenceRows("kubernetes_pods")
    pods.put("p", (*("p",) * 11, True))
    assert encode_body({"kubernetes_pods": pods.snapshot()})


def test_texts_that_are_too_long_are_cut_and_counted_once():
    rows = ReferenceRows("kubernetes_containers")
    texts = ("k", "u", "name", "container", "id", "\u20ac" * MAX_TEXT_LENGTH, "1")
    rows.put("k", texts)
    assert (rows.get("k"), rows.cut) == (texts, 0)
    long = (*texts[:5], texts[5] + "x", "v" * 70_000)
    rows.put("k", long)
    kept = (*texts[:6], "v" * MAX_TEXT_LENGTH)
    assert (rows.get("k"), rows.cut) == (kept, 2)
    rows.take_changes()
    rows.put("k", long)
    assert (rows.take_changes(), rows.cut) == (None, 2)
    assert MAX_TEXT_LENGTH * 4 < MAX_STRING_BYTES


def test_a_row_with_a_key_that_is_too_long_is_left_out():
    rows = ReferenceRows("kubernetes_namespaces")
    key = "k" * (MAX_TEXT_LENGTH + 1)
    rows.put(key, (key, "one", "{}"))
    rows.remove(key)
    assert (len(rows), rows.cut, rows.take_changes()) == (0, 1, None)


def test_labels_have_a_bound_of_their_own():
    rows = ReferenceRows("kubernetes_namespaces")
    labels = '{"a":"' + "x" * 30_000 + '"}'
    rows.put("u", ("u", "one", labels))
    assert (rows.get("u"), rows.cut) == (("u", "one", labels), 0)


def test_columns_are_those_of_the_schema():
    rows = namespaces()
    rows.put("v", ("v", "two", "{}"))
    rows.remove("u")
    table = rows.take_changes()
    assert list(table) == [name for name, _ in TABLES["kubernetes_namespaces"]]
    assert len(table) == len(list(table))
    assert table["name"] == ["two", "one"]
    assert table["removed"].tolist() == [False, True]


def test_columns_do_not_change_with_the_rows():
    rows = namespaces()
    table = rows.snapshot()
    rows.put("u", ("u", "two", "{}"))
    assert table["name"] == ["one"]
