"""The reference table of translations."""

import numpy as np

from ebpf_net.collectors.kernel.conntrack import TRANSLATION, Translations
from ebpf_net.collectors.kernel.translations import Table, TranslationTable
from ebpf_net.schema import TRANSLATIONS
from ebpf_net.testing.kernel import address_bytes


def rows(*ids: int) -> Translations:
    made = np.zeros(len(ids), TRANSLATION)
    made["translation_id"] = ids
    for name in ("client", "service", "outer", "server"):
        made[name] = address_bytes("10.0.0.1")
    made["service_port"], made["server_port"], made["protocol"] = 80, 8080, 6
    return made


def told(table: Table) -> list[tuple[int, bool]]:
    return list(zip(table["translation_id"], table["removed"], strict=True))


NOBODY = np.empty(0, np.int64)


def test_columns_are_those_of_the_schema() -> None:
    table = TranslationTable(10)
    table.observe(rows(5))
    columns = table.take_changes()
    assert {name: str(np.asarray(columns[name]).dtype) for name in columns} == dict(
        TRANSLATIONS
    )
    assert columns["service_port"].tolist() == [80]
    assert columns["server_address_low"].tolist() == [0xFFFF_0A00_0001]


def test_each_is_told_once_and_whole_in_a_snapshot() -> None:
    table = TranslationTable(10)
    assert table.observe(rows(7, 5, 7)).all()
    assert sorted(told(table.take_changes())) == [(5, False), (7, False)]
    table.observe(rows(5, 6))
    assert told(table.take_changes()) == [(6, False)]
    assert told(table.snapshot()) == [(5, False), (6, False), (7, False)]


def test_what_is_not_seen_for_some_windows_ends() -> None:
    table = TranslationTable(10, forget_after_windows=2)
    table.observe(rows(5, 6))
    table.sweep(NOBODY)
    table.take_changes()
    table.sweep(np.array([0, 6], np.int64))
    assert told(table.take_changes()) == [(5, True)]
    table.sweep(NOBODY)
    table.observe(rows(6))
    table.sweep(NOBODY)
    assert told(table.snapshot()) == [(6, False)]


def test_one_that_ended_may_come_again() -> None:
    table = TranslationTable(10, forget_after_windows=1)
    table.observe(rows(5))
    table.sweep(NOBODY)
    assert told(table.take_changes()) == [(5, False), (5, True)]
    table.observe(rows(5))
    assert told(table.take_changes()) == [(5, False)]


def test_beyond_the_limit_they_are_counted_and_have_no_row() -> None:
    table = TranslationTable(2)
    assert table.observe(rows(1, 2)).tolist() == [True, True]
    assert table.observe(rows(3, 1, 4)).tolist() == [False, True, False]
    assert table.left_out == 2
    assert len(table) == 2
