"""Every flag, variable and configuration key, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from ebpf_net.settings import values

KERNEL_COLLECTOR = "kernel-collector"
K8S_COLLECTOR = "k8s-collector"
CLOUD_COLLECTOR = "cloud-collector"
REDUCER = "reducer"
UP = "up"
PREFLIGHT = "preflight"
_COLLECTORS = frozenset({KERNEL_COLLECTOR, UP})
_KUBERNETES = frozenset({K8S_COLLECTOR})
_CLOUDS = frozenset({CLOUD_COLLECTOR})
_SENDERS = frozenset({KERNEL_COLLECTOR}) | _KUBERNETES | _CLOUDS
_REDUCERS = frozenset({REDUCER, UP})
_RUNNING = _COLLECTORS | _KUBERNETES | _CLOUDS | _REDUCERS
_ALL = _RUNNING | {PREFLIGHT}
LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    ``parse`` turns the text of a flag, variable or file into the value and raises
    ValueError with what was expected.
    """

    name: str
    flag: str
    variable: str
    default: object
    help: str
    commands: frozenset[str]
    parse: Callable[[str], object]
    kind: str
    repeatable: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its key in the configuration file."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def metavar(self) -> str:
        """What stands for its value in ``--help`` and in the documentation."""
        if self.kind == "memory":
            return "SIZE"
        if self.kind == "choice":
            return "{" + ",".join(getattr(self.parse, "choices", ())) + "}"
        return self.kind.replace("_", ":").upper()

    @property
    def shown_default(self) -> str:
        """The default as one would write it; nothing where there is none."""
        default = self.default
        if default in (None, "", ()) or default is False:
            return ""
        if self.kind in ("size", "memory"):
            return values.format_size(cast("int", default))
        if self.kind == "host_port":
            return values.format_host_port(*cast("tuple[str, int]", default))
        return str(default)


def _setting(
    default: object,
    help_text: str,
    commands: frozenset[str],
    parse: Callable[[str], object] = values.text,
    **more: Any,
) -> Any:
    """Declare one field of Settings; ``more`` are fields of Setting."""
    more |= {"help": help_text, "commands": commands, "parse": parse}
    return field(default=cast("Any", default), metadata=more)


