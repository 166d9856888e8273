from ebpf_net.intake.sink import BatchSink, Overloaded
from ebpf_net.testing.intake import MemorySink


def test_memory_sink_is_a_sink():
    sink: BatchSink = MemorySink()
    assert sink.progress("node-1", "run-1").committed == 0


def test_overload_says_when_to_come_again():
    assert Overloaded(7).retry_after_seconds == 7
    assert str(Overloaded(7)) == "try again in 7 seconds"
