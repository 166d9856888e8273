import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from tests.intake.proxy import FaultyProxy

from ebpf_net.errors import SettingError
from ebpf_net.intake.batch import Batch
from ebpf_net.intake.client import ClientOptions, IntakeClient, Spool, SpoolOptions
from ebpf_net.intake.server import Overloaded, SnapshotNeeded
from ebpf_net.testing.intake import (
    MemorySink,
    encode_tables,
    make_batch,
    make_header,
    make_snapshot,
    make_table,
)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def sequences(sink):
    return [batch.header.sequence for batch in sink.batches]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_snapshot_comes_first_and_batches_in_order(start_server, start_client):
    sink = MemorySink()
    client = start_client(start_server(sink).port)
    for sequence in range(1, 21):
        client.submit(make_batch(sequence))
    assert sink.wait_for_batches(20)
    assert sequences(sink) == list(range(1, 21))
    assert len(sink.snapshots) == 1


def test_committed_batches_are_forgotten(start_server, start_client, tmp_path):
    client = start_client(start_server().port)
    for sequence in range(1, 6):
        client.submit(make_batch(sequence))
    assert client.close(10)
    assert client.status()["spool.batches"] == 0
    assert list(tmp_path.rglob("*.batch")) == []


def test_batches_taken_but_not_committed_stay_and_do_not_delay_the_end(
    start_server, start_client, tmp_path
):
    sink = MemorySink(commit_all=False)
    client = start_client(start_server(sink).port)
    for sequence in (1, 2, 3):
        client.submit(make_batch(sequence))
    started = time.monotonic()
    assert client.close(10)
    assert time.monotonic() - started < 3
    assert sequences(sink) == [1, 2, 3]
    assert len(list(tmp_path.rglob("*.batch"))) == 3


def test_close_waits_for_the_commit_of_what_is_in_memory_only(
    start_server, start_client
):
    sink = MemorySink(commit_all=False)
    client = start_client(start_server(sink).port, spool=Spool(SpoolOptions(None)))
    client.submit(make_batch(1))
    assert sink.wait_for_batches(1)
    threading.Timer(0.3, sink.commit).start()
    started = time.monotonic()
    assert client.close(10)
    assert 0.2 < time.monotonic() - started < 3


def test_close_without_a_reducer_keeps_to_its_time(start_client, tmp_path):
    client = start_client(free_port())
    client.submit(make_batch(1))
    started = time.monotonic()
    assert not client.close(0.3)
    assert time.monotonic() - started < 1.5
    assert len(list(tmp_path.rglob("*.batch"))) == 1


def test_submit_does_not_wait_for_a_dead_reducer(start_client):
    client = start_client(free_port())
    started = time.monotonic()
    for sequence in range(1, 101):
        client.submit(make_batch(sequence))
    assert time.monotonic() - started < 1
    assert client.status()["spool.batches"] == 100


def test_batch_says_what_is_gone_before_it(start_server, start_client):
    sink = MemorySink(commit_all=False)
    client = start_client(start_server(sink).port)
    client.submit(make_batch(1))
    client.submit(make_batch(2))
    client.submit(Batch(make_header(3), b"no frame", 1))
    client.submit(make_batch(4))
    assert sink.wait_for_batches(3)
    with sink.changed:
        sink.ledger.commit("node-1", "run-1", 1)
    client.submit(make_batch(5))
    assert sink.wait_for_batches(4)
    wait_until(lambda: client.status()["spool.batches"] == 3)
    client.submit(make_batch(6))
    assert sink.wait_for_batches(5)
    said = [(b.header.settled, b.header.previous) for b in sink.batches]
    assert said == [(0, 0), (0, 1), (0, 2), (0, 4), (1, 5)]
    assert sink.ledger.received("node-1", "run-1") == 6


