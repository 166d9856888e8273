import json
import threading
from contextlib import contextmanager

import pytest
from tests.collectors.kubernetes.fake_api import HOLD, Answer, FakeApi, failed
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kubernetes.access import Access, read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.lease import Election, LeaseOptions
from ebpf_net.testing.kernel import TurnedClock

PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
SECOND_NS = 1_000_000_000


def api_of(control_plane):
    access = read_kubeconfig((control_plane.kubeconfig,))
    return ApiServer(access, Credentials(access))


class Replica:
    def __init__(self, api, identity, name="one", duration=1.5, clock=None):
        options = LeaseOptions("default", identity, name, duration)
        self.api = api
        self.election = Election(api, options, clock or SystemClock())
        self.thread = threading.Thread(target=self.election.run)
        self.thread.start()

    def leads(self):
        return self.election.leads()

    def die(self):
        """End without a word."""
        self.election.stop()
        self.thread.join(10)

    def end(self):
        self.die()
        self.election.release()
        self.api.close()


@contextmanager
def replicas(control_plane, name, *identities, **more):
    made = []
    try:
        for identity in identities:
            made.append(Replica(api_of(control_plane), identity, name, **more))
            wait_until(made[0].leads, 10)
        yield made
    finally:
        for one in made:
            one.end()


def holder(control_plane, name):
    spec = control_plane.api.request("GET", f"{PATH}/{name}")["spec"]
    return spec["holderIdentity"]


def test_one_of_two_leads(control_plane):
    with replicas(control_plane, "two", "a", "b") as (first, second):
        assert first.leads()
        assert not second.leads()
        assert holder(control_plane, "two") == "a"
        assert first.election.status()["kubernetes.leads"] == 1


def test_an_orderly_end_hands_over_at_once(control_plane):
    with replicas(control_plane, "hand", "a", "b", duration=15) as (first, second):
        first.end()
        wait_until(second.leads, 5)
        assert not first.leads()
        assert holder(control_plane, "hand") == "b"


def test_a_leader_that_dies_is_followed_within_the_duration(control_plane):
    with replicas(control_plane, "die", "a", "b") as (first, second):
        first.die()
        wait_until(second.leads, 5)
        wait_until(lambda: holder(control_plane, "die") == "b", 5)
        lease = control_plane.api.request("GET", f"{PATH}/die")["spec"]
        assert lease["leaseTransitions"] == 1


def test_the_rest_of_a_lease_is_left_as_it_is(control_plane):
    with replicas(control_plane, "labels", "a") as (first,):
        change = {"metadata": {"labels": {"team": "t"}}}
        control_plane.api.request("PATCH", f"{PATH}/labels", change)
        before = control_plane.api.request("GET", f"{PATH}/labels")["spec"]["renewTime"]
        wait_until(
            lambda: (
                control_plane.api.request("GET", f"{PATH}/labels")["spec"]["renewTime"]
                != before
            ),
            10,
        )
        lease = control_plane.api.request("GET", f"{PATH}/labels")
        assert lease["metadata"]["labels"] == {"team": "t"}
        assert first.leads()


def lease_of(identity, version="1"):
    spec = {
        "holderIdentity": identity,
        "leaseDurationSeconds": 15,
        "renewTime": version,
    }
    document = {"metadata": {"name": "one", "resourceVersion": version}, "spec": spec}
    return Answer(json.dumps(document).encode())


class PatientApi(ApiServer):
    """Waits on a busy machine as long as it takes: only the turned clock counts."""

    def get(self, path, seconds):
        return super().get(path)

    def send(self, method, path, body, seconds):
        return super().send(method, path, body, 60)


@contextmanager
def faked(*answers, duration=0.15, api=PatientApi):
    with FakeApi(answers) as fake:
        access = Access(fake.url)
        fake.clock = TurnedClock(0)
        fake.replica = Replica(
            api(access, Credentials(access)),
            "me",
            duration=duration,
            clock=fake.clock,
        )
        try:
            yield fake
        finally:
            fake.replica.die()
            fake.replica.api.close()


@pytest.mark.parametrize("status", [403, 404])
def test_without_the_right_for_long_every_replica_leads(status):
    with faked(*[failed(status)] * 1000) as fake:
        fake.wait_for_requests(6)
        fake.clock.advance(59 * SECOND_NS)
        fake.wait_for_requests(len(fake.requests) + 4)
        assert not fake.replica.leads()
        fake.clock.advance(SECOND_NS)
        wait_until(fake.replica.leads, 10)
        assert fake.replica.election.is_confirmed()
        status = fake.replica.election.status()
        assert status["signal.kubernetes_lease.no_right"] == 0


