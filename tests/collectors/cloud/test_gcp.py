import threading
import time

import pytest
from tests.collectors.cloud.told import materialize
from tests.world.gcp_api import PROJECT, fault, gcp_api, rate_limited
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.cloud.gcp import make_providers
from ebpf_net.collectors.cloud.inventory import Inventory
from ebpf_net.collectors.cloud.pace import CallCounter, CallPace, PaceOptions
from ebpf_net.collectors.cloud.poller import Poller, PollerOptions
from ebpf_net.collectors.cloud.providers import PartFailed, ProviderOptions
from ebpf_net.errors import SettingError

_OTHER = "shop-staging"
_KINDS = ["instances", "forwarding-rules", "addresses", "databases"]
_QUICK = PollerOptions(
    interval_seconds=0.02, threads=4, pace=PaceOptions(first_wait_seconds=0.001)
)


@pytest.fixture
def api(tmp_path, monkeypatch):
    with gcp_api(tmp_path) as api:
        for name, value in api.environment.items():
            monkeypatch.setenv(name, value)
        yield api


@pytest.fixture
def pace():
    return CallPace(CallCounter(), threading.Event(), PaceOptions(tries=1))


class _Run:
    """A poller of projects that runs, and the rows it knows."""

    def __init__(self, api, *projects):
        self.inventory = Inventory(SystemClock(), 3600.0)
        options = ProviderOptions(projects, environment=api.environment)
        self.poller = Poller(make_providers(options), self.inventory, _QUICK)
        self.poller.start()
        wait_until(self.poller.has_asked_all, 20)

    def rows(self, table, *columns):
        rows = materialize(self.inventory.snapshot()).get(f"cloud_{table}", [])
        return [tuple(row[column] for column in columns) for row in rows]

    def names(self):
        return sorted(name for (name,) in self.rows("interfaces", "name"))

    def addresses(self):
        """Return those that are somewhere now."""
        rows = self.rows("addresses", "address_key", "until_ns")
        return sorted(key for key, until_ns in rows if not until_ns)

    def wait_for_polls(self, count):
        polls = self.poller.status()["cloud.polls"]
        wait_until(lambda: self.poller.status()["cloud.polls"] >= polls + count, 20)


@pytest.fixture
def start(api):
    runs = []

    def start(*projects):
        runs.append(_Run(api, *projects))
        return runs[-1]

    yield start
    for run in runs:
        run.poller.stop()
        run.poller.join(10)


def _parts(api, pace, *projects):
    options = ProviderOptions(projects, environment=api.environment)
    (provider,) = make_providers(options)
    return [part.key[1:] for part in provider.parts(pace)]


def test_without_projects_that_of_the_credentials_is_asked(api, pace):
    assert _parts(api, pace) == [(PROJECT, kind) for kind in _KINDS]


def test_each_project_is_asked_once(api, pace):
    found = _parts(api, pace, PROJECT, _OTHER, PROJECT)
    assert found == [(name, kind) for name in (PROJECT, _OTHER) for kind in _KINDS]


def test_a_project_is_not_its_number():
    with pytest.raises(SettingError, match="expected a project's id"):
        make_providers(ProviderOptions(("123456789",)))


def test_a_project_of_a_domain_is_one():
    assert make_providers(ProviderOptions(("example.com:shop-production",)))


def test_without_credentials_it_says_so(api, pace):
    (provider,) = make_providers(ProviderOptions((PROJECT,)))
    with pytest.raises(PartFailed, match="no credentials"):
        list(provider.parts(pace))


def test_one_key_is_enough_for_all_projects(api, start):
    api.project().instance("web", "10.0.0.2")
    api.project(_OTHER).instance("web", "10.0.0.2")
    run = start(PROJECT, _OTHER)
    assert sorted(run.rows("interfaces", "account", "network", "name")) == [
        (PROJECT, f"{PROJECT}/default", "web"),
        (_OTHER, f"{_OTHER}/default", "web"),
    ]
    assert len(run.addresses()) == 2
    assert api.tokens == 1


def test_a_project_that_refuses_is_alone(api, start, caplog):
    api.project().instance("web", "10.0.0.2")
    api.project(_OTHER).database("orders", ("10.60.0.3", "PRIVATE"))
    api.project(_OTHER).permissions.discard("compute.instances.list")
    run = start(PROJECT, _OTHER)
    run.wait_for_polls(8)
    assert run.names() == ["orders", "web"]
    (told,) = [one.message for one in caplog.records if "instances" in one.message]
    assert told.startswith(f"gcp/{_OTHER}/instances: not allowed (403 Required")
    assert told.endswith("; missing permission: compute.instances.list")


def test_an_address_that_moves_ends_and_begins_once(api, start):
    project = api.project()
    old = project.instance("old", "10.0.0.2", "34.1.2.3")
    new = project.instance("new", "10.0.0.3")
    run = start()
    run.wait_for_polls(4)
    with api.changing():
        old["networkInterfaces"] = [project.interface("10.0.0.2")]
        new["networkInterfaces"] = [project.interface("10.0.0.3", "34.1.2.3")]
    uid = f"gcp/{PROJECT}/us-central1/{new['id']}/nic0"
    wait_until(lambda: f"{uid} 34.1.2.3" in run.addresses(), 20)
    spans = [
        (from_ns, until_ns)
        for key, from_ns, until_ns in run.rows(
            "addresses", "address_key", "from_ns", "until_ns"
        )
        if key.endswith(" 34.1.2.3")
    ]
    ended, open_ = sorted(spans, key=lambda span: span[1] == 0)
    assert ended[1] == open_[0] > 0
    assert open_[1] == 0


def test_an_instance_that_goes_takes_only_its_own(api, start):
    project = api.project()
    gone = project.instance("gone", "10.0.0.2")
    project.instance("stays", "10.0.0.3")
    run = start()
    with api.changing():
        project.remove("instances", gone)
    wait_until(lambda: len(run.addresses()) == 1, 20)
    assert run.addresses()[0].endswith(" 10.0.0.3")


def test_failures_and_throttling_lose_and_double_nothing(api, start):
    project = api.project()
    for number in range(700):
        project.instance(f"n{number}", f"10.1.{number >> 8}.{number & 255}")
    run = start()
    before = run.rows("interfaces", "interface_uid")
    assert len(before) == len(set(before)) == 700
    api.fail(fault(503, "backendError", times=4))
    api.fail(rate_limited(4))
    api.revoke_tokens()
    run.wait_for_polls(12)
    assert sorted(run.rows("interfaces", "interface_uid")) == sorted(before)
    assert len(run.addresses()) == 700
    assert run.poller.status()["cloud.calls_throttled"] == 4


def test_two_thousand_instances_are_there_within_seconds(api, start):
    project = api.project()
    for number in range(2000):
        project.instance(f"n{number}", f"10.2.{number >> 8}.{number & 255}")
    started = time.monotonic()
    run = start()
    assert time.monotonic() - started < 10
    assert len(run.names()) == 2000
    assert api.calls()["instances"] >= 4
