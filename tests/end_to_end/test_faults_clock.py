"""A collector's clock is wrong, and is stepped while it runs."""

from pathlib import Path

import pytest
from tests.world.hosts import Network
from tests.world.load import REPLY_BYTES, REQUEST_BYTES, Load
from tests.world.otel_collector import OtelCollector
from tests.world.system import System, between

_LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.parametrize("step", ["+3600", "-3600", "+7"])
def test_totals_are_exact_when_the_clock_is_stepped(
    network: Network,
    otel_collector: OtelCollector,
    system: System,
    tmp_path: Path,
    step: str,
) -> None:
    assert _LIBRARY is not None
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    load = Load(network)
    system.start_collector(
        load.client,
        environment={
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    system.start_collector(load.server)
    forth, back = between(load.client, load.server), between(load.server, load.client)
    load.start_short_connections(500).result(60)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 500 * REQUEST_BYTES
    )
    clock.write_text(f"{step}\n")
    load.start_short_connections(500).result(60)
    otel_collector.wait_until(
        lambda c: c.total("tcp.bytes", forth) == 1000 * REQUEST_BYTES
    )
    clock.write_text("+0\n")
    load.start_short_connections(500).result(60)
    system.finish()
    assert otel_collector.total("tcp.bytes", forth) == 1500 * REQUEST_BYTES
    assert otel_collector.total("tcp.bytes", back) == 1500 * REPLY_BYTES
    assert otel_collector.total("tcp.new_sockets", forth) == 1500
