"""Columns of the tables that tell what edges name, or what those rows lead to.

The last column of each is ``removed``. What the tables are about is in ``tables.py``.
"""

from __future__ import annotations

from ebpf_net.schema.edges import Columns

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

CLOUD_ACCOUNTS: Columns = (
    ("account_key", "string"),  # provider and account
    ("provider", "string"),  # aws, gcp or azure, as OpenTelemetry's cloud.provider
    ("account", "string"),  # account, project or subscription
    ("name", "string"),
    ("removed", "bool"),
)
CLOUD_INTERFACES: Columns = (
    ("interface_uid", "string"),  # provider/account/region/id; unique everywhere
    ("provider", "string"),
    ("account", "string"),
    ("region", "string"),
    ("zone", "string"),  # as the account calls it
    ("zone_id", "string"),  # the same for all accounts
    ("network", "string"),  # VPC; unique everywhere
    ("subnet", "string"),
    ("interface_id", "string"),
    ("instance_id", "string"),
    ("instance_type", "string"),
    ("kind", "string"),  # instance, load_balancer, nat_gateway, database, ...
    ("name", "string"),  # what people call it
    ("role", "string"),  # what it serves: balancer, database, scaling group; or ""
    ("tags", "string"),  # those allowed, a JSON object
    ("removed", "bool"),
)
CLOUD_ADDRESSES: Columns = (
    ("address_key", "string"),  # interface_uid and the range
    ("interface_uid", "string"),
    ("network", "string"),  # where a private address is; "": public, so anywhere
    ("address_high", "int64"),
    ("address_low", "int64"),
    ("from_ns", "int64"),  # as of ``kubernetes_addresses``
    ("until_ns", "int64"),
    ("prefix_length", "int32"),  # of 128 bits; 128: one address
    ("removed", "bool"),
)
CLOUD_INSTANCES: Columns = (
    ("instance_key", "string"),  # provider and instance_id
    ("provider", "string"),
    ("account", "string"),
    ("region", "string"),
    ("zone", "string"),
    ("zone_id", "string"),
    ("instance_id", "string"),
    ("instance_type", "string"),
    ("name", "string"),
    ("lifecycle", "string"),  # on-demand, spot, ...
    ("termination_ns", "int64"),  # Unix time that was announced; 0: none was
    ("removed", "bool"),
)
"""What a host in a cloud knows of itself; at most one row."""
CLOUD_INSTANCE_ADDRESSES: Columns = (
    ("address_key", "string"),  # interface and private address
    ("interface_id", "string"),
    ("network", "string"),
    ("subnet", "string"),
    ("private_address_high", "int64"),
    ("private_address_low", "int64"),
    ("public_address_high", "int64"),  # both 0: it has none
    ("public_address_low", "int64"),
    ("removed", "bool"),
)