def test_another_reducer_gets_a_snapshot_and_what_was_not_committed(
    start_server, start_client
):
    first = MemorySink(reducer="first", commit_all=False)
    server = start_server(first)
    client = start_client(server.port)
    for sequence in range(1, 7):
        client.submit(make_batch(sequence))
    assert first.wait_for_batches(6)
    with first.changed:
        first.ledger.commit("node-1", "run-1", 4)
    client.submit(make_batch(7))
    assert first.wait_for_batches(7)
    wait_until(lambda: client.status()["spool.batches"] == 3)
    server.close()
    second = MemorySink(reducer="second")
    start_server(second, port=server.port)
    client.submit(make_batch(8))
    assert second.wait_for_batches(4)
    assert sequences(second) == [5, 6, 7, 8]
    assert len(second.snapshots) == 1
    assert second.snapshots[0].header.settled == 4
    assert client.status()["client.resent"] >= 3


def test_same_reducer_after_a_cut_gets_nothing_twice(start_server, start_client):
    sink = MemorySink(commit_all=False)
    server = start_server(sink)
    client = start_client(server.port)
    client.submit(make_batch(1))
    assert sink.wait_for_batches(1)
    server.close()
    start_server(sink, port=server.port)
    client.submit(make_batch(2))
    assert sink.wait_for_batches(2)
    assert sequences(sink) == [1, 2]
    assert sink.ledger.duplicates == 0


def test_predecessors_batches_come_first_under_their_own_name(
    start_server, start_client, tmp_path
):
    first = start_client(free_port())
    for sequence in (1, 2, 3):
        first.submit(make_batch(sequence))
    wait_until(lambda: len(list(tmp_path.rglob("*.batch"))) == 3)
    first.close(0)
    sink = MemorySink()
    second = start_client(
        start_server(sink).port,
        snapshot=lambda: make_snapshot(incarnation="run-2"),
    )
    second.submit(make_batch(1, incarnation="run-2"))
    assert sink.wait_for_batches(4)
    names = [(b.header.incarnation, b.header.sequence) for b in sink.batches]
    assert names == [("run-1", 1), ("run-1", 2), ("run-1", 3), ("run-2", 1)]
    assert [s.header.incarnation for s in sink.snapshots] == ["run-1", "run-2"]
    assert sink.snapshots[0].tables["hosts"].num_rows == 1


def test_predecessors_commit_is_asked_for(start_server, start_client, tmp_path):
    first = start_client(free_port())
    first.submit(make_batch(1))
    wait_until(lambda: list(tmp_path.rglob("*.batch")))
    first.close(0)
    sink = MemorySink(commit_all=False)
    second = start_client(start_server(sink).port)
    assert sink.wait_for_batches(1)
    with sink.changed:
        sink.commit()
    wait_until(lambda: second.status()["spool.batches"] == 0)
    assert sink.ledger.duplicates == 0


def test_damaged_batch_of_a_predecessor_is_left_out(
    start_server, start_client, tmp_path
):
    first = start_client(free_port())
    for sequence in (1, 2, 3):
        first.submit(make_batch(sequence))
    wait_until(lambda: len(list(tmp_path.rglob("*.batch"))) == 3)
    first.close(0)
    victim = sorted(tmp_path.rglob("*.batch"))[1]
    victim.write_bytes(victim.read_bytes()[:-1])
    sink = MemorySink()
    second = start_client(start_server(sink).port)
    assert second.close(10)
    assert sequences(sink) == [1, 3]
    assert second.status()["lost.spool_damaged"] == 1
    assert sink.ledger.received("node-1", "run-1") == 3


@pytest.mark.parametrize(
    "body",
    [b"no frame", encode_tables({"edges": make_table("edges", [{"role": 9}])})],
)
def test_batch_refused_for_good_is_dropped_and_the_next_goes_on(
    start_server, start_client, body
):
    sink = MemorySink()
    client = start_client(start_server(sink).port)
    client.submit(make_batch(1))
    client.submit(Batch(make_header(2), body, rows=5))
    client.submit(make_batch(3))
    assert sink.wait_for_batches(2)
    assert client.close(10)
    assert sequences(sink) == [1, 3]
    status = client.status()
    assert (status["lost.refused"], status["lost.refused_rows"]) == (1, 5)


def test_snapshot_refused_for_good_does_not_hold_up_the_windows(
    start_server, start_client
):
    sink = MemorySink()
    bad = Batch(make_snapshot().header, b"no frame", 0)
    client = start_client(start_server(sink).port, snapshot=lambda: bad)
    client.submit(make_batch(1))
    assert sink.wait_for_batches(1)


