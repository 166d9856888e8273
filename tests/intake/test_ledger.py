import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.ledger import Ledger, Verdict
from ebpf_net.testing.intake import make_header


def snapshot(sequence=0, **changes):
    return make_header(sequence, kind=BatchKind.SNAPSHOT, **changes)


def arrive(ledger, sequence):
    """All batches exist: one that comes before its predecessor leaves a gap."""
    return ledger.seen(make_header(sequence, previous=sequence - 1))


def ready_ledger(settled=0, **limits):
    ledger = Ledger(**limits)
    ledger.seen(snapshot(settled, settled=settled))
    return ledger


def test_unknown_incarnation_needs_a_snapshot():
    ledger = Ledger()
    assert ledger.seen(make_header(1)) is Verdict.NEEDS_SNAPSHOT
    assert ledger.seen(snapshot()) is Verdict.NEW
    assert ledger.seen(make_header(1)) is Verdict.NEW


def test_each_incarnation_needs_its_own_snapshot():
    ledger = ready_ledger()
    header = make_header(1, incarnation="run-2")
    assert ledger.seen(header) is Verdict.NEEDS_SNAPSHOT


def test_repeated_batch_is_a_duplicate():
    ledger = ready_ledger()
    assert ledger.seen(make_header(1)) is Verdict.NEW
    assert ledger.seen(make_header(1)) is Verdict.DUPLICATE
    assert ledger.duplicates == 1


def test_received_stops_before_a_gap():
    ledger = ready_ledger()
    for sequence in (1, 2, 4):
        arrive(ledger, sequence)
    assert ledger.received("node-1", "run-1") == 2
    arrive(ledger, 3)
    assert ledger.received("node-1", "run-1") == 4


@pytest.mark.parametrize("gone", [{"settled": 3}, {"previous": 1}, {"previous": 0}])
def test_gap_that_will_never_be_filled_is_closed(gone):
    ledger = ready_ledger()
    ledger.seen(make_header(1, previous=0))
    ledger.seen(make_header(4, **gone))
    assert ledger.received("node-1", "run-1") == 4
    assert ledger.seen(make_header(2)) is Verdict.DUPLICATE


def test_batch_for_another_reducer_closes_no_gap():
    """A late copy of a snapshot came first; 2 and 3 are to be sent again."""
    ledger = ready_ledger()
    ledger.seen(make_header(1))
    assert ledger.seen(make_header(4, settled=1, previous=3)) is Verdict.NEW
    assert ledger.received("node-1", "run-1") == 1
    assert ledger.seen(make_header(2, previous=1)) is Verdict.NEW
    assert ledger.seen(make_header(3, previous=2)) is Verdict.NEW
    assert ledger.received("node-1", "run-1") == 4


def test_new_ledger_takes_the_base_from_the_snapshot():
    ledger = ready_ledger(settled=41)
    assert ledger.seen(make_header(41)) is Verdict.DUPLICATE
    assert ledger.seen(make_header(42, settled=41)) is Verdict.NEW
    assert ledger.received("node-1", "run-1") == 42
    assert ledger.committed("node-1", "run-1") == 41


def test_late_copy_of_an_old_snapshot_is_dropped():
    ledger = ready_ledger()
    ledger.seen(make_header(1))
    assert ledger.seen(snapshot(0)) is Verdict.DUPLICATE
    assert ledger.seen(snapshot(1)) is Verdict.NEW


def test_commit_goes_no_further_than_received_and_never_back():
    ledger = ready_ledger()
    ledger.seen(make_header(1))
    ledger.seen(make_header(2))
    ledger.commit("node-1", "run-1", 9)
    ledger.commit("node-1", "run-1", 1)
    assert ledger.committed("node-1", "run-1") == 2


def test_commit_stops_before_what_is_not_exported():
    ledger = ready_ledger()
    for sequence in (1, 2, 3):
        ledger.seen(make_header(sequence))
    committed = []
    for sequence in (3, 1, 2):
        ledger.export("node-1", "run-1", sequence)
        committed.append(ledger.committed("node-1", "run-1"))
    assert committed == [0, 1, 3]


def test_restored_ledger_knows_what_was_exported_out_of_order():
    first = ready_ledger()
    for sequence in (1, 2, 3):
        first.seen(make_header(sequence))
    first.export("node-1", "run-1", 2)
    second = Ledger()
    second.restore(first.watermarks())
    second.seen(snapshot())
    verdicts = [second.seen(make_header(sequence)) for sequence in (1, 2, 3)]
    assert verdicts == [Verdict.NEW, Verdict.DUPLICATE, Verdict.NEW]
    second.export("node-1", "run-1", 1)
    assert second.committed("node-1", "run-1") == 2


