import threading
from dataclasses import replace

import pytest
from tests.world.metadata_service import Gcp, metadata_server
from tests.world.waiting import wait_until

from ebpf_net.collectors.hosts import Host, HostLabels
from ebpf_net.collectors.kernel.collector import (
    CollectorOptions,
    KernelCollector,
    collector_id,
)
from ebpf_net.collectors.kernel.instance_metadata_choice import (
    InstanceMetadataOptions,
)
from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.decode import decode_tables
from ebpf_net.testing.kernel import (
    SECOND_NS,
    ReplayedSource,
    TurnedClock,
    tcp_records,
    udp_records,
)

OPENED, CLOSED = 1, 4
START_NS = 1_700_000_001 * SECOND_NS  # 1 s after a boundary of 10 s
HOST = Host(
    host_id="web-1",
    host_name="web-1.example",
    machine_id="0123456789abcdef0123456789abcdef",
    boot_id="c0ffee",
    kernel_release="6.18",
    architecture="x86_64",
    labels=HostLabels(),
)


class Run:
    """A collector over replayed records that stops after some batches."""

    def __init__(self, tmp_path, batches=3, **options):
        (tmp_path / "cgroup.controllers").touch()
        self.clock = TurnedClock(START_NS)
        self.source = ReplayedSource(self.clock)
        self.batches = []
        self._stop_after = batches
        self.options = CollectorOptions(host=HOST, cgroup_root=tmp_path, **options)
        self.collector = KernelCollector(
            self.source, self.clock, self.options, self.receive
        )

    def receive(self, batch):
        self.batches.append(batch)
        self.on_batch(len(self.batches))
        if len(self.batches) == self._stop_after:
            self.collector.stop()

    def on_batch(self, count):
        """What a test does between windows."""

    def tables(self, number):
        return decode(self.batches[number].body)

    def header(self, number):
        return self.batches[number].header


@pytest.fixture
def make_run(tmp_path):
    return lambda *args, **options: Run(tmp_path, *args, **options)


def decode(body):
    """Decode as the intake does, which checks every value."""
    return {
        name: table.to_pydict()
        for name, table in decode_tables(body).items()
        if table.num_rows or name == "edges"
    }