def test_faulty_snapshot_maker_is_survived(start_server, start_client, caplog):
    sink = MemorySink()
    faults = [ZeroDivisionError(), ZeroDivisionError()]

    def snapshot():
        if faults:
            raise faults.pop()
        return make_snapshot()

    client = start_client(start_server(sink).port, snapshot=snapshot)
    client.submit(make_batch(1))
    assert sink.wait_for_batches(1)
    assert "goes on after a fault" in caplog.text


class BusySink(MemorySink):
    """Says once that it is overloaded."""

    def __init__(self):
        super().__init__()
        self.times = []

    def accept(self, batch, received_ns, sent_ns):
        self.times.append(time.monotonic())
        if len(self.times) == 1:
            raise Overloaded(1)
        return super().accept(batch, received_ns, sent_ns)


def test_retry_after_is_honoured(start_server, start_client):
    sink = BusySink()
    client = start_client(start_server(sink).port)
    client.submit(make_batch(1))
    assert sink.wait_for_batches(1)
    assert sink.times[1] - sink.times[0] >= 1


def test_wrong_token_is_retried_slowly_and_logged_once(
    start_server, start_client, tmp_path, caplog
):
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("right")
    wrong.write_text("wrong")
    sink = MemorySink()
    server = start_server(sink, token_file=right)
    client = start_client(server.port, token_file=wrong, refused_backoff_seconds=0.05)
    with caplog.at_level(logging.WARNING, "ebpf_net.intake.client"):
        client.submit(make_batch(1))
        wait_until(lambda: client.status()["client.failures"] >= 4)
    ours = [one for one in caplog.records if one.name == "ebpf_net.intake.client"]
    assert len(ours) == 1
    assert "401" in ours[0].getMessage()
    wrong.write_text("right")
    assert sink.wait_for_batches(1)


class AllergicSink(MemorySink):
    """Has a fault that one batch brings out."""

    def accept(self, batch, received_ns, sent_ns):
        if batch.header.sequence == 2:
            raise ZeroDivisionError
        return super().accept(batch, received_ns, sent_ns)


def test_batch_that_the_reducer_fails_at_does_not_block_for_ever(
    start_server, start_client
):
    sink = AllergicSink()
    client = start_client(start_server(sink).port, max_backoff_seconds=0.01)
    for sequence in (1, 2, 3):
        client.submit(make_batch(sequence))
    assert sink.wait_for_batches(2)
    assert sequences(sink) == [1, 3]
    assert client.status()["lost.refused"] == 1
    assert client.status()["client.failures"] == 29


class ForgetfulSink(MemorySink):
    def accept(self, batch, received_ns, sent_ns):
        if batch.tables["edges"].num_rows:
            self.snapshots.append(batch)
            raise SnapshotNeeded
        return super().accept(batch, received_ns, sent_ns)


def test_endless_demand_for_snapshots_is_no_busy_loop(start_server, start_client):
    sink = ForgetfulSink()
    client = start_client(
        start_server(sink).port, backoff_seconds=0.2, max_backoff_seconds=0.2
    )
    client.submit(make_batch(1))
    wait_until(lambda: client.status()["client.failures"] >= 3)
    assert client.status()["client.snapshots"] <= 8


def test_wrong_tls_file_is_told_at_once(tmp_path):
    options = ClientOptions(tls=True, tls_ca=tmp_path / "missing.pem")
    with pytest.raises(SettingError):
        IntakeClient(options, Spool(SpoolOptions()), make_snapshot)


@pytest.mark.parametrize("seed", range(4))
def test_totals_are_exact_over_a_faulty_network(seed, start_server, start_client):
    """Lost and repeated requests, lost replies, delays, and old copies much later."""
    sink = MemorySink()
    proxy = FaultyProxy(start_server(sink).port, seed)
    try:
        client = start_client(proxy.own_port)
        for sequence in range(1, 201):
            client.submit(make_batch(sequence, bytes_sent=sequence))
        assert sink.wait_for_batches(200, timeout=60)
        assert client.close(20)
    finally:
        proxy.close()
    assert sequences(sink) == list(range(1, 201))
    assert sink.bytes_sent() == 200 * 201 // 2
    assert all(proxy.counts[kind] for kind in ("lose_reply", "repeat", "keep", "old"))
    assert client.status()["lost.refused"] == 0


