import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.world.waiting import wait_until

from ebpf_net.collectors.kernel.processes import (
    ProcessTable,
    process_id,
    process_ids,
)

START_FIELD = 21


def own_start_ticks():
    return start_ticks("self")


def start_ticks(pid):
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(") ")[2].split()[START_FIELD - 2])


def own_process():
    return process_id(os.getpid(), own_start_ticks() * 10_000_000 + 9_999_999)


def observe(table, *processes, cgroup_id=7, comm=b"curl"):
    count = len(processes)
    table.observe(
        np.array(processes, np.int64),
        np.full(count, cgroup_id, np.int64),
        np.full(count, comm, "S16"),
    )


def test_the_number_of_a_process_is_its_start_in_ticks_and_its_pid():
    assert process_id(42, 1_234_567_890_123) == 123_456 << 22 | 42
    assert process_id(0, 1_234_567_890_123) == 0
    assert process_ids(
        np.array([42, 0], np.uint32), np.array([10**12, 10**12], np.uint64)
    ).tolist() == [process_id(42, 10**12), 0]


def test_a_process_has_one_row_with_its_program():
    table = ProcessTable()
    observe(table, own_process(), own_process(), 0, comm=b"pytest\0\0junk")
    rows = table.take_changes()
    assert rows["process_id"].tolist() == [own_process()]
    assert rows["pid"].tolist() == [os.getpid()]
    assert rows["cgroup_id"].tolist() == [7]
    assert rows["comm"] == ["pytest"]
    assert rows["executable"] == [os.readlink("/proc/self/exe")]
    assert rows["removed"].tolist() == [False]
    observe(table, own_process())
    assert table.take_changes()["comm"] == []
    assert table.snapshot()["comm"] == ["pytest"]


def test_a_process_that_runs_another_program_has_its_name():
    table = ProcessTable()
    command = ["sh", "-c", "read line; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        file = f"/proc/{child.pid}/exe"
        wait_until(lambda: "python" not in os.readlink(file), 10)
        process = process_id(child.pid, start_ticks(child.pid) * 10_000_000)
        observe(table, process, comm=b"sh")
        shell = table.take_changes()["executable"]
        observe(table, process, comm=b"renamed")
        assert table.take_changes()["comm"] == []
        child.stdin.write(b"\n")
        child.stdin.flush()
        wait_until(lambda: os.readlink(file) not in shell, 10)
        observe(table, process, comm=b"cat")
        rows = table.take_changes()
        assert (rows["comm"], rows["executable"]) == (["cat"], [os.readlink(file)])
        observe(table, process, comm=b"sh")  # by a socket of before
        assert table.take_changes()["comm"] == []


@pytest.mark.parametrize(
    "process",
    [
        process_id(os.getpid(), 5 * 10_000_000),
        process_id(2**22 - 1, 10**12),
    ],
    ids=["another that had the same pid", "a pid that is free"],
)
def test_the_program_of_another_process_is_not_taken(process):
    table = ProcessTable()
    observe(table, process)
    assert table.take_changes()["executable"] == [""]


def test_a_name_that_is_no_text_does_no_harm():
    table = ProcessTable()
    observe(table, 1 << 22 | 5, comm=b"\xff\xfe")
    assert table.take_changes()["comm"] == ["\ufffd\ufffd"]


def test_a_process_ends_some_windows_after_it_was_last_seen():
    table = ProcessTable(forget_after_windows=6)
    observe(table, 1, 2)
    table.take_changes()
    for _ in range(5):
        table.sweep([1])
        assert table.take_changes()["pid"].tolist() == []
    table.sweep([1])
    rows = table.take_changes()
    assert rows["process_id"].tolist() == [2]
    assert rows["removed"].tolist() == [True]
    assert table.snapshot()["process_id"].tolist() == [1]


def test_the_table_is_bounded():
    table = ProcessTable(max_processes=2)
    observe(table, 1, 2)
    table.sweep([1])
    observe(table, 3)
    rows = table.take_changes()
    assert table.snapshot()["process_id"].tolist() == [1, 3]
    assert dict(
        zip(rows["process_id"].tolist(), rows["removed"].tolist(), strict=True)
    ) == {1: False, 2: True, 3: False}