def test_the_first_window_is_short_and_the_others_end_at_multiples(make_run):
    run = make_run(4)
    run.collector.run()
    times = [
        (batch.header.window_start_ns - START_NS, batch.header.window_end_ns - START_NS)
        for batch in run.batches
    ]
    assert times == [
        (0, SECOND_NS // 2),
        (SECOND_NS // 2, 9 * SECOND_NS),
        (9 * SECOND_NS, 19 * SECOND_NS),
        (19 * SECOND_NS, 29 * SECOND_NS),
        (29 * SECOND_NS, 29 * SECOND_NS),
    ]


def test_batches_are_numbered_and_say_whose_they_are(make_run):
    run = make_run()
    run.collector.run()
    headers = [batch.header for batch in run.batches]
    assert [header.sequence for header in headers] == [1, 2, 3, 4]
    assert {header.collector for header in headers} == {collector_id(run.options)}
    assert len({header.incarnation for header in headers}) == 1
    assert {header.host for header in headers} == {"web-1"}
    assert all(header.kind is BatchKind.WINDOW for header in headers)
    assert all(header.last_of_window for header in headers)


def test_each_start_is_an_incarnation(make_run):
    runs = [make_run(), make_run()]
    for run in runs:
        run.collector.run()
    assert runs[0].header(0).incarnation != runs[1].header(0).incarnation
    assert runs[0].header(0).collector == runs[1].header(0).collector


def test_filters_make_another_collector():
    options = CollectorOptions(host=HOST)
    filtered = replace(options, include_cgroup=("/a",))
    assert collector_id(options).startswith("0123456789ab-")
    assert collector_id(options) != collector_id(filtered)


def test_records_of_ring_scan_and_udp_are_in_their_window(make_run):
    run = make_run(2)
    run.source.ring.append(tcp_records({"bytes_sent": 3, "flags": OPENED}))
    run.source.scans.append(tcp_records({"bytes_sent": 4}))
    run.source.scans.append(tcp_records({"bytes_sent": 50, "flags": CLOSED}))
    run.source.udp.append(udp_records({"bytes_received": 600}))
    run.collector.run()
    first, second = run.tables(0)["edges"], run.tables(1)["edges"]
    assert first["bytes_sent"] == [7, 0]
    assert first["bytes_received"] == [0, 600]
    assert first["open"] == [1, 1]
    assert second["bytes_sent"] == [50]
    assert second["open"] == [0]


def test_stopping_hands_over_what_the_kernel_still_has(make_run):
    run = make_run(1)
    run.on_batch = lambda count: run.source.scans.append(tcp_records({"bytes_sent": 9}))
    run.collector.run()
    assert len(run.batches) == 2
    assert run.tables(1)["edges"]["bytes_sent"] == [9]


def test_references_come_with_the_first_rows_that_speak_of_them(make_run):
    run = make_run(2)
    run.source.scans.append(tcp_records({"comm": b"curl"}))
    run.collector.run()
    first = run.tables(0)
    assert first["hosts"]["host_id"] == ["web-1"]
    assert first["processes"]["comm"] == ["curl"]
    assert first["processes"]["process_id"] == first["edges"]["process_id"]
    assert list(run.tables(1)) == ["edges"]


def test_a_snapshot_has_all_references(make_run):
    run = make_run(2)
    run.source.scans.append(tcp_records({"comm": b"curl"}))
    run.collector.run()
    batch = run.collector.snapshot()
    assert batch.header.kind is BatchKind.SNAPSHOT
    assert batch.header.sequence == 3
    tables = decode(batch.body)
    assert tables["hosts"]["host_id"] == ["web-1"]
    assert tables["processes"]["comm"] == ["curl"]
    assert batch.rows == 2


def test_snapshots_may_be_taken_by_another_thread_at_any_time(make_run):
    run = make_run(40)
    errors, done = [], threading.Event()

    def take():
        while not done.is_set():
            try:
                decode(run.collector.snapshot().body)
            except Exception as error:  # noqa: BLE001 - told to the test
                errors.append(error)
                return

    for number in range(40):
        run.source.scans.append(
            tcp_records(*({"pid": 100 * number + pid} for pid in range(1, 90)))
        )
    thread = threading.Thread(target=take)
    thread.start()
    run.collector.run()
    done.set()
    thread.join()
    assert errors == []
    assert len(run.batches) == 41


def test_status_tells_signals_losses_and_what_was_left_out(make_run):
    run = make_run(1, leave_out_loopback=True)
    loopback = {"local_address": "127.0.0.1", "remote_address": "127.0.0.53"}
    run.source.scans.append(
        tcp_records(
            loopback,
            {"local_address": "::1", "remote_address": "::1"},
            {"local_address": "127.0.0.1", "remote_address": "10.0.0.2"},
        )
    )
    run.source.lost["udp_map_full"] = 12
    run.collector.run()
    assert run.header(0).status == {
        "lost.ring_full": 0,
        "lost.storage_full": 0,
        "lost.udp_map_full": 12,
        "lost.overflow_records": 0,
        "signal.tcp.tp_btf": 1,
        "signal.drop_reasons.none": 0,
        "filtered.records": 2,
        "clock.steps": 0,
        **{
            f"{runtime}.{what}": 0
            for runtime in ("docker", "containerd", "crio", "podman")
            for what in ("failures", "dropped", "cut")
        },
        "lost.containerd_namespaces_limit": 0,
    }
    assert len(run.tables(0)["edges"]["open"]) == 1


def test_open_connections_are_counted_anew_after_a_loss(make_run):
    run = make_run(2)
    run.source.scans.append(
        tcp_records({"cookie": 1, "flags": OPENED}, {"cookie": 2, "flags": OPENED})
    )

    def lose_a_close(count):
        run.source.lost["ring_full"] = 1
        run.source.recount = tcp_records({"cookie": 2, "flags": 32})

    run.on_batch = lose_a_close
    run.collector.run()
    assert run.tables(0)["edges"]["open"] == [2]
    assert run.tables(1)["edges"]["open"] == [1]


@pytest.mark.parametrize("step_seconds", [-3600, -7, 3600])
def test_a_clock_step_ends_the_window_and_loses_nothing(make_run, step_seconds):
    run = make_run(4)
    for number in range(6):
        run.source.scans.append(tcp_records({"bytes_sent": 10**number}))

    def step_once(count):
        if count == 2:
            run.clock.step(step_seconds * SECOND_NS)

    run.on_batch = step_once
    run.collector.run()
    sent = [table["edges"]["bytes_sent"][0] for table in map(run.tables, range(5))]
    assert sent == [1, 10, 100, 1000, 10_000]
    stepped, after = run.header(2), run.header(3)
    now_ns = START_NS + (9 + step_seconds) * SECOND_NS
    assert (stepped.window_start_ns, stepped.window_end_ns) == (now_ns, now_ns)
    assert after.window_start_ns == now_ns
    assert after.window_end_ns % (10 * SECOND_NS) == 0
    assert 0 < after.window_end_ns - now_ns <= 10 * SECOND_NS
    assert [batch.header.status["clock.steps"] for batch in run.batches] == [
        0, 0, 1, 1, 1,
    ]  # fmt: skip


def test_a_large_window_is_sent_in_parts(make_run, monkeypatch):
    monkeypatch.setattr("ebpf_net.collectors.kernel.collector.MAX_BATCH_ROWS", 2)
    run = make_run(3)
    run.source.scans.append(
        tcp_records(*({"remote_port": port} for port in range(1, 6)))
    )
    run.collector.run()
    assert [batch.header.last_of_window for batch in run.batches[:3]] == [
        False, False, True,
    ]  # fmt: skip
    assert [run.tables(part)["edges"]["remote_port"] for part in range(3)] == [
        [1, 2], [3, 4], [5],
    ]  # fmt: skip
    assert len({batch.header.window_end_ns for batch in run.batches[:3]}) == 1


def test_what_the_instance_knows_of_itself_is_told_when_it_is_known(make_run):
    with metadata_server(Gcp()) as server:
        options = InstanceMetadataOptions(
            "gcp", hosts=("127.0.0.1",), port=server.port, notice_seconds=3600
        )
        run = make_run(2, instance_metadata=options)
        run.on_batch = lambda count: wait_until(lambda: len(server.asked) == 10, 10)
        run.collector.run()
    told = [
        row
        for batch in run.batches
        for row in decode(batch.body).get("cloud_instances", {}).get("instance_key", [])
    ]
    assert told == ["gcp/4520031799277581759"]
    whole = decode(run.collector.snapshot().body)
    assert whole["cloud_instances"]["zone_id"] == ["europe-west4-b"]
    assert len(whole["cloud_instance_addresses"]["address_key"]) == 4
    assert run.header(2).status["cloud_metadata.answered"] == 10
