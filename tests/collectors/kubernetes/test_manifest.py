"""The rights in deploy/kubernetes are those that are needed: not one more or less."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import yaml
from tests.collectors.kubernetes.told import Told
from tests.world.waiting import wait_until

from ebpf_net.collectors.clock import SystemClock
from ebpf_net.collectors.kubernetes.access import read_kubeconfig
from ebpf_net.collectors.kubernetes.api import ApiServer
from ebpf_net.collectors.kubernetes.collector import (
    CollectorOptions,
    KubernetesCollector,
)
from ebpf_net.collectors.kubernetes.credentials import Credentials
from ebpf_net.collectors.kubernetes.lease import LeaseOptions
from ebpf_net.collectors.kubernetes.resources import RESOURCES
from ebpf_net.settings import K8S_COLLECTOR, load

MANIFEST = Path(__file__).resolve().parents[3] / "deploy/kubernetes/k8s-collector.yaml"
TOKENS = "/api/v1/namespaces/ebpf-net/serviceaccounts/k8s-collector/token"


def documents(kind):
    found = yaml.safe_load_all(MANIFEST.read_text())
    return [document for document in found if document["kind"] == kind]


def test_no_right_is_given_that_is_not_used():
    (role,) = documents("ClusterRole")
    given = {
        (group, resource, verb, *rule.get("resourceNames", ()))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    used = {
        (resource.group, resource.name, verb)
        for resource in RESOURCES
        for verb in ("list", "watch")
    }
    assert given == used | {("", "namespaces", "get", "kube-system")}


def test_the_rights_suffice(control_plane, caplog):
    api = control_plane.api
    api.kubectl("apply", "-f", MANIFEST)
    token = api.request("POST", TOKENS, {"spec": {"expirationSeconds": 600}})["status"]
    kubeconfig = api.authority.write_token_kubeconfig("sa", api.url, token["token"])
    access = read_kubeconfig((kubeconfig,))
    lease = LeaseOptions("ebpf-net", "me", duration_seconds=1.5)
    options = CollectorOptions("me", interval_seconds=0.5, lease=lease)
    told = Told()
    collector = KubernetesCollector(
        ApiServer(access, Credentials(access)),
        options,
        SystemClock(),
        told.connect,
    )
    thread = threading.Thread(target=collector.run)
    thread.start()
    wait_until(lambda: len(told.windows()) > 2, 30)
    status = told.status_of_last()
    collector.stop()
    thread.join(20)
    assert not thread.is_alive()
    signals = {name: value for name, value in status.items() if "signal." in name}
    assert signals == {
        **{f"signal.kubernetes_{resource.name}.watch": 1 for resource in RESOURCES},
        "signal.kubernetes_lease.held": 1,
        "signal.kubernetes_api.answers": 1,
    }
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert warnings == []
    path = "/apis/coordination.k8s.io/v1/namespaces/ebpf-net/leases"
    (made,) = api.request("GET", path)["items"]
    assert made["spec"]["holderIdentity"] == ""


def test_the_intakes_secret_is_where_the_variables_say():
    (deployment,) = documents("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {one["name"]: one.get("value", "") for one in container["env"]}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    secrets = [one["name"] for one in pod["volumes"] if "secret" in one]
    assert secrets == ["intake"]
    assert values["EBPF_NET_INTAKE_TOKEN_FILE"] == f"{mounts['intake']}/token"
    assert values["EBPF_NET_INTAKE_CA"] == f"{mounts['intake']}/ca.pem"
    load(K8S_COLLECTOR, container["command"][1:], environment=values)
