import logging

from ebpf_net.intake.refusals import IntakeCounters
from ebpf_net.schema import InternalPoint


def test_counts_become_metrics():
    counters = IntakeCounters()
    counters.read(100)
    counters.accepted({"edges": 5, "hosts": 0}, duplicate=False)
    counters.accepted({"edges": 5, "hosts": 0}, duplicate=True)
    counters.refused("zstd", "no frame", "10.0.0.1")
    counters.skipped("unknown_table", "table new", "host-1")
    assert counters.points() == [
        InternalPoint("ebpf_net.intake.bytes", 100),
        InternalPoint("ebpf_net.intake.batches", 1),
        InternalPoint("ebpf_net.intake.duplicates", 1),
        InternalPoint("ebpf_net.intake.rows", 5, (("table", "edges"),)),
        InternalPoint("ebpf_net.intake.rows", 0, (("table", "hosts"),)),
        InternalPoint("ebpf_net.intake.refused", 1, (("reason", "zstd"),)),
        InternalPoint("ebpf_net.intake.skipped", 1, (("reason", "unknown_table"),)),
    ]


def test_a_flood_of_refusals_is_one_line_a_reason(caplog):
    counters = IntakeCounters()
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            counters.refused("zstd", f"frame {number}", "10.0.0.1")
        counters.refused("slow", "late", "10.0.0.2")
    assert [record.getMessage() for record in caplog.records] == [
        "refused 10.0.0.1: frame 0 (zstd)",
        "refused 10.0.0.2: late (slow)",
    ]


def test_what_is_skipped_with_each_batch_is_one_line(caplog):
    counters = IntakeCounters()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            counters.skipped("unknown_table", "table new", "host-1")
    assert [record.getMessage() for record in caplog.records] == [
        "skipped of host-1: table new (unknown_table)"
    ]
