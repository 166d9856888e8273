"""Manifests of workloads whose containers run ``ebpf-net-test``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.world.kubernetes_images import IMAGE

Manifest = dict[str, object]

SERVE = ("serve", ":5000")
WAIT = ("wait",)


def pod(
    name: str,
    arguments: Sequence[str] = WAIT,
    host_network: bool = False,
    node: str = "",
) -> Manifest:
    """A pod of its own, labelled ``app=name``; with ``node`` on that node."""
    template = _template(name, arguments, host_network, node)
    metadata = {"name": name, "labels": {"app": name}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
    }


def workload(
    kind: str,
    name: str,
    arguments: Sequence[str] = SERVE,
    replicas: int = 1,
    host_network: bool = False,
    node: str = "",
) -> Manifest:
    """A Deployment, StatefulSet or DaemonSet with pods labelled ``app=name``.

    A StatefulSet wants a headless Service of the same name.
    """
    specification: Manifest = {
        "selector": {"matchLabels": {"app": name}},
        "template": _template(name, arguments, host_network, node),
    }
    if kind != "DaemonSet":
        specification["replicas"] = replicas
    if kind == "StatefulSet":
        specification["serviceName"] = name
    return _make("apps/v1", kind, name, specification)


def job(name: str, arguments: Sequence[str]) -> Manifest:
    """A Job with one pod."""
    return _make("batch/v1", "Job", name, _job(name, arguments))


def cron_job(
    name: str, arguments: Sequence[str], schedule: str = "0 0 1 1 *"
) -> Manifest:
    """A CronJob: by itself once a year, by ``kubectl create job --from`` at once.

    Its pods are kept when they have ended.
    """
    template = {"spec": _job(name, arguments)}
    specification = {
        "schedule": schedule,
        "jobTemplate": template,
        "successfulJobsHistoryLimit": 100,
    }
    return _make("batch/v1", "CronJob", name, specification)


def service(
    name: str,
    port: int = 80,
    target_port: int = 5000,
    node_port: int = 0,
    headless: bool = False,
    protocols: Sequence[str] = ("TCP", "UDP"),
) -> Manifest:
    """A dual-stack Service for the pods labelled ``app=name``."""
    ports: list[Mapping[str, object]] = [
        {
            "name": protocol.lower(),
            "protocol": protocol,
            "port": port,
            "targetPort": target_port,
            **({"nodePort": node_port} if node_port else {}),
        }
        for protocol in protocols
    ]
    specification: Manifest = {
        "selector": {"app": name},
        "type": "NodePort" if node_port else "ClusterIP",
        "ipFamilyPolicy": "RequireDualStack",
        "ports": ports,
    }
    if headless:
        specification["clusterIP"] = "None"
    return _make("v1", "Service", name, specification)


def _job(name: str, arguments: Sequence[str]) -> Manifest:
    template = _template(name, arguments)
    specification = {**template["spec"], "restartPolicy": "Never"}
    return {"template": {**template, "spec": specification}, "backoffLimit": 0}


def _template(
    name: str, arguments: Sequence[str], host_network: bool = False, node: str = ""
) -> dict[str, dict[str, object]]:
    container: Manifest = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
    }
    if (
        arguments[0] == "serve"
    ):  # ready once it listens; a probe by TCP would be counted
        command = ["/bin/ebpf-net-test", "listening", arguments[1]]
        container["startupProbe"] = {"exec": {"command": command}, "periodSeconds": 1}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "containers": [container],
            "hostNetwork": host_network,
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
            "terminationGracePeriodSeconds": 5,
        },
    }


def _make(version: str, kind: str, name: str, specification: Manifest) -> Manifest:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": specification,
    }