def test_commit_of_an_unknown_incarnation_is_ignored():
    ledger = Ledger()
    ledger.commit("node-1", "run-1", 1)
    assert ledger.committed("node-1", "run-1") == 0
    assert ledger.received("node-1", "run-1") == 0


def test_restored_ledger_drops_what_was_committed_unheard():
    first = ready_ledger()
    for sequence in (1, 2, 3):
        first.seen(make_header(sequence))
    first.commit("node-1", "run-1", 2)
    second = Ledger()
    second.restore(first.watermarks())
    assert second.seen(make_header(1)) is Verdict.NEEDS_SNAPSHOT
    assert second.seen(snapshot(3, settled=0)) is Verdict.NEW
    assert second.seen(make_header(1)) is Verdict.DUPLICATE
    assert second.seen(make_header(2)) is Verdict.DUPLICATE
    assert second.seen(make_header(3)) is Verdict.NEW


def test_out_of_order_batches_are_bounded():
    ledger = ready_ledger(max_out_of_order=3)
    for sequence in (2, 4, 6, 8):
        assert arrive(ledger, sequence) is Verdict.NEW
    assert ledger.received("node-1", "run-1") == 2
    assert arrive(ledger, 1) is Verdict.DUPLICATE


def test_incarnations_are_bounded_and_the_silent_one_goes_first():
    ledger = Ledger(max_incarnations=2)
    for name in ("run-1", "run-2"):
        ledger.seen(snapshot(incarnation=name))
    ledger.seen(make_header(1, incarnation="run-1"))
    ledger.seen(snapshot(incarnation="run-3"))
    assert len(ledger) == 2
    assert ledger.seen(make_header(2, incarnation="run-1")) is Verdict.NEW
    header = make_header(1, incarnation="run-2")
    assert ledger.seen(header) is Verdict.NEEDS_SNAPSHOT


def test_silent_incarnations_expire():
    ledger = Ledger()
    ledger.seen(snapshot(incarnation="run-1"), now_ns=10)
    ledger.seen(snapshot(incarnation="run-2"), now_ns=20)
    assert ledger.expire(heard_before_ns=20) == [("node-1", "run-1")]
    assert len(ledger) == 1


@given(
    count=st.integers(1, 60),
    copies=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_any_order_of_repeats_counts_each_batch_once(count, copies, seed):
    arrivals = [number for number in range(1, count + 1) for _ in range(copies)]
    random.Random(seed).shuffle(arrivals)
    ledger = ready_ledger()
    taken = [one for one in arrivals if arrive(ledger, one) is Verdict.NEW]
    assert sorted(taken) == list(range(1, count + 1))
    assert ledger.received("node-1", "run-1") == count
    assert ledger.duplicates == count * (copies - 1)


@given(
    lost=st.sets(st.integers(1, 40)),
    restarts=st.sets(st.integers(1, 40)),
    each=st.integers(1, 5),
    late_snapshot=st.booleans(),
)
@example(lost={*range(1, 8), 39}, restarts={1, 2, 3, 40}, each=2, late_snapshot=True)
def test_in_order_client_is_exact_over_losses_and_restarts(
    lost, restarts, each, late_snapshot
):
    """Each ``each`` batches are exported and committed; a restart forgets the rest."""
    held = [one for one in range(1, 41) if one not in lost]
    exported, pending, ledger = [], [], ready_ledger()
    queue = list(held)
    while queue:
        sequence = queue[0]
        kept = [one for one in held if one not in exported]
        if not kept:
            break  # all are committed: there is nothing to send again
        header = make_header(
            sequence,
            settled=kept[0] - 1,
            previous=max([one for one in kept if one < sequence], default=0),
        )
        if sequence in restarts:
            restarts = restarts - {sequence}
            pending, marks = [], ledger.watermarks()
            ledger = Ledger()
            ledger.restore(marks)
            if late_snapshot:
                ledger.seen(snapshot())
            if ledger.seen(header) is Verdict.NEW:
                pending = [sequence]
            ledger.seen(snapshot(held[-1], settled=kept[0] - 1))
            queue = kept
            continue
        if ledger.seen(header) is Verdict.NEW:
            pending.append(sequence)
        if len(pending) >= each and ledger.received("node-1", "run-1") == sequence:
            exported += pending
            pending = []
            ledger.commit("node-1", "run-1", sequence)
        queue.pop(0)
    assert sorted(exported + pending) == held
