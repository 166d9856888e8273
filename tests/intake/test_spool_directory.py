import os
import resource
import signal

import pytest

from ebpf_net.errors import BatchError, EnvironmentFault
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.spool_directory import SpoolDirectory, size_on_disk
from ebpf_net.testing.intake import make_batch, make_snapshot


@pytest.fixture
def directory(tmp_path):
    directory = SpoolDirectory(tmp_path / "spool")
    yield directory
    directory.close()


def test_batch_survives_the_way(directory):
    batch = make_batch(3)
    size = directory.write(batch)
    (file,) = directory.files("run-1")
    assert (file.sequence, file.rows, file.size) == (3, 1, size)
    assert directory.read("run-1", 3, 1) == batch


def test_files_come_in_order_of_sequence(directory):
    for sequence in (10, 9, 2):
        directory.write(make_batch(sequence))
    assert [file.sequence for file in directory.files("run-1")] == [2, 9, 10]


def test_incarnations_come_in_order_of_age(directory, tmp_path):
    for name in ("zz", "aa"):
        directory.write(make_batch(1, incarnation=name))
    directory.close()
    again = SpoolDirectory(tmp_path / "spool")
    again.write(make_batch(1, incarnation="mm"))
    assert again.incarnations() == ["zz", "aa", "mm"]
    again.close()
    directory._lock = os.open(os.devnull, os.O_RDONLY)


def test_second_process_is_told(directory, tmp_path):
    with pytest.raises(EnvironmentFault) as caught:
        SpoolDirectory(tmp_path / "spool")
    assert "EBPF_NET_DATA_DIR" in caught.value.hint


def test_files_are_private(directory, tmp_path):
    directory.write(make_batch(1))
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.batch")}
    assert modes == {0o600}
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_file_of_another_batch_is_damaged(directory, tmp_path):
    directory.write(make_batch(1))
    (path,) = tmp_path.rglob("*.batch")
    path.rename(path.with_name(path.name.replace("1-", "2-")))
    with pytest.raises(BatchError):
        directory.read("run-1", 2, 1)


def test_foreign_files_are_left_alone(directory, tmp_path):
    directory.write(make_batch(1))
    lane = next((tmp_path / "spool").glob("*-run-1"))
    (lane / "notes.txt").write_text("hello")
    (tmp_path / "spool" / "other").mkdir()
    assert len(directory.files("run-1")) == 1
    directory.remove("run-1", 1, 1)
    directory.remove_incarnation("run-1")
    assert (lane / "notes.txt").exists()


def test_removed_twice_is_removed(directory):
    directory.write(make_batch(1))
    directory.remove("run-1", 1, 1)
    directory.remove("run-1", 1, 1)
    assert directory.files("run-1") == []


def test_snapshot_is_replaced_whole(directory, tmp_path):
    assert directory.read_snapshot("run-1") is None
    directory.write_snapshot(make_snapshot(1))
    directory.write_snapshot(make_snapshot(5))
    snapshot = directory.read_snapshot("run-1")
    assert snapshot is not None
    assert snapshot.header.sequence == 5
    path = next(tmp_path.rglob("snapshot"))
    path.write_bytes(path.read_bytes()[:-1])
    assert directory.read_snapshot("run-1") is None


def test_part_of_a_batch_is_not_left_behind(directory, tmp_path):
    huge = Batch(make_batch(1).header, b"x" * 300_000, 1)
    limit = os.sysconf("SC_PAGESIZE")
    pid = os.fork()
    if pid == 0:  # a limit on file sizes stands for a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            directory.write(huge)
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(tmp_path.rglob("*.batch")) == []


@pytest.mark.parametrize(("size", "taken"), [(0, 0), (1, 4096), (4097, 8192)])
def test_size_on_disk_is_in_blocks(size, taken):
    assert size_on_disk(size) == taken
