"""Runs a live table with made windows, for tests that have a terminal."""

import signal
import sys
import threading

from ebpf_net.schema import InternalPoint
from ebpf_net.testing.windows import make_level, make_window
from ebpf_net.ui.live_table import LiveTable

NODES = [
    {"process.name": "curl", "id": "devbox", "ip": "10.0.0.1"},
    {"process.name": "nginx", "id": "devbox", "ip": "10.0.0.2"},
    {"process.name": "sshd", "id": "devbox", "ip": "10.0.0.3"},
]
EDGES = [
    {"source": 0, "dest": 1, "bytes": 1_000, "connect_count": 1, "opened": 2},
    {"source": 0, "dest": 2, "bytes": 10, "connect_count": 1, "connect_failures": 5},
]


def main() -> None:
    """Show windows until the user quits."""
    quit_asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    table = LiveTable(quit_asked.set)
    table.start()
    table.export_internal([InternalPoint("ebpf_net.connections", 1.0)], 0)
    try:
        number = 0
        while not quit_asked.wait(0.05):
            number += 1
            nodes = [*NODES[:1], {**NODES[1], "process.name": f"n{number}"}, NODES[2]]
            window = make_window({"id_id": make_level(nodes, EDGES)}, number * 10**10)
            table.export(window, lambda delivered: None)
    except KeyboardInterrupt:
        print("interrupted")
    finally:
        if "--do-not-close" not in sys.argv:
            table.close(5)
    print("ended")


if __name__ == "__main__":
    main()