class CommittedTotals:
    """What reducers have exported: survives them, as their receivers do."""

    def __init__(self):
        self.total = 0
        self.batches = 0


class MortalSink(MemorySink):
    """Exports and commits at every third batch; what is in between dies with it."""

    def __init__(self, reducer, totals):
        super().__init__(reducer=reducer, commit_all=False)
        self.totals = totals
        self.exported = 0

    def accept(self, batch, received_ns, sent_ns):
        receipt = super().accept(batch, received_ns, sent_ns)
        with self.changed:
            if len(self.batches) - self.exported >= 3:
                self.export()
        return receipt

    def export(self):
        with self.changed:
            for batch in self.batches[self.exported :]:
                self.totals.total += sum(
                    batch.tables["edges"]["bytes_sent"].to_pylist()
                )
                self.totals.batches += 1
            self.exported = len(self.batches)
            self.commit()


def test_totals_are_exact_over_restarts_of_the_reducer(start_server, start_client):
    """The next reducer has the watermarks of the last, as after a crash."""
    totals = CommittedTotals()
    sink = MortalSink("reducer-0", totals)
    server = start_server(sink)
    proxy = FaultyProxy(server.port, seed=11, faults=0.2)
    client = start_client(proxy.own_port)
    try:
        for sequence in range(1, 301):
            client.submit(make_batch(sequence, bytes_sent=sequence))
            if sequence % 50 == 0:
                assert sink.wait_for_batches(5)
                server.close()
                successor = MortalSink(f"reducer-{sequence}", totals)
                successor.ledger.restore(sink.ledger.watermarks())
                sink = successor
                server = start_server(sink)
                proxy.port = server.port
        wait_until(lambda: sink.ledger.received("node-1", "run-1") == 300)
        sink.export()
        assert client.close(20)
    finally:
        proxy.close()
    assert totals.batches == 300
    assert totals.total == 300 * 301 // 2


_COLLECTOR = """
import sys
from pathlib import Path
from ebpf_net.intake.client import ClientOptions, IntakeClient, Spool, SpoolOptions
from ebpf_net.testing.intake import make_batch, make_snapshot
port, directory, incarnation = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
spool = Spool(SpoolOptions(directory))
client = IntakeClient(
    ClientOptions(port=port, backoff_seconds=0.01, poll_seconds=0.02),
    spool,
    lambda: make_snapshot(incarnation=incarnation),
)
sequence = 0
for line in sys.stdin:
    sequence += 1
    client.submit(make_batch(sequence, int(line), incarnation=incarnation))
    spool.write()  # as the thread does a moment later
    print(sequence, flush=True)
"""


def test_kill_of_the_collector_loses_nothing_that_was_written(start_server, tmp_path):
    sink = MemorySink()
    server = start_server(sink)
    total = 0
    for run in range(3):
        arguments = [str(server.port), str(tmp_path / "spool"), f"run-{run}"]
        collector = subprocess.Popen(
            [sys.executable, "-c", _COLLECTOR, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert collector.stdin is not None
        assert collector.stdout is not None
        if run == 1:
            server.close()  # nobody takes what the second one has
        for number in range(1, 21):
            collector.stdin.write(f"{number}\n")
            collector.stdin.flush()
            assert collector.stdout.readline()
            total += number
        if run == 1:
            server = start_server(sink, port=server.port)
        if run == 2:
            wait_until(lambda: len(sink.batches) == 60)
        os.kill(collector.pid, signal.SIGKILL)
        collector.communicate()
    assert sink.bytes_sent() == total


def test_client_is_light():
    """The collector's process has neither Arrow's own library nor the server's."""
    code = "import sys, ebpf_net.intake.client; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    heavy = {"pyarrow", "duckdb", "numpy", "uvicorn", "starlette", "asyncio"}
    assert not heavy & set(output.split())
