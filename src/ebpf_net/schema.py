"""The tables that cross from room to room, and the window that leaves the reducer.

Column types are Arrow type names that mean the same to nanoarrow and pyarrow, so that
the collector's process needs neither pyarrow nor DuckDB. No column is ever null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Columns = tuple[tuple[str, str], ...]


class Protocol(IntEnum):
    """IANA protocol numbers."""

    TCP = 6
    UDP = 17


class Role(IntEnum):
    """Which end of the connection the row's ``local`` side is; as in ``bpf/tcp.h``."""

    UNKNOWN = 0
    CLIENT = 1
    SERVER = 2


class Sample(IntEnum):
    """What a row of ``edge_samples`` counts, and what its ``bucket`` means."""

    RTT = 1  # exponential histogram bucket of seconds, see HISTOGRAM_SCALE
    CONNECT_DURATION = 2  # the same
    CONNECT_FAILURE = 3  # a ConnectFailure
    DROP = 4  # a Drop


class ConnectFailure(IntEnum):
    """Why a connect failed; the names are values of the attribute ``error.type``."""

    REFUSED = 1
    RESET = 2
    TIMED_OUT = 3
    HOST_UNREACHABLE = 4
    NET_UNREACHABLE = 5
    CANCELLED = 6  # the application gave up
    OTHER = 7


class Drop(IntEnum):
    """Why a UDP datagram was dropped at its socket; as ``enum udp_drop`` + 1."""

    RECEIVE_BUFFER = 1
    MEMORY = 2
    CHECKSUM = 3
    OTHER = 4


HISTOGRAM_SCALE = 2
"""Bucket ``i`` holds values in (2**(i/4), 2**((i+1)/4)] seconds: an OpenTelemetry
exponential histogram of scale 2 (data model, "Exponential Scale")."""

EDGES: Columns = (
    # Addresses are the two big-endian halves of the 16 bytes, bit patterns as signed.
    ("local_address_high", "int64"),
    ("local_address_low", "int64"),
    ("remote_address_high", "int64"),
    ("remote_address_low", "int64"),
    ("netns", "int64"),  # inode number
    ("process_id", "int64"),  # key of processes; 0: unknown
    ("cgroup_id", "int64"),  # key of cgroups; 0: unknown
    ("translation_id", "int64"),  # key of translations; 0: addresses are as sent
    ("bytes_sent", "int64"),  # payload
    ("bytes_received", "int64"),
    ("packets_sent", "int64"),  # TCP segments, UDP datagrams
    ("packets_received", "int64"),
    ("rtt_sum_us", "int64"),  # one smoothed RTT a socket and window
    ("connect_sum_us", "int64"),
    ("local_port", "int32"),  # 0: a client's ephemeral port, dropped
    ("remote_port", "int32"),
    ("retransmits", "int32"),
    ("resets_sent", "int32"),
    ("resets_received", "int32"),
    ("syn_timeouts", "int32"),
    ("opened", "int32"),  # connections established in this window
    ("closed", "int32"),
    ("open", "int32"),  # sockets open at the window's end (UDP: seen in it)
    ("connect_failures", "int32"),
    ("drops", "int32"),
    ("rtt_count", "int32"),
    ("rtt_min_us", "int32"),  # kernel's windowed minimum; 0: no sample
    ("rtt_max_us", "int32"),  # largest smoothed RTT; 0: no sample
    ("connect_count", "int32"),
    ("protocol", "int8"),
    ("role", "int8"),
)
"""One row: all connections of one process (or cgroup) with one remote (address, port)
in one window. The key is (local_address, remote_address, netns, process_id, cgroup_id,
translation_id, local_port, remote_port, protocol, role), unique within a batch. Where
this host translates addresses, local and remote are the true ones of client and server:
what the sockets saw instead is in ``translations``."""

EDGE_SAMPLES: Columns = (
    ("edge", "int32"),  # row number in the same batch's edges
    ("count", "int32"),
    ("bucket", "int16"),
    ("kind", "int8"),  # a Sample
)

