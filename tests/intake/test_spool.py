import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ebpf_net.errors import EnvironmentFault
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.spool import Spool, SpoolOptions
from ebpf_net.testing.intake import make_header, make_snapshot


def make(sequence, size=100, rows=1, incarnation="run-1"):
    header = make_header(sequence, incarnation=incarnation)
    return Batch(header, bytes([sequence % 256]) * size, rows)


def lost(spool, reason):
    counters = spool.counters()
    return counters[f"lost.{reason}"], counters[f"lost.{reason}_rows"]


def drain(spool, incarnation="run-1"):
    found, after = [], 0
    while (batch := spool.next(incarnation, after)) is not None:
        after = batch.header.sequence
        found.append(after)
    return found


@pytest.fixture
def options(tmp_path):
    return SpoolOptions(tmp_path / "spool")


@pytest.fixture
def open_spool():
    spools = []

    def open_one(options):
        spools.append(Spool(options))
        return spools[-1]

    yield open_one
    for spool in spools:
        spool.close()


def test_batches_come_in_order_until_committed(options, open_spool):
    spool = open_spool(options)
    for sequence in (1, 2, 3):
        spool.add(make(sequence))
    assert drain(spool) == [1, 2, 3]
    spool.commit("run-1", 2)
    assert drain(spool) == [3]
    assert spool.settled("run-1") == 2
    spool.commit("run-1", 3)
    assert spool.incarnations() == []
    assert (spool.settled("run-1"), spool.last("run-1")) == (3, 3)
    assert spool.counters()["spool.memory_bytes"] == 0


def test_written_batches_need_no_memory(tmp_path, open_spool):
    spool = open_spool(SpoolOptions(tmp_path, memory_bytes=10_000))
    for sequence in range(1, 21):
        spool.add(make(sequence, size=4_000))
        assert spool.write()
    assert spool.counters()["spool.memory_bytes"] <= 10_000
    assert [spool.next("run-1", n).body for n in range(20)] == [
        make(n + 1, size=4_000).body for n in range(20)
    ]
    assert lost(spool, "spool_full") == (0, 0)


def test_files_go_with_the_commit(options, open_spool, tmp_path):
    spool = open_spool(options)
    for sequence in (1, 2, 3):
        spool.add(make(sequence))
    spool.write()
    assert len(list(tmp_path.rglob("*.batch"))) == 3
    spool.commit("run-1", 2)
    assert len(list(tmp_path.rglob("*.batch"))) == 1
    assert spool.counters()["spool.disk_bytes"] == 4096


def test_successor_finds_what_was_left(options, open_spool):
    first = open_spool(options)
    first.add(make(1))
    first.add(make(2))
    first.commit("run-1", 1)
    first.close()
    second = open_spool(options)
    second.add(make(1, incarnation="run-2"))
    assert second.incarnations() == ["run-1", "run-2"]
    assert second.is_finished("run-1")
    assert not second.is_finished("run-2")
    assert second.next("run-1", 0) == make(2)
    assert second.settled("run-1") == 1
    second.commit("run-1", 2)
    assert second.incarnations() == ["run-2"]


def test_clean_end_leaves_no_files(options, open_spool, tmp_path):
    spool = open_spool(options)
    spool.add(make(1))
    spool.write()
    spool.keep_snapshot(make_snapshot(1))
    spool.commit("run-1", 1)
    spool.close()
    assert [path.name for path in tmp_path.rglob("*")] == ["spool", "lock"]


def test_memory_alone_drops_the_oldest(open_spool):
    spool = open_spool(SpoolOptions(None, memory_bytes=20_000))
    for sequence in range(1, 8):
        spool.add(make(sequence, size=4_000, rows=10))
    assert drain(spool) == [5, 6, 7]
    assert lost(spool, "spool_full") == (4, 40)
    assert not spool.write()


def test_one_batch_over_the_limit_is_kept(open_spool):
    spool = open_spool(SpoolOptions(None, memory_bytes=10))
    spool.add(make(1))
    assert drain(spool) == [1]


