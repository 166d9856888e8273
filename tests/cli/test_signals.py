import signal
import subprocess
import sys

import pytest

PROGRAM = """
import threading
from ebpf_net.cli.signals import stop_at_signals
stop = threading.Event()
stop_at_signals(stop.set)
print("ready", flush=True)
stop.wait()
print("stopping", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_in_order_and_the_second_at_once(number):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        assert program.stdout.readline() == "stopping\n"
        program.send_signal(number)
        assert program.wait(10) == -number
