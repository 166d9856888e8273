"""What the kernel did not run is told, unless another program makes up for it."""

from tests.bpf.watch import Watch


def test_skipped_runs_are_known_of_every_attached_program(watch: Watch) -> None:
    runs = watch.source.skipped_runs(made_up_for=True)
    assert {"tcp_state_tp_btf", "tcp_refused_tp_btf", "udp_discarded_tp_btf"} <= set(
        runs
    )
    assert all(count >= 0 for count in runs.values())


def test_only_what_nothing_makes_up_for_is_a_loss(watch: Watch) -> None:
    alone = watch.source.skipped_runs()
    assert "tcp_state_tp_btf" not in alone
    assert "tcp_destroyed_tp_btf" in alone
    assert watch.source.losses()["skipped_events"] >= sum(alone.values())