def test_disk_limit_drops_the_oldest(tmp_path, open_spool):
    spool = open_spool(SpoolOptions(tmp_path, disk_bytes=3 * 4096))
    for sequence in range(1, 6):
        spool.add(make(sequence, rows=7))
        spool.write()
    assert drain(spool) == [3, 4, 5]
    assert lost(spool, "spool_full") == (2, 14)
    assert len(list(tmp_path.rglob("*.batch"))) == 3


def test_batch_larger_than_the_disk_limit_stays_in_memory(tmp_path, open_spool):
    spool = open_spool(SpoolOptions(tmp_path, disk_bytes=3 * 4096))
    spool.add(make(1))
    spool.add(make(2, size=50_000))
    spool.add(make(3))
    assert spool.write()
    assert drain(spool) == [1, 2, 3]


def test_number_of_batches_is_bounded(open_spool):
    spool = open_spool(SpoolOptions(None, max_batches=2))
    for sequence in (1, 2, 3):
        spool.add(make(sequence))
    assert drain(spool) == [2, 3]


def test_dropped_batch_that_was_taken_is_lost_only_with_that_reducer(open_spool):
    spool = open_spool(SpoolOptions(None, max_batches=2))
    for sequence in (1, 2):
        spool.add(make(sequence))
    spool.take("run-1", 2)
    for sequence in (3, 4):
        spool.add(make(sequence))
    assert spool.counters()["lost.spool_full"] == 0
    spool.commit("run-1", 1)
    spool.take("run-1", 0)  # another reducer, which has none of them
    assert spool.counters()["lost.spool_full"] == 1
    assert spool.counters()["lost.spool_full_rows"] == 1


def test_refused_batch_is_counted(options, open_spool):
    spool = open_spool(options)
    spool.add(make(1, rows=9))
    spool.add(make(2))
    spool.refuse("run-1", 1)
    assert drain(spool) == [2]
    assert lost(spool, "refused") == (1, 9)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "spool-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk_keeps_batches_in_memory(small_disk, open_spool):
    spool = open_spool(SpoolOptions(small_disk / "spool", memory_bytes=20_000))
    for sequence in (1, 2):
        spool.add(make(sequence, size=4_000))
        assert spool.write()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(64 << 10))
    for sequence in range(3, 9):
        spool.add(make(sequence, size=4_000))
        assert not spool.write()
    assert drain(spool) == [1, 2, 6, 7, 8]
    assert lost(spool, "spool_full") == (3, 3)
    filler.unlink()
    spool.commit("run-1", 6)
    assert spool.write()
    assert drain(spool) == [7, 8]
    assert len(list(small_disk.rglob("*.batch"))) == 2


def test_directory_that_is_removed_is_made_anew(options, open_spool, tmp_path):
    spool = open_spool(options)
    spool.add(make(1))
    spool.write()
    shutil.rmtree(tmp_path / "spool")
    spool.add(make(2))
    assert spool.write()
    assert len(list(tmp_path.rglob("*.batch"))) == 1


def test_unusable_directory_leaves_memory(tmp_path, open_spool):
    (tmp_path / "file").write_text("")
    spool = open_spool(SpoolOptions(tmp_path / "file" / "spool"))
    spool.add(make(1))
    assert not spool.write()
    spool.keep_snapshot(make_snapshot(1))
    assert spool.snapshot("run-1") is None
    assert drain(spool) == [1]


def test_closed_spool_gives_what_memory_has_and_no_more(tmp_path, open_spool):
    spool = open_spool(SpoolOptions(tmp_path, memory_bytes=3_000))
    for sequence in (1, 2):
        spool.add(make(sequence))
        spool.write()
    spool.close()
    assert spool.next("run-1", 0) is None
    assert spool.next("run-1", 1) == make(2)


def test_second_collector_is_told(options, open_spool):
    open_spool(options)
    with pytest.raises(EnvironmentFault):
        Spool(options)


def test_commit_while_it_is_written_leaves_no_file(options, open_spool, tmp_path):
    spool = open_spool(options)
    spool.add(make(1))
    spool.commit("run-1", 1)
    assert spool.write()
    assert list(tmp_path.rglob("*.batch")) == []


def test_same_batch_added_twice_is_kept_once(options, open_spool):
    spool = open_spool(options)
    spool.add(make(1))
    spool.add(make(1))
    assert spool.counters()["spool.batches"] == 1


