import time

from ebpf_net.collectors.clock import SystemClock


def test_the_clocks_are_those_of_the_machine():
    before = time.time_ns(), time.monotonic_ns()
    clock = SystemClock()
    wall_ns, monotonic_ns = clock.wall_ns(), clock.monotonic_ns()
    assert before[0] <= wall_ns <= time.time_ns()
    assert before[1] <= monotonic_ns <= time.monotonic_ns()
