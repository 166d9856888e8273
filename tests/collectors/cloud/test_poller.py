import logging

import pytest
from tests.collectors.cloud.clouds import StaticPart, StaticProvider, interface
from tests.collectors.cloud.told import materialize
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.pace import PaceOptions
from ebpf_net.collectors.cloud.poller import Poller, PollerOptions
from ebpf_net.collectors.cloud.providers import PartFailed

_QUICK = PollerOptions(
    interval_seconds=0.02,
    listing_seconds=0.05,
    threads=3,
    pace=PaceOptions(first_wait_seconds=0.001),
)


class _Run:
    """A poller that runs, and the rows it knows."""

    def __init__(self, *providers: StaticProvider) -> None:
        self.inventory = Inventory(SystemClock(), 3600.0)
        self.poller = Poller(providers, self.inventory, _QUICK)

    def start(self) -> None:
        self.poller.start()
        wait_until(self.poller.has_asked_all, 10)

    def rows(self, table, column):
        rows = materialize(self.inventory.snapshot()).get(f"cloud_{table}", [])
        return sorted(row[column] for row in rows)

    def open_addresses(self):
        rows = materialize(self.inventory.snapshot()).get("cloud_addresses", [])
        return sorted(row["address_key"] for row in rows if not row["until_ns"])

    def pass_polls(self, part: StaticPart, count: int = 2) -> None:
        """Wait until a part has been asked so many times more, from now on."""
        before = part.fetches
        wait_until(lambda: part.fetches > before + count, 10)


@pytest.fixture
def parts():
    return (
        StaticPart("r1", interface("a", "10.0.0.1"), interface("b", "10.0.0.2")),
        StaticPart("r2", interface("c", "10.0.0.3", region="r2")),
    )


@pytest.fixture
def run(parts):
    run = _Run(StaticProvider(*parts))
    yield run
    run.poller.stop()
    run.poller.join(10)


def test_all_parts_are_asked(run):
    run.start()
    assert run.rows("interfaces", "interface_id") == ["a", "b", "c"]
    assert run.rows("accounts", "account_key") == ["aws/111"]
    assert run.rows("accounts", "name") == ["production"]
    assert run.poller.accounts() == {("aws", "111")}


def test_changes_are_seen(run, parts):
    run.start()
    parts[0].interfaces = [interface("a", "10.0.0.9")]
    wait_until(
        lambda: (
            run.open_addresses() == ["aws/111/r1/a 10.0.0.9", "aws/111/r2/c 10.0.0.3"]
        ),
        10,
    )


def test_a_part_that_fails_keeps_its_rows_and_the_others_go_on(run, parts, caplog):
    caplog.set_level(logging.INFO, "ebpf_net.collectors.cloud.tasks")
    run.start()
    first, second = parts
    first.failure = PartFailed("not allowed", "ec2:DescribeNetworkInterfaces")
    wait_until(lambda: run.poller.status()["cloud.failing"] == 1, 10)
    second.interfaces.append(interface("d", "10.0.0.4", region="r2"))
    run.pass_polls(second)
    assert run.rows("interfaces", "interface_id") == ["a", "b", "c", "d"]
    assert len(run.open_addresses()) == 4
    first.failure = None
    wait_until(lambda: run.poller.status()["cloud.failing"] == 0, 10)
    assert [record.message for record in caplog.records] == [
        "aws/111/r1: not allowed; missing permission: ec2:DescribeNetworkInterfaces",
        "aws/111/r1: works again",
    ]


def test_a_region_that_is_denied_from_the_start_loses_only_itself(parts):
    first, second = parts
    first.failure = PartFailed("not allowed", "ec2:DescribeNetworkInterfaces")
    first.interfaces.clear()
    run = _Run(StaticProvider(first, second))
    run.start()
    assert run.rows("interfaces", "interface_id") == ["c"]
    assert run.rows("accounts", "account") == ["111"]
    run.poller.stop()
    run.poller.join(10)


def test_a_part_that_is_no_longer_listed_ends(parts):
    provider = StaticProvider(*parts)
    run = _Run(provider)
    run.start()
    provider.listed = [parts[1]]
    wait_until(lambda: run.open_addresses() == ["aws/111/r2/c 10.0.0.3"], 10)
    assert run.rows("accounts", "account") == ["111"]
    provider.listed = []
    wait_until(lambda: run.open_addresses() == [], 10)
    wait_until(lambda: run.rows("accounts", "account") == [], 10)
    provider.listed = list(parts)
    wait_until(lambda: len(run.open_addresses()) == 3, 10)
    wait_until(lambda: run.rows("accounts", "account") == ["111"], 10)
    run.poller.stop()
    run.poller.join(10)


def test_a_listing_that_fails_ends_nothing(parts):
    provider = StaticProvider(*parts)
    run = _Run(provider)
    run.start()
    provider.failure = PartFailed("not allowed", "ec2:DescribeRegions")
    wait_until(lambda: run.poller.status()["cloud.failing"] == 1, 10)
    run.pass_polls(parts[0])
    assert len(run.open_addresses()) == 3
    run.poller.stop()
    run.poller.join(10)


def test_a_part_that_two_providers_list_is_asked_once(parts):
    twin = StaticPart("r1", interface("a", "10.0.0.1"))
    providers = StaticProvider(*parts), StaticProvider(twin, name="other")
    run = _Run(*providers)
    run.start()
    run.pass_polls(parts[1])
    fetched = [one.fetches > 0 for one in (parts[0], twin)]
    assert sorted(fetched) == [False, True]
    run.poller.stop()
    run.poller.join(10)


def test_status_counts_parts_polls_and_calls(run, parts):
    parts[1].lacking = PartFailed("no names", "ec2:DescribeInstances")
    run.start()
    status = run.poller.status()
    assert status["cloud.parts"] == 2
    assert status["cloud.polls"] >= 2
    assert status["cloud.calls"] >= 2
    assert status["cloud.incomplete"] == 1
    assert status["cloud.failing"] == 0