HOSTS: Columns = (
    ("host_id", "string"),  # EBPF_NET_AGENT_HOST or the host name
    ("host_name", "string"),
    ("machine_id", "string"),
    ("boot_id", "string"),
    ("namespace", "string"),  # EBPF_NET_AGENT_NAMESPACE
    ("environment", "string"),  # EBPF_NET_AGENT_CLUSTER
    ("service", "string"),  # EBPF_NET_AGENT_SERVICE
    ("zone", "string"),  # EBPF_NET_AGENT_ZONE
    ("kernel_release", "string"),
    ("architecture", "string"),
    ("removed", "bool"),
)
PROCESSES: Columns = (
    ("process_id", "int64"),  # see process_id() in collectors/kernel/processes.py
    ("pid", "int32"),
    ("cgroup_id", "int64"),
    ("comm", "string"),
    ("executable", "string"),  # "" where /proc was too late
    ("removed", "bool"),
)
CGROUPS: Columns = (
    ("cgroup_id", "int64"),
    ("path", "string"),  # below the cgroup v2 root
    ("runtime", "string"),  # docker, containerd, crio, podman or ""
    ("container_id", "string"),
    ("container_name", "string"),
    ("image", "string"),
    ("image_version", "string"),
    ("pod_uid", "string"),
    ("service", "string"),  # systemd unit without ".service", or ""
    ("labels", "string"),  # the container's labels, a JSON object
    ("removed", "bool"),
)
TRANSLATIONS: Columns = (
    ("translation_id", "int64"),  # a hash of the columns below
    ("client_address_high", "int64"),  # who connects
    ("client_address_low", "int64"),
    ("service_address_high", "int64"),  # what the client asked for
    ("service_address_low", "int64"),
    ("outer_address_high", "int64"),  # the client as the server sees it
    ("outer_address_low", "int64"),
    ("server_address_high", "int64"),  # who answers
    ("server_address_low", "int64"),
    ("service_port", "int32"),
    ("server_port", "int32"),
    ("protocol", "int8"),
    ("removed", "bool"),
)
"""Address translations of a host that were in use, whoever's the connection was: its
own, or one that it forwards. Ephemeral ports are left out."""

KUBERNETES_CLUSTERS: Columns = (
    ("cluster_uid", "string"),
    ("name", "string"),
    ("removed", "bool"),
)
KUBERNETES_NODES: Columns = (
    ("node_uid", "string"),
    ("name", "string"),
    ("machine_id", "string"),  # as of ``hosts``, without dashes
    ("boot_id", "string"),  # as of ``hosts``
    ("provider_id", "string"),
    ("instance_type", "string"),
    ("zone", "string"),
    ("region", "string"),
    ("labels", "string"),  # those allowed, a JSON object
    ("removed", "bool"),
)
KUBERNETES_NAMESPACES: Columns = (
    ("namespace_uid", "string"),
    ("name", "string"),
    ("labels", "string"),
    ("removed", "bool"),
)
KUBERNETES_PODS: Columns = (
    ("pod_uid", "string"),
    ("name", "string"),
    ("namespace", "string"),
    ("node_name", "string"),
    ("phase", "string"),
    ("workload_kind", "string"),  # of the topmost owner; Pod where nobody owns it
    ("workload_name", "string"),
    ("workload_uid", "string"),
    ("image_version", "string"),  # of its containers, distinct, sorted, with commas
    ("labels", "string"),
    ("annotations", "string"),
    ("host_network", "bool"),
    ("removed", "bool"),
)
KUBERNETES_CONTAINERS: Columns = (
    ("container_key", "string"),  # pod uid, slash, name
    ("pod_uid", "string"),
    ("name", "string"),
    ("kind", "string"),  # container, init or ephemeral
    ("container_id", "string"),  # without "containerd://"
    ("image", "string"),
    ("image_version", "string"),
    ("removed", "bool"),
)
KUBERNETES_SERVICES: Columns = (
    ("service_uid", "string"),
    ("name", "string"),
    ("namespace", "string"),
    ("type", "string"),
    ("labels", "string"),
    ("removed", "bool"),
)
KUBERNETES_ADDRESSES: Columns = (
    ("address_key", "string"),  # owner uid and the address, port, protocol; unique
    ("kind", "string"),  # pod, service, node, node_port or load_balancer
    ("owner_uid", "string"),  # of a pod, service or node
    ("address_high", "int64"),
    ("address_low", "int64"),
    ("from_ns", "int64"),  # Unix time since when; 0: always
    ("until_ns", "int64"),  # until when; 0: still
    ("port", "int32"),  # 0: any
    ("protocol", "int8"),  # 0: any
    ("removed", "bool"),
)
"""Who had which address when. ``node_port``: address 0 is any node's; the owner is the
service. External addresses of a service are ``load_balancer``. A pod on the host's
network has none: its address is the node's."""
KUBERNETES_ENDPOINTS: Columns = (
    ("endpoint_key", "string"),  # service uid and the address, port, protocol
    ("service_uid", "string"),
    ("pod_uid", "string"),  # "" where it is no pod
    ("address_high", "int64"),
    ("address_low", "int64"),
    ("port", "int32"),
    ("protocol", "int8"),
    ("removed", "bool"),
)