def test_refusals_with_other_answers_between_them_are_no_missing_right():
    no, away = failed(403), failed(500)
    with faked(no, no, away, *[no] * 1000) as fake:
        fake.wait_for_requests(2)
        fake.clock.advance(59 * SECOND_NS)
        fake.wait_for_requests(5)
        fake.clock.advance(59 * SECOND_NS)
        fake.wait_for_requests(len(fake.requests) + 3)
        assert not fake.replica.leads()


@pytest.mark.parametrize("status", [403, 404])
def test_a_standby_that_is_refused_once_stands_by(status):
    other = [lease_of("other")] * 1000
    refusals = [failed(status)] * (1 if status == 403 else 2)  # the second: to create
    with faked(lease_of("other"), *refusals, *other) as fake:
        fake.wait_for_requests(6)
        assert not fake.replica.leads()
        assert fake.replica.election.status()["kubernetes.lease_transitions"] == 0


def test_a_leader_that_is_refused_goes_on_unconfirmed():
    refused = [failed(403)] * 1000
    with faked(lease_of("me"), Answer(b"{}"), *refused) as fake:
        wait_until(fake.replica.leads, 10)
        for count in (5, 8, 11):
            fake.clock.advance(SECOND_NS // 10)
            fake.wait_for_requests(count)
            assert fake.replica.leads()
        assert not fake.replica.election.is_confirmed()


def test_a_leader_goes_on_while_the_server_is_away():
    away = [failed(500)] * 1000
    with faked(lease_of("me"), Answer(b"{}"), *away) as fake:
        wait_until(fake.replica.leads, 10)
        for count in (5, 8, 11):
            fake.clock.advance(SECOND_NS // 10)
            fake.wait_for_requests(count)
            assert fake.replica.leads()


def test_a_leader_goes_on_while_the_server_is_silent():
    answers = [lease_of("me"), Answer(b"{}")]
    with faked(*answers, *[HOLD] * 1000, duration=3, api=ApiServer) as fake:
        wait_until(fake.replica.leads, 10)
        for count in (3, 4, 5):
            fake.wait_for_requests(count)
            fake.clock.advance(2 * SECOND_NS)
            assert fake.replica.leads()


def test_a_leader_that_slept_is_not_sure_until_it_has_asked():
    answers = [lease_of("me"), Answer(b"{}")]
    with faked(*answers, duration=1500) as fake:
        wait_until(fake.replica.leads, 10)
        fake.clock.advance(1500 * SECOND_NS)
        assert not fake.replica.leads()


def test_a_leader_that_meets_another_stands_by():
    answers = [lease_of("me"), Answer(b"{}"), *[lease_of("other")] * 1000]
    with faked(*answers) as fake:
        fake.wait_for_requests(4)
        wait_until(lambda: not fake.replica.leads(), 10)


def test_anothers_lease_is_over_when_it_was_not_renewed():
    answers = [*[lease_of("other")] * 1000]
    with faked(*answers) as fake:
        fake.wait_for_requests(3)
        assert {request.method for request in fake.requests} == {"GET"}
        fake.clock.advance(15 * SECOND_NS)
        wait_until(lambda: any(one.method == "PUT" for one in fake.requests), 10)
        put = next(one for one in fake.requests if one.method == "PUT")
        spec = json.loads(put.body)["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("me", 1)
        assert json.loads(put.body)["metadata"]["resourceVersion"] == "1"


def test_a_lease_that_is_renewed_is_not_over():
    renewed = [lease_of("other", str(number)) for number in range(1000)]
    with faked(*renewed) as fake:
        for count in (3, 6, 9):
            fake.wait_for_requests(count)
            fake.clock.advance(14 * SECOND_NS)
        assert {request.method for request in fake.requests} == {"GET"}


def test_one_that_was_slower_stands_by():
    with faked(failed(404), failed(409), lease_of("other"), duration=1500) as fake:
        fake.wait_for_requests(2)
        assert not fake.replica.leads()


def test_a_lease_that_cannot_be_read_is_nobodys():
    with faked(*[Answer(b"<html>")] * 1000) as fake:
        fake.wait_for_requests(3)
        assert not fake.replica.leads()
