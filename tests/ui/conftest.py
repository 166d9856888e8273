import time

import pytest

from ebpf_net.schema import Protocol, Window
from ebpf_net.testing.windows import make_level, make_window
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.snapshot import Snapshot, take_snapshot

NODES = (
    {
        "workload.name": "shop-load",
        "container.name": "shop-load",
        "process.name": "wrk",
        "id": "devbox",
        "ip": "172.17.0.3",
    },
    {
        "workload.name": "shop-web",
        "container.name": "shop-web",
        "process.name": "nginx",
        "id": "devbox",
        "ip": "172.17.0.2",
    },
    {
        "workload.name": "postgres",
        "process.name": "postgres",
        "id": "devbox",
        "ip": "127.0.0.1",
    },
    {
        "workload.name": "\x1b[31mevil",
        "process.name": "\x1b[31mevil",
        "id": "devbox",
        "ip": "127.0.0.1",
    },
    {"workload.name": "(unknown)", "id": "203.0.113.9", "ip": "203.0.113.9"},
    {"workload.name": "DNS", "id": "192.0.2.53", "ip": "192.0.2.53"},
)
LOAD, WEB, POSTGRES, EVIL, OUTSIDE, DNS = range(6)
EDGES = (
    {
        "source": LOAD,
        "dest": WEB,
        "bytes": 120_000,
        "packets": 1_500,
        "opened": 100,
        "closed": 99,
        "open": 12,
        "rtt_count": 12,
        "rtt_sum_us": 5_000,
        "rtt_min_us": 80,
        "connect_count": 100,
        "connect_sum_us": 9_000,
    },
    {
        "source": WEB,
        "dest": LOAD,
        "bytes": 98_765_432,
        "packets": 70_000,
        "retransmits": 3,
        "opened": 100,
        "open": 12,
        "rtt_count": 8,
        "rtt_sum_us": 3_000,
        "rtt_min_us": 60,
    },
    {"source": WEB, "dest": POSTGRES, "bytes": 9_000, "packets": 15, "open": 4,
     "rtt_count": 4, "rtt_sum_us": 400, "rtt_min_us": 11, "connect_count": 1,
     "connect_sum_us": 90, "opened": 1},
    {"source": POSTGRES, "dest": WEB, "bytes": 90_000, "packets": 25, "open": 4,
     "opened": 1},
    {"source": EVIL, "dest": OUTSIDE, "packets": 6, "connect_failures": 3,
     "syn_timeouts": 6},
    {"source": DNS, "dest": EVIL, "bytes": 800, "packets": 2, "drops": 1,
     "protocol": int(Protocol.UDP)},
    {"source": EVIL, "dest": DNS, "bytes": 80, "packets": 2, "open": 1,
     "protocol": int(Protocol.UDP)},
)  # fmt: skip


@pytest.fixture
def window() -> Window:
    """Ten seconds of six ends and four pairs."""
    return make_window({"id_id": make_level(NODES, EDGES)})


@pytest.fixture
def snapshot(window: Window) -> Snapshot:
    return take_snapshot([window], Directions())


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