def test_snapshot_is_there_for_the_successor(options, open_spool):
    first = open_spool(options)
    first.add(make(1))
    first.keep_snapshot(make_snapshot(1))
    first.close()
    second = open_spool(options)
    assert second.snapshot("run-1") == make_snapshot(1)


def test_snapshot_that_a_close_overtakes_is_let_go(options, open_spool):
    spool = open_spool(options)
    lock = spool._write_lock

    class CloseFirst:
        def __enter__(self):
            spool._write_lock = lock
            spool.close()

        def __exit__(self, *_):
            pass

    spool._write_lock = CloseFirst()
    spool.keep_snapshot(make_snapshot(1))
    assert open_spool(options).snapshot("run-1") is None


def test_damage_costs_exactly_the_damaged_batches(tmp_path):
    """1000 seeded cases of flipped bits and cut files among 8 batches."""
    chance = random.Random(7)
    template = tmp_path / "template"
    first = Spool(SpoolOptions(template))
    for sequence in range(1, 9):
        first.add(make(sequence, rows=sequence))
    first.close()
    for case in range(1000):
        path = tmp_path / f"case-{case}"
        shutil.copytree(template, path)
        files = sorted(path.rglob("*.batch"))
        victims = set(chance.sample(range(8), chance.randint(1, 3)))
        for victim in victims:
            damage(files[victim], chance)
        spool = Spool(SpoolOptions(path))
        expected = [n + 1 for n in range(8) if n not in victims]
        assert drain(spool) == expected
        rows = sum(n + 1 for n in victims)
        assert lost(spool, "spool_damaged") == (len(victims), rows)
        spool.commit("run-1", 8)
        assert list(path.rglob("*.batch")) == []
        spool.close()
        shutil.rmtree(path)


def damage(path, chance):
    content = bytearray(path.read_bytes())
    if chance.random() < 0.5:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        del content[chance.randrange(len(content)) :]
    path.write_bytes(content)


class SpoolMachine(RuleBasedStateMachine):
    """The spool against a list, with restarts that are clean or a ``kill -9``."""

    LIMIT = 6 * 4096

    def __init__(self):
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.number = 0
        self.written = []  # (incarnation, sequence): on disk
        self.pending = []  # in memory only
        self.dropped = 0
        self.restart()

    def restart(self):
        self.number += 1
        self.incarnation = f"run-{self.number}"
        self.sequence = 0
        self.dropped = 0
        self.spool = Spool(SpoolOptions(self.path, 1 << 20, self.LIMIT))

    def held(self):
        order = self.written + self.pending
        return sorted(order, key=lambda key: (int(key[0][4:]), key[1]))

    @rule()
    def add(self):
        self.sequence += 1
        self.spool.add(make(self.sequence, incarnation=self.incarnation))
        self.pending.append((self.incarnation, self.sequence))

    @rule()
    def write(self):
        assert self.spool.write()
        for key in self.pending:
            while len(self.written) + 1 > self.LIMIT // 4096:
                self.written.pop(0)
                self.dropped += 1
            self.written.append(key)
        self.pending = []

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def commit(self, data):
        incarnation, sequence = data.draw(st.sampled_from(self.held()))
        self.spool.commit(incarnation, sequence)
        for keys in (self.written, self.pending):
            keys[:] = [k for k in keys if k[0] != incarnation or k[1] > sequence]

    @rule()
    def stop_and_start(self):
        self.write()
        self.spool.close()
        self.restart()

    @rule()
    def kill_and_start(self):
        self.pending = []
        assert self.spool._directory is not None
        self.spool._directory.close()
        self.spool._directory = None
        self.restart()

    @invariant()
    def holds_what_the_model_holds(self):
        found = [
            (incarnation, sequence)
            for incarnation in self.spool.incarnations()
            for sequence in drain(self.spool, incarnation)
        ]
        assert found == self.held()
        counters = self.spool.counters()
        assert counters["lost.spool_full"] == self.dropped
        assert counters["lost.spool_damaged"] == 0
        assert counters["spool.batches"] == len(found)
        assert counters["spool.disk_bytes"] == 4096 * len(self.written)

    def teardown(self):
        self.spool.close()
        shutil.rmtree(self.path)


SpoolMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestSpoolMachine = SpoolMachine.TestCase
