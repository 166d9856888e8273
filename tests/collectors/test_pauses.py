import threading
import time

from ebpf_net.collectors.pauses import Pauses

LONG_SECONDS = 60.0


def test_a_pause_lasts_as_long_as_asked():
    began = time.monotonic()
    Pauses().pause(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_wake_ends_one_pause():
    pauses = Pauses()
    pauses.wake()
    pauses.pause(LONG_SECONDS)
    thread = threading.Thread(target=pauses.pause, args=(LONG_SECONDS,))
    thread.start()
    pauses.wake()
    thread.join(10)
    assert not thread.is_alive()
    assert not pauses.stopped.is_set()


def test_a_stop_ends_all_pauses():
    pauses = Pauses()
    pauses.stop()
    pauses.pause(LONG_SECONDS)
    pauses.pause(LONG_SECONDS)
    assert pauses.stopped.is_set()
