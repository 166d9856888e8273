from ebpf_net.intake.spool_lane import HEAD_BYTES, SpoolEntry, SpoolLane
from ebpf_net.testing.intake import make_batch


def entry(sequence, batch=None):
    return SpoolEntry(sequence, rows=1, batch=batch)


def test_entries_are_kept_in_order():
    lane = SpoolLane("run-1", finished=False)
    for sequence in (3, 1, 7):
        lane.insert(entry(sequence))
    assert lane.sequences == [1, 3, 7]
    assert [lane.after(n).sequence for n in (0, 1, 2, 6)] == [1, 3, 3, 7]
    assert lane.after(7) is None
    assert [lane.before(n) for n in (1, 2, 3, 7, 9)] == [0, 1, 1, 3, 7]


def test_last_outlives_what_is_removed():
    lane = SpoolLane("run-1", finished=False)
    lane.insert(entry(4))
    assert lane.remove(4).sequence == 4
    assert (lane.sequences, lane.last) == ([], 4)


def test_memory_is_that_of_the_body_and_a_little():
    batch = make_batch(1)
    assert entry(1, batch).memory_size == len(batch.body) + HEAD_BYTES
    assert entry(1).memory_size == 0