TABLES: Mapping[str, Columns] = {
    "edges": EDGES,
    "edge_samples": EDGE_SAMPLES,
    "hosts": HOSTS,
    "processes": PROCESSES,
    "cgroups": CGROUPS,
    "translations": TRANSLATIONS,
    "kubernetes_clusters": KUBERNETES_CLUSTERS,
    "kubernetes_nodes": KUBERNETES_NODES,
    "kubernetes_namespaces": KUBERNETES_NAMESPACES,
    "kubernetes_pods": KUBERNETES_PODS,
    "kubernetes_containers": KUBERNETES_CONTAINERS,
    "kubernetes_services": KUBERNETES_SERVICES,
    "kubernetes_addresses": KUBERNETES_ADDRESSES,
    "kubernetes_endpoints": KUBERNETES_ENDPOINTS,
}
REFERENCE_KEYS: Mapping[str, str] = {
    "hosts": "host_id",
    "processes": "process_id",
    "cgroups": "cgroup_id",
    "translations": "translation_id",
    "kubernetes_clusters": "cluster_uid",
    "kubernetes_nodes": "node_uid",
    "kubernetes_namespaces": "namespace_uid",
    "kubernetes_pods": "pod_uid",
    "kubernetes_containers": "container_key",
    "kubernetes_services": "service_uid",
    "kubernetes_addresses": "address_key",
    "kubernetes_endpoints": "endpoint_key",
}
"""Reference tables and their key column. A row replaces the row of the same collector,
incarnation and key; one with ``removed`` ends it. A ``removed`` row of
``kubernetes_addresses`` has ``until_ns``. The tables of a host describe that host; the
``kubernetes_*`` ones describe the cluster that the same collector names."""

NODE_LABELS: tuple[str, ...] = (
    "workload.name",
    "workload.uid",
    "availability_zone",
    "id",
    "ip",
    "resolution_type",
    "image_version",
    "environment",
    "namespace.name",
    "process.name",
    "container.name",
    "pod",
    "service.name",
    "node.name",
    "region",
    "k8s.cluster.name",
    "k8s.cluster.uid",
    "geo.country.iso_code",
)
"""Labels of one end; exporters put ``source.`` or ``dest.`` before them."""

AZ_LABELS: tuple[str, ...] = tuple(
    label
    for label in NODE_LABELS
    if label not in ("id", "ip", "pod", "workload.uid", "node.name")
)
"""Labels of an end at the ``az`` side of a level; the others are empty there."""

LEVELS: tuple[str, ...] = ("id_id", "az_id", "id_az", "az_az")

LEVEL_EDGES: Columns = (
    ("source", "int32"),  # row number in nodes
    ("dest", "int32"),
    ("bytes", "int64"),  # source to dest
    ("packets", "int64"),
    ("retransmits", "int64"),  # sent again by source
    ("resets", "int64"),  # sent by source
    ("syn_timeouts", "int64"),  # SYN or SYN-ACK sent again by source
    ("opened", "int64"),  # sockets opened at source towards dest
    ("closed", "int64"),
    ("open", "int64"),
    ("connect_failures", "int64"),  # source tried to reach dest
    ("drops", "int64"),  # of datagrams from source, at dest
    ("rtt_count", "int64"),  # measured at source
    ("rtt_sum_us", "int64"),
    ("rtt_min_us", "int64"),  # 0: no sample
    ("rtt_max_us", "int64"),
    ("connect_count", "int64"),  # source is the client
    ("connect_sum_us", "int64"),
    ("protocol", "int8"),
)
"""One row for each (source, dest, protocol) of a window; both directions have a row."""

LEVEL_SAMPLES: Columns = (
    ("edge", "int32"),  # row number in the level's edges; sorted by edge, kind, bucket
    ("count", "int64"),
    ("bucket", "int16"),
    ("kind", "int8"),
)


@dataclass(frozen=True)
class Level:
    """One aggregation level of one window.

    ``nodes`` has a string column for each of NODE_LABELS (empty where unknown) and one
    row for each distinct end; ``edges`` is LEVEL_EDGES; ``samples`` is LEVEL_SAMPLES.
    """

    nodes: pa.Table
    edges: pa.Table
    samples: pa.Table


@dataclass(frozen=True)
class Window:
    """What the reducer makes of one window: values in [start_ns, end_ns), Unix time.

    ``levels`` has the enabled ones of LEVELS. A window may be followed by another of
    the same time with what came late; their values add up.
    """

    start_ns: int
    end_ns: int
    levels: Mapping[str, Level]


@dataclass(frozen=True)
class InternalPoint:
    """One value of an ``ebpf_net.*`` metric; counters are cumulative."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
