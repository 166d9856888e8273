from __future__ import annotations

import struct

import pytest

from ebpf_net.cli.state_file import StateFile, StatePart

MARKS = [("one", "first", 3, [5])]
LATER = [("one", "first", 6, [])]


def whole(data: bytes) -> StatePart:
    return StatePart(data, whole=True)


def change(data: bytes) -> StatePart:
    return StatePart(data, whole=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "reducer.state"


@pytest.fixture
def file(path):
    return StateFile(path)


def read(path):
    restored = StateFile(path).read()
    return restored.watermarks, restored.state


def test_there_is_nothing_before_the_first_state(file):
    assert file.read() is None


def test_changes_come_behind_what_was_whole(file, path):
    file.write(MARKS, [whole(b"all "), change(b"more ")])
    assert read(path) == (MARKS, b"all more ")
    file.write(LATER, [change(b"again")])
    assert read(path) == (LATER, b"all more again")


def test_what_is_whole_replaces_all_before_it(file, path):
    file.write(MARKS, [whole(b"old"), change(b"old")])
    file.write(LATER, [change(b"lost"), whole(b"new"), change(b"er")])
    assert read(path) == (LATER, b"newer")


def test_a_whole_state_is_asked_for_once_at_first(file):
    assert [file.asks_for_whole(), file.asks_for_whole()] == [True, False]
    file.write(MARKS, [whole(b"all")])
    assert not file.asks_for_whole()


def test_a_whole_state_is_asked_for_where_the_file_has_grown(file, path):
    file.write(MARKS, [whole(b"all")])
    for _ in range(8):
        assert not file.asks_for_whole()
        file.write(MARKS, [change(bytes(1 << 20))])
    assert file.asks_for_whole()
    file.write(MARKS, [change(b"on the way before it")])
    assert not file.asks_for_whole()
    file.write(MARKS, [whole(b"all")])
    assert path.stat().st_size < 1000
    assert not file.asks_for_whole()


def test_changes_without_what_they_change_are_not_written(file, path):
    file.write(MARKS, [change(b"more")])
    assert not path.exists()


@pytest.mark.parametrize("missing", range(1, 20))
def test_a_part_that_is_cut_off_is_said_and_not_used(file, path, caplog, missing):
    file.write(MARKS, [whole(b"all")])
    size = path.stat().st_size
    file.write(LATER, [change(b"more")])
    path.write_bytes(path.read_bytes()[:-missing])
    assert read(path) == (MARKS, b"all")
    assert f"the last {path.stat().st_size - size} of" in caplog.text


def test_what_is_behind_a_damaged_part_is_not_used(file, path):
    file.write(MARKS, [whole(b"all")])
    file.write(LATER, [change(b"more")])
    file.write(LATER, [change(b"again")])
    path.write_bytes(path.read_bytes().replace(b"more", b"less"))
    assert read(path) == (MARKS, b"all")


def test_a_damaged_first_part_is_refused(file, path):
    file.write(MARKS, [whole(b"all")])
    path.write_bytes(path.read_bytes().replace(b"all", b"any"))
    with pytest.raises(ValueError, match="first part"):
        file.read()


def test_a_file_that_was_taken_away_is_written_whole_again(file, path, caplog):
    file.asks_for_whole()
    file.write(MARKS, [whole(b"all")])
    path.unlink()
    file.write(LATER, [change(b"more")])
    assert "a restart may count a window twice" in caplog.text
    assert file.asks_for_whole()
    file.write(LATER, [change(b"on the way before it")])
    assert not path.exists()
    file.write(LATER, [whole(b"all more")])
    assert read(path) == (LATER, b"all more")


def test_each_time_that_a_disk_begins_to_refuse_is_told_once(file, path, caplog):
    for _ in range(2):
        file.asks_for_whole()
        file.write(MARKS, [whole(b"all")])
        path.unlink()
        file.write(LATER, [change(b"more")])
        path.mkdir()
        file.write(LATER, [whole(b"all more")])
        path.rmdir()
    assert caplog.text.count("cannot write") == 2


def test_a_file_of_the_former_version_is_read(path):
    marks = b'[["one", "first", 3, [5]]]'
    magic = b"ebpf-net reducer state 2\n"
    path.write_bytes(magic + struct.pack("<I", len(marks)) + marks + b"PK all")
    assert read(path) == (MARKS, b"PK all")
