"""The order of resolution: which of the things that are known of an end names it.

Lookups have found rows of tables for each end. What is decided between them is decided
here only; the page "How a name is found" tells the same in words. It is no SQL, because
to plan so many columns costs more than to fill them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.end_texts import EndTexts, Texts
from ebpf_net.reducer.ends import About, Detail
from ebpf_net.reducer.keys import Bool, Int64
from ebpf_net.schema import NODE_LABELS

NODES_SCHEMA = pa.schema(
    [pa.field(label, pa.string(), nullable=False) for label in NODE_LABELS]
)


class Kind(IntEnum):
    """How an end got its name: the label ``resolution_type``."""

    IP = 0
    LOCALHOST = 1
    INSTANCE_METADATA = 2
    NETWORK = 3
    CLOUD = 4  # an interface of a cloud that is none of those below
    AZURE = 5
    GCP = 6
    AWS = 7
    K8S_NODE = 8
    K8S_SERVICE = 9
    K8S_POD = 10  # by its address
    PROCESS = 11
    CONTAINER = 12
    NOMAD = 13
    K8S_CONTAINER = 14  # by its cgroup


_OF_PROVIDERS = {"aws": Kind.AWS, "gcp": Kind.GCP, "azure": Kind.AZURE}
_KIND_NAMES = pa.array([kind.name for kind in Kind])


def resolve(
    found: Mapping[str, Int64], tables: Mapping[str, pa.Table], detail: Detail
) -> pa.Table:
    """Return the labels of ends, in their order.

    ``found`` has ``about``, addresses and a column of row numbers for each of READS.
    """
    ends = EndTexts(found, tables)
    kind = _kinds(ends)
    labels = {
        "workload.name": _workloads(ends, kind),
        "availability_zone": _zones(ends),
        "resolution_type": _KIND_NAMES.take(kind),
        "image_version": _image_versions(ends),
        "environment": ends.choose(
            (ends.is_about(About.COVERED, About.LOCALHOST), ends["host_environment"]),
            otherwise="(no agent)",
        ),
        "namespace.name": _namespaces(ends, kind),
        "process.name": ends.choose(
            (ends.covered, ends.first("comm", otherwise="(unknown)"))
        ),
        "container.name": ends.choose(
            (
                ends.covered,
                ends.first("inner_name", "label_container", "container_name"),
            )
        ),
        "service.name": ends.choose(
            (ends.has("asked"), ends["asked_name"]),
            (kind == Kind.K8S_SERVICE, ends["service_name"]),
        ),
        "region": ends.first("instance_region", "node_region", "interface_region"),
        "k8s.cluster.name": ends["cluster_name"],
        "k8s.cluster.uid": ends["cluster_cluster_uid"],
        "geo.country.iso_code": ends["system_country"],
    }
    if detail.addresses:
        labels |= _single(ends, kind, detail)
    if ends.has_any("instance", "interface", "vpc", "own_address"):
        labels |= _of_clouds(ends, detail)
    blank = ends.all("")
    columns = [labels.get(name, blank) for name in NODE_LABELS]
    return pa.Table.from_arrays(columns, schema=NODES_SCHEMA)


def _kinds(ends: EndTexts) -> Int64:
    """Decide what names each end; the first that is true."""
    container = ends.covered & ends.flag("is_container")
    in_pod, in_nomad = ends.is_told("pod_uid"), ends.is_told("nomad", "nomad_alloc")
    order: tuple[tuple[Bool, Kind], ...] = (
        (ends.is_about(About.LOCALHOST), Kind.LOCALHOST),
        (ends.covered & ends.has("pod"), Kind.K8S_CONTAINER),
        (container & in_pod, Kind.K8S_CONTAINER),
        (container & in_nomad, Kind.NOMAD),
        (container, Kind.CONTAINER),
        (ends.covered, Kind.PROCESS),
        (ends.has("pod"), Kind.K8S_POD),
        (ends.has("service"), Kind.K8S_SERVICE),
        (ends.has("at_node"), Kind.K8S_NODE),
        *_cloud_kinds(ends),
        (ends.has("network"), Kind.NETWORK),
        (ends.is_about(About.METADATA), Kind.INSTANCE_METADATA),
    )
    masks = [mask for mask, _ in order]
    return np.select(masks, [np.int64(kind) for _, kind in order], np.int64(Kind.IP))


def _cloud_kinds(ends: EndTexts) -> tuple[tuple[Bool, Kind], ...]:
    if not ends.has_any("interface"):
        return ()
    has = ends.has("interface")
    of_providers = (
        (has & ends.equal("interface_provider", name), kind)
        for name, kind in _OF_PROVIDERS.items()
    )
    return (*of_providers, (has, Kind.CLOUD))


def _workloads(ends: EndTexts, kind: Int64) -> Texts:
    return ends.choose(
        (ends.covered & ends.equal("comm", "kubelet"), "kubelet"),
        (ends.has("pod"), ends["pod_workload_name"]),
        (kind == Kind.K8S_SERVICE, ends["service_name"]),
        (kind == Kind.K8S_NODE, ends["at_name"]),
        (
            kind == Kind.PROCESS,
            ends.first("unit", "comm", "host_service", otherwise="(unknown)"),
        ),
        (
            ends.covered,
            ends.first("ecs", "label_container", "nomad", "container_name", "short_id"),
        ),
        (
            np.isin(kind, (*_OF_PROVIDERS.values(), Kind.CLOUD)),
            ends.first("interface_role", "interface_name", "interface_kind"),
        ),
        (kind == Kind.NETWORK, ends["network_name"]),
        (ends.is_about(About.DNS), "DNS"),
        (ends.is_about(About.METADATA), "instance metadata"),
        (_is_internet(ends, kind), "(internet)"),
        otherwise="(unknown)",
    )


def _is_internet(ends: EndTexts, kind: Int64) -> Bool:
    """Tell which ends are known by their autonomous system alone."""
    internet: Bool = (kind == Kind.IP) & ends.is_told("system_organisation")
    return internet


def _zones(ends: EndTexts) -> Texts:
    return ends.choose(
        (
            ends.on_host,
            ends.first(
                "host_zone", "instance_zone", "node_zone", otherwise="(unknown)"
            ),
        ),
        otherwise=ends.first(
            "node_zone", "interface_zone", "system_organisation", otherwise="(unknown)"
        ),
    )


def _zone_ids(ends: EndTexts) -> Texts:
    """Return what zones are called by all; not of those that the user has named."""
    renamed = ends.is_told("host_zone") & ~ends.same("host_zone", "instance_zone")
    return ends.choose(
        (renamed, ""), otherwise=ends.first("instance_zone_id", "interface_zone_id")
    )


def _image_versions(ends: EndTexts) -> Texts:
    return ends.choose(
        (ends.has("pod"), ends.first("inner_image_version", "pod_image_version")),
        (ends.covered & ends.flag("is_container"), ends["image_version"]),
    )


def _namespaces(ends: EndTexts, kind: Int64) -> Texts:
    return ends.choose(
        (ends.has("pod"), ends["pod_namespace"]),
        (kind == Kind.K8S_SERVICE, ends["service_namespace"]),
        (ends.covered, ends.first("label_namespace", "host_namespace")),
    )


def _single(ends: EndTexts, kind: Int64, detail: Detail) -> dict[str, Texts]:
    """Return the labels that tell single ends apart."""
    address = ends.addresses()
    hidden = _is_internet(ends, kind) & np.bool_(not detail.system_ip)
    shown = ends.choose((hidden, "AS"), otherwise=address)
    on_node = ends.choose(
        (ends.is_told("node_name"), ends["node_name"]), otherwise=shown
    )
    return {
        "workload.uid": ends.choose(
            (kind == Kind.K8S_SERVICE, ends["service_service_uid"]),
            (kind == Kind.K8S_NODE, ends["at_node_uid"]),
            otherwise=ends["pod_workload_uid"],
        ),
        "id": ends.choose(
            (ends.on_host, ends.first("host_host_id", otherwise="(unknown)")),
            otherwise=on_node,
        ),
        "ip": shown if detail.ip else ends.all(""),
        "pod": ends.choose(
            (ends.has("pod"), ends["pod_name"]), (ends.covered, ends["label_pod"])
        ),
        "node.name": ends["node_name"],
    }


def _of_clouds(ends: EndTexts, detail: Detail) -> dict[str, Texts]:
    """Return the labels of what a cloud's collector or an instance tells."""
    labels = {
        "cloud.provider": ends.first("instance_provider", "interface_provider"),
        "cloud.account.id": ends.first("instance_account", "interface_account"),
        "cloud.zone.id": _zone_ids(ends),
        "cloud.vpc.id": ends["vpc_name"],
    }
    if not detail.addresses:
        return labels
    tags = ends["interface_tags"]
    return labels | {
        "cloud.subnet.id": ends.first("interface_subnet", "own_subnet"),
        "cloud.interface.id": ends.first("interface_interface_id", "own_interface_id"),
        "cloud.instance.id": ends.first(
            "instance_instance_id", "interface_instance_id"
        ),
        "cloud.tags": ends.choose(
            (ends.equal("interface_tags", "{}"), ""), otherwise=tags
        ),
    }
