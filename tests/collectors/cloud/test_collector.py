import threading

import pytest
from tests.collectors.cloud.clouds import StaticPart, StaticProvider, interface
from tests.collectors.cloud.told import ToldClouds
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.cloud.collector import CloudCollector, CollectorOptions
from ebpf_net.collectors.cloud.pace import PaceOptions
from ebpf_net.collectors.cloud.poller import PollerOptions
from ebpf_net.collectors.cloud.providers import PartFailed
from ebpf_net.intake.batch import BatchKind
from ebpf_net.intake.headers import MAX_NAME_LENGTH

_OPTIONS = CollectorOptions(
    host="h",
    interval_seconds=0.1,
    poller=PollerOptions(
        interval_seconds=0.02,
        listing_seconds=0.1,
        threads=2,
        pace=PaceOptions(first_wait_seconds=0.001),
    ),
)


class _Run:
    def __init__(self, *providers: StaticProvider) -> None:
        self.told = ToldClouds()
        self.collector = CloudCollector(
            providers, _OPTIONS, SystemClock(), self.told.connect
        )
        self.thread = threading.Thread(target=self.collector.run)
        self.thread.start()

    def stop(self) -> None:
        self.collector.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def part():
    return StaticPart("r1", interface("a", "10.0.0.1"), interface("b", "10.0.0.2"))


@pytest.fixture
def run(part):
    run = _Run(StaticProvider(part))
    yield run
    run.stop()


def test_the_first_snapshot_has_all(run):
    run.told.wait_for("accounts", ("account",), ("111",))
    first = run.told.headers[0]
    assert first.kind is BatchKind.SNAPSHOT
    assert first.collector == "cloud-aws-111"
    assert first.host == "h"
    assert run.told.rows("interfaces", "interface_id") == [("a",), ("b",)]
    assert run.told.told_rows == []


def test_only_differences_are_told(run, part):
    run.told.wait_for("interfaces", ("interface_id",), ("a",), ("b",))
    part.interfaces[1] = interface("b", "10.0.0.2", "10.0.0.3")
    wait_until(lambda: run.told.told_rows, 10)
    assert run.told.told_rows == [("cloud_addresses", "aws/111/r1/b 10.0.0.3", False)]


def test_status_goes_with_each_window(run):
    run.told.wait_for_status("cloud.rows.interfaces", 2)
    status = run.told.status_of_last()
    assert status["cloud.rows.addresses"] == 2
    assert status["cloud.parts"] == 1
    assert "client.sent" in status


def test_who_has_nothing_to_ask_says_so(part):
    provider = StaticProvider()
    provider.failure = PartFailed("no credentials")
    run = _Run(provider)
    run.told.wait_for_status("cloud.failing", 1)
    assert run.told.headers[0].collector == "cloud-h"
    provider.failure, provider.listed = None, [part]
    run.told.wait_for("interfaces", ("interface_id",), ("a",), ("b",))
    run.stop()


@pytest.mark.parametrize("accounts", [7, 8, 40])
def test_a_long_list_of_accounts_becomes_a_name_that_the_intake_takes(accounts):
    parts = [StaticPart("r") for _ in range(accounts)]
    for number, one in enumerate(parts):
        one.key = one.key._replace(account=f"{number:012}")
    run = _Run(StaticProvider(*parts))
    run.told.wait_for_status("cloud.parts", accounts)
    name = run.told.headers[0].collector
    assert len(name) <= MAX_NAME_LENGTH
    assert len(name) == (len("cloud-") + 64 if accounts > 7 else 6 + 17 * accounts - 1)
    run.stop()