@dataclass(frozen=True)
class Settings:
    """The values in force. ``otel`` holds the standard OTEL_* variables as they are."""

    # Where the reducer is
    intake_host: str = _setting(
        "127.0.0.1",
        "Name or address of the reducer.",
        _SENDERS,
        values.host,
        variable="EBPF_NET_INTAKE_HOST",
    )
    intake_port: int = _setting(
        8000,
        "TCP port of the reducer.",
        _SENDERS,
        values.port,
        variable="EBPF_NET_INTAKE_PORT",
    )
    intake_tls: bool = _setting(
        False,
        "Speak TLS to the reducer.",
        _SENDERS,
        values.boolean,
        variable="EBPF_NET_INTAKE_TLS",
    )
    intake_ca: Path | None = _setting(
        None,
        "File with the certificate authority of the other end; at a collector it "
        "implies TLS.",
        _SENDERS | {REDUCER},
        values.path,
        variable="EBPF_NET_INTAKE_CA",
    )
    intake_certificate: Path | None = _setting(
        None,
        "File with this end's certificate.",
        _SENDERS | {REDUCER},
        values.path,
        variable="EBPF_NET_INTAKE_CERTIFICATE",
    )
    intake_key: Path | None = _setting(
        None,
        "File with the private key of the certificate.",
        _SENDERS | {REDUCER},
        values.path,
        variable="EBPF_NET_INTAKE_KEY",
    )
    intake_token_file: Path | None = _setting(
        None,
        "File with the bearer token; read again when it changes.",
        _SENDERS | {REDUCER},
        values.path,
        variable="EBPF_NET_INTAKE_TOKEN_FILE",
    )
    # The host
    host_dir: Path | None = _setting(
        None,
        "Where the host's root is mounted in this container, such as /hostfs.",
        _COLLECTORS | {PREFLIGHT},
        values.path,
        variable="EBPF_NET_HOST_DIR",
    )
    data_dir: Path = _setting(
        Path("/var/run/ebpf_net"),
        "Where unsent batches and small state are kept.",
        _RUNNING,
        values.path,
        variable="EBPF_NET_DATA_DIR",
    )
    agent_namespace: str = _setting(
        "",
        "Label: namespace of this host.",
        _COLLECTORS,
        variable="EBPF_NET_AGENT_NAMESPACE",
    )
    agent_cluster: str = _setting(
        "",
        "Label: cluster or environment of this host.",
        _COLLECTORS,
        variable="EBPF_NET_AGENT_CLUSTER",
    )
    agent_service: str = _setting(
        "",
        "Label: service of this host.",
        _COLLECTORS,
        variable="EBPF_NET_AGENT_SERVICE",
    )
    agent_host: str = _setting(
        "",
        "Label: id of this host, instead of its name.",
        _COLLECTORS,
        variable="EBPF_NET_AGENT_HOST",
    )
    agent_zone: str = _setting(
        "",
        "Label: availability zone of this host, instead of what its cloud says.",
        _COLLECTORS,
        variable="EBPF_NET_AGENT_ZONE",
    )
    # What is collected
    interval_seconds: float = _setting(
        10.0,
        "Length of a window; give collectors and reducer the same.",
        _SENDERS | {REDUCER},
        values.seconds,
        variable="EBPF_NET_INTERVAL_SECONDS",
    )
    up_interval_seconds: float = _setting(
        2.0,
        "Length of a window, and of the live table's refresh.",
        frozenset({UP}),
        values.seconds,
        flag="--interval-seconds",
        variable="EBPF_NET_UP_INTERVAL_SECONDS",
    )
    include_cgroup: tuple[str, ...] = _setting(
        (),
        "Collect only sockets of cgroups whose path, or an ancestor's, matches.",
        _COLLECTORS,
        values.pattern,
        variable="EBPF_NET_INCLUDE_CGROUP",
        repeatable=True,
    )
    exclude_cgroup: tuple[str, ...] = _setting(
        (),
        "Leave out sockets of cgroups whose path, or an ancestor's, matches.",
        _COLLECTORS,
        values.pattern,
        variable="EBPF_NET_EXCLUDE_CGROUP",
        repeatable=True,
    )
    disable_loopback: bool = _setting(
        False,
        "Leave out traffic between loopback addresses.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_DISABLE_LOOPBACK",
    )
    disable_tcp: bool = _setting(
        False,
        "Collect no TCP.",
        _COLLECTORS | {PREFLIGHT},
        values.boolean,
        variable="EBPF_NET_DISABLE_TCP",
    )
    disable_udp: bool = _setting(
        False,
        "Collect no UDP: then no program runs per packet.",
        _COLLECTORS | {PREFLIGHT},
        values.boolean,
        variable="EBPF_NET_DISABLE_UDP",
    )
    keep_client_port: bool = _setting(
        False,
        "Keep the client's ephemeral port: one row a connection.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_KEEP_CLIENT_PORT",
    )
    disable_docker_metadata: bool = _setting(
        False,
        "Do not ask the Docker API for names.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_DISABLE_DOCKER_METADATA",
    )
    docker_socket: Path = _setting(
        Path("/var/run/docker.sock"),
        "Socket of the Docker API.",
        _COLLECTORS,
        values.path,
        variable="EBPF_NET_DOCKER_SOCKET",
    )
    disable_container_metadata: bool = _setting(
        False,
        "Ask no container runtime for names.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_DISABLE_CONTAINER_METADATA",
    )
    containerd_socket: Path | None = _setting(
        None,
        "Socket of containerd; without one, /run/containerd/containerd.sock or that "
        "of k3s, k0s or MicroK8s.",
        _COLLECTORS,
        values.path,
        variable="EBPF_NET_CONTAINERD_SOCKET",
    )
    crio_socket: Path = _setting(
        Path("/run/crio/crio.sock"),
        "Socket of CRI-O.",
        _COLLECTORS,
        values.path,
        variable="EBPF_NET_CRIO_SOCKET",
    )
    podman_socket: Path = _setting(
        Path("/run/podman/podman.sock"),
        "Socket of podman's API.",
        _COLLECTORS,
        values.path,
        variable="EBPF_NET_PODMAN_SOCKET",
    )
    cloud_metadata: str = _setting(
        "auto",
        "Cloud whose metadata service tells what this instance is: auto asks the one "
        "that the firmware names, and nobody outside a cloud; none asks nobody.",
        _COLLECTORS,
        values.choice("auto", "aws", "gcp", "azure", "none"),
        variable="EBPF_NET_CLOUD_METADATA",
    )
    cloud_metadata_timeout_ms: int = _setting(
        1000,
        "Milliseconds that each question to the metadata service may take.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_CLOUD_METADATA_TIMEOUT_MS",
    )
    allow_imdsv1: bool = _setting(
        False,
        "Ask AWS's metadata service without a token where it gives none.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_ALLOW_IMDSV1",
    )
    disable_address_translation: bool = _setting(
        False,
        "Do not look who is behind a translated address.",
        _COLLECTORS | {PREFLIGHT},
        values.boolean,
        variable="EBPF_NET_DISABLE_ADDRESS_TRANSLATION",
    )
    disable_other_namespaces: bool = _setting(
        False,
        "With a cgroup filter: look for address translation only in network namespaces "
        "with a wanted process, and the host's.",
        _COLLECTORS,
        values.boolean,
        variable="EBPF_NET_DISABLE_OTHER_NAMESPACES",
    )
    max_translations: int = _setting(
        50_000,
        "Address translations told to the reducer at a time.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_MAX_TRANSLATIONS",
    )
    max_translated_connections: int = _setting(
        65_536,
        "Translated connections followed; rounded up to a power of two.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_MAX_TRANSLATED_CONNECTIONS",
    )
    max_network_namespaces: int = _setting(
        1000,
        "Network namespaces looked into for address translation.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_MAX_NETWORK_NAMESPACES",
    )
    conntrack_buffer_bytes: int = _setting(
        8 << 20,
        "Most memory of the kernel for events of connection tracking, for each "
        "network namespace that translates.",
        _COLLECTORS,
        values.size,
        variable="EBPF_NET_CONNTRACK_BUFFER_BYTES",
    )
    max_edges: int = _setting(
        100_000,
        "Edges a collector keeps; the rest is summed without the other end.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_MAX_EDGES",
    )
    max_udp_peers: int = _setting(
        65_536,
        "Peers of UDP sockets counted apart in one window.",
        _COLLECTORS,
        values.count,
        variable="EBPF_NET_MAX_UDP_PEERS",
    )
    ring_bytes: int = _setting(
        4 << 20,
        "Size of the ring buffer, a power of two.",
        _COLLECTORS | {PREFLIGHT},
        values.size,
        variable="EBPF_NET_RING_BYTES",
    )
    forbid_attach: tuple[str, ...] = _setting(
        (),
        "Attach types not to be used, such as tp_btf: to try what an older kernel "
        "would do.",
        _COLLECTORS | {PREFLIGHT},
        values.choice("tp_btf", "fentry", "iter", "cgroup"),
        variable="EBPF_NET_FORBID_ATTACH",
        repeatable=True,
    )
    spool_memory_bytes: int = _setting(
        16 << 20,
        "Unsent batches kept in memory.",
        _COLLECTORS | _KUBERNETES | _CLOUDS,
        values.size,
        variable="EBPF_NET_SPOOL_MEMORY_BYTES",
    )
    spool_disk_bytes: int = _setting(
        256 << 20,
        "Unsent batches kept on disk.",
        _COLLECTORS | _KUBERNETES | _CLOUDS,
        values.size,
        variable="EBPF_NET_SPOOL_DISK_BYTES",
    )
    # Kubernetes
    kubeconfig: str = _setting(
        "",
        "File that tells how to reach a cluster, or several with colons between; "
        "without one, the pod's service account, then ~/.kube/config.",
        _KUBERNETES,
        variable="KUBECONFIG",
    )
    kubernetes_context: str = _setting(
        "",
        "Context of the kubeconfig, instead of the current one.",
        _KUBERNETES,
        flag="--context",
        variable="EBPF_NET_KUBERNETES_CONTEXT",
    )
    kubernetes_service_host: str = _setting(
        "",
        "Where the API server is; set in each pod.",
        _KUBERNETES,
        variable="KUBERNETES_SERVICE_HOST",
    )
    kubernetes_service_port: int = _setting(
        443,
        "TCP port of the API server; set in each pod.",
        _KUBERNETES,
        values.port,
        variable="KUBERNETES_SERVICE_PORT",
    )
    cluster_name: str = _setting(
        "",
        "Label: name of the cluster; without one, that of the kubeconfig.",
        _KUBERNETES,
        variable="EBPF_NET_CLUSTER_NAME",
    )
    collector_hostname: str = _setting(
        "",
        "Name of this replica, instead of the host's.",
        _KUBERNETES,
        variable="K8S_COLLECTOR_HOSTNAME",
    )
    allow_label: tuple[str, ...] = _setting(
        (),
        "Labels of pods, services, nodes and namespaces to send: names or patterns.",
        _KUBERNETES,
        values.pattern,
        variable="EBPF_NET_ALLOW_LABEL",
        repeatable=True,
    )
    allow_annotation: tuple[str, ...] = _setting(
        (),
        "Annotations of pods to send: names or patterns.",
        _KUBERNETES,
        values.pattern,
        variable="EBPF_NET_ALLOW_ANNOTATION",
        repeatable=True,
    )
    delete_ttl_secs: float = _setting(
        60.0,
        "Seconds for which deleted pods and services are still known.",
        _KUBERNETES,
        values.seconds,
        variable="K8S_COLLECTOR_DELETE_TTL_SECS",
    )
    delete_capacity: int = _setting(
        10_000,
        "How many deleted ones are still known; the oldest goes first.",
        _KUBERNETES,
        values.count,
        variable="K8S_COLLECTOR_DELETE_CAPACITY",
    )
    disable_leader_election: bool = _setting(
        False,
        "Send without a Lease; for a single replica.",
        _KUBERNETES,
        values.boolean,
        variable="EBPF_NET_DISABLE_LEADER_ELECTION",
    )
    lease_name: str = _setting(
        "ebpf-net-k8s-collector",
        "Lease that makes one of several replicas send.",
        _KUBERNETES,
        variable="EBPF_NET_LEASE_NAME",
    )
    lease_namespace: str = _setting(
        "",
        "Namespace of the Lease; without one, the pod's or the context's.",
        _KUBERNETES,
        variable="EBPF_NET_LEASE_NAMESPACE",
    )
    lease_duration_seconds: float = _setting(
        15.0,
        "After how long without a sign of it another replica takes over.",
        _KUBERNETES,
        values.seconds,
        variable="EBPF_NET_LEASE_DURATION_SECONDS",
    )
    # Clouds
    provider: tuple[str, ...] = _setting(
        (),
        "Clouds to ask; auto, or none: those that this machine has credentials of.",
        _CLOUDS,
        values.choice("aws", "gcp", "azure", "auto"),
        variable="EBPF_NET_PROVIDER",
        repeatable=True,
    )
    poll_interval_ms: int = _setting(
        60_000,
        "Milliseconds from one poll of a region, project or subscription to the next.",
        _CLOUDS,
        values.count,
        variable="EBPF_NET_POLL_INTERVAL_MS",
        aliases=("--ec2-poll-interval-ms",),
    )
    api_timeout_ms: int = _setting(
        20_000,
        "Milliseconds to wait for an answer of a cloud's API.",
        _CLOUDS,
        values.count,
        variable="EBPF_NET_API_TIMEOUT_MS",
        aliases=("--aws-timeout",),
    )
    aws_role_arn: tuple[str, ...] = _setting(
        (),
        "Role to take for an AWS account, instead of asking with the own credentials; "
        "self: those, too.",
        _CLOUDS,
        values.pattern,
        variable="EBPF_NET_AWS_ROLE_ARN",
        repeatable=True,
    )
    gcp_project: tuple[str, ...] = _setting(
        (),
        "Project of Google Cloud to ask; without one, that of the credentials.",
        _CLOUDS,
        values.pattern,
        variable="EBPF_NET_GCP_PROJECT",
        repeatable=True,
    )
    azure_subscription: tuple[str, ...] = _setting(
        (),
        "Subscription of Azure to ask; without one, all that the credentials see.",
        _CLOUDS,
        values.pattern,
        variable="EBPF_NET_AZURE_SUBSCRIPTION",
        repeatable=True,
    )
    allow_tag: tuple[str, ...] = _setting(
        (),
        "Tags of instances and interfaces (labels in Google Cloud) to send: names or "
        "patterns.",
        _CLOUDS,
        values.pattern,
        variable="EBPF_NET_ALLOW_TAG",
        repeatable=True,
    )
    # The reducer
    listen_host: str = _setting(
        "127.0.0.1",
        "Address to listen on; beyond loopback needs TLS or a token, or "
        "--allow-insecure-intake.",
        frozenset({REDUCER}),
        values.host,
        variable="EBPF_NET_LISTEN_HOST",
    )
    port: int = _setting(
        8000,
        "TCP port of the intake.",
        frozenset({REDUCER}),
        values.port,
        aliases=("-p",),
        variable="EBPF_NET_PORT",
    )
    up_port: int = _setting(
        0,
        "TCP port of the intake on loopback, for further collectors; 0: any free one.",
        frozenset({UP}),
        values.port,
        flag="--port",
        aliases=("-p",),
        variable="EBPF_NET_UP_PORT",
    )
    allow_insecure_intake: bool = _setting(
        False,
        "Let anybody who reaches the port send data.",
        frozenset({REDUCER}),
        values.boolean,
        variable="EBPF_NET_ALLOW_INSECURE_INTAKE",
    )
    lateness_seconds: float = _setting(
        2.0,
        "How long a window waits for a collector that is late.",
        _REDUCERS,
        values.seconds,
        variable="EBPF_NET_LATENESS_SECONDS",
    )
    threads: int = _setting(
        1,
        "Threads of the reducing engine.",
        _REDUCERS,
        values.count,
        variable="EBPF_NET_THREADS",
    )
    memory_limit_bytes: int = _setting(
        512 << 20,
        "Memory of the reducing engine, 64M or more; beyond it spills to the data "
        "directory.",
        _REDUCERS,
        values.memory,
        flag="--memory-limit",
        variable="EBPF_NET_MEMORY_LIMIT",
    )
    prom: tuple[str, int] = _setting(
        ("127.0.0.1", 7010),
        "Where Prometheus scrapes the flow metrics.",
        _REDUCERS,
        values.host_port,
        variable="EBPF_NET_PROM",
    )
    internal_prom: tuple[str, int] = _setting(
        ("127.0.0.1", 7001),
        "Where Prometheus scrapes the internal metrics.",
        _REDUCERS,
        values.host_port,
        variable="EBPF_NET_INTERNAL_PROM",
    )
    disable_prometheus_metrics: bool = _setting(
        False,
        "Open neither of the Prometheus ports.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_DISABLE_PROMETHEUS_METRICS",
    )
    enable_otlp_grpc_metrics: bool = _setting(
        False,
        "Send metrics by OTLP over gRPC.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_ENABLE_OTLP_GRPC_METRICS",
    )
    otlp_grpc_metrics_host: str = _setting(
        "localhost",
        "Host of the OTLP receiver.",
        _REDUCERS,
        values.host,
        variable="EBPF_NET_OTLP_GRPC_METRICS_HOST",
    )
    otlp_grpc_metrics_port: int = _setting(
        4317,
        "Port of the OTLP receiver.",
        _REDUCERS,
        values.port,
        variable="EBPF_NET_OTLP_GRPC_METRICS_PORT",
    )
    enable_otlp_metrics: bool = _setting(
        False,
        "Send metrics by OTLP as the OTEL_EXPORTER_OTLP_* variables say; on by "
        "itself when an endpoint is set there.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_ENABLE_OTLP_METRICS",
    )
    enable_id_id: bool = _setting(
        False,
        "Add level id_id: each end by itself.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_ENABLE_ID_ID",
    )
    enable_az_id: bool = _setting(
        False,
        "Add levels az_id and id_az.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_ENABLE_AZ_ID",
    )
    enable_metrics: tuple[str, ...] = _setting(
        (),
        "Metrics to export besides the default ones: names, or <group>.all.",
        _REDUCERS,
        values.names,
        variable="EBPF_NET_ENABLE_METRICS",
    )
    disable_metrics: tuple[str, ...] = _setting(
        (),
        "Metrics not to export: names, or <group>.all.",
        _REDUCERS,
        values.names,
        variable="EBPF_NET_DISABLE_METRICS",
    )
    disable_node_ip_field: bool = _setting(
        False,
        "Leave the label ip empty.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_DISABLE_NODE_IP_FIELD",
    )
    networks_file: Path | None = _setting(
        None,
        "File with networks and their names, one a line; read again when it changes.",
        _REDUCERS,
        values.path,
        variable="EBPF_NET_NETWORKS_FILE",
    )
    price_file: Path | None = _setting(
        None,
        "File with prices of traffic between zones, regions and the internet, for the "
        "metric zone.cost; read again when it changes.",
        _REDUCERS,
        values.path,
        variable="EBPF_NET_PRICE_FILE",
    )
    geoip_path: tuple[str, ...] = _setting(
        (),
        "MaxMind-format files (ASN, Country, City), with commas between, for "
        "autonomous systems and countries; read again when they change.",
        _REDUCERS,
        values.paths,
        variable="GEOIP_PATH",
    )
    enable_autonomous_system_ip: bool = _setting(
        False,
        "Show addresses in autonomous systems in id and ip, not AS for all of them.",
        _REDUCERS,
        values.boolean,
        variable="EBPF_NET_ENABLE_AUTONOMOUS_SYSTEM_IP",
    )
    print_config: bool = _setting(
        False,
        "Print the settings in force as a configuration file, and exit.",
        _RUNNING,
        values.boolean,
    )
    # Output and log
    output: str = _setting(
        "auto",
        "Standard output: auto (live table on a terminal, else plain lines), "
        "table, plain, json or none.",
        frozenset({UP}),
        values.choice("auto", "table", "plain", "json", "none"),
        variable="EBPF_NET_OUTPUT",
    )
    reducer_output: str = _setting(
        "none",
        "Standard output: plain or json lines, or none.",
        frozenset({REDUCER}),
        values.choice("plain", "json", "none"),
        flag="--output",
    )
    preflight_output: str = _setting(
        "table",
        "table or json.",
        frozenset({PREFLIGHT}),
        values.choice("table", "json"),
        flag="--output",
    )
    sort: str = _setting(
        "bytes",
        "Order of the live table: bytes, packets, rtt, retransmits, new, "
        "active or failures.",
        frozenset({UP}),
        values.choice(
            "bytes", "packets", "rtt", "retransmits", "new", "active", "failures"
        ),
    )
    config_file: Path | None = _setting(
        None,
        "YAML file with settings, by the names of the flags with _ for -.",
        _RUNNING,
        values.path,
        variable="EBPF_NET_CONFIG_FILE",
        aliases=("-c",),
    )
    log_console: bool = _setting(
        False,
        "Log to standard error.",
        _ALL,
        values.boolean,
        variable="EBPF_NET_LOG_CONSOLE",
        aliases=("--console-log",),
    )
    no_log_file: bool = _setting(
        False,
        "Do not log to a file.",
        _ALL,
        values.boolean,
        variable="EBPF_NET_NO_LOG_FILE",
    )
    log_file_path: Path = _setting(
        Path("/var/log/ebpf_net.log"),
        "Log file, five of 1 MiB each; several programs may share it.",
        _ALL,
        values.path,
        variable="EBPF_NET_LOG_FILE_PATH",
    )
    log_level: str = _setting(
        "info",
        f"Least severity to log: {', '.join(LOG_LEVELS)}; "
        "--debug is short for --log-level debug.",
        _ALL,
        values.choice(*LOG_LEVELS),
        variable="EBPF_NET_LOG_LEVEL",
    )
    otel: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def _table() -> tuple[Setting, ...]:
    rows = []
    for item in fields(Settings):
        if not item.metadata:
            continue
        more = dict(item.metadata)
        more.setdefault("flag", "--" + item.name.replace("_", "-"))
        more.setdefault("variable", "")
        kind = more["parse"].__name__
        rows.append(Setting(name=item.name, default=item.default, kind=kind, **more))
    return tuple(rows)


SETTINGS: tuple[Setting, ...] = _table()
