from ebpf_net.collectors.endings import Endings


class TurnedClock:
    def __init__(self):
        self.now_ns = 0

    def wall_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns


def endings(seconds=10.0, capacity=2):
    clock = TurnedClock()
    return Endings(clock, seconds, capacity), clock


def taken(kept):
    return list(iter(kept.take_over, None))


def test_what_ended_is_taken_when_its_time_is_over():
    kept, clock = endings()
    kept.add("a")
    clock.now_ns = 5_000_000_000
    kept.add("b")
    kept.add("a")  # its time goes on
    assert taken(kept) == []
    clock.now_ns = kept.kept_ns
    assert taken(kept) == ["a"]
    assert len(kept) == 1


def test_what_is_back_has_not_ended():
    kept, clock = endings()
    kept.add("a")
    kept.discard("a")
    kept.discard("other")
    clock.now_ns = kept.kept_ns
    assert taken(kept) == []


def test_the_first_go_when_there_is_too_much():
    kept, _ = endings()
    assert [kept.add(key) for key in "abc"] == [[], [], ["a"]]
    assert len(kept) == 2


def test_nothing_is_kept_without_room():
    kept, _ = endings(capacity=0)
    assert kept.add("a") == ["a"]
