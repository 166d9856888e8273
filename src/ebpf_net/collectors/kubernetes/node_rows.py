"""From nodes and namespaces to rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ebpf_net.collectors.addresses import to_ns
from ebpf_net.collectors.kubernetes.address_rows import Holder, address_row
from ebpf_net.collectors.kubernetes.objects import Metadata, Node
from ebpf_net.collectors.object_labels import AllowList
from ebpf_net.collectors.row_table import Row

_ADDRESS_TYPES = ("InternalIP", "ExternalIP")


def node_row(node: Node, labels: AllowList) -> Row:
    """Return the row of ``kubernetes_nodes``."""
    metadata, info = node.metadata, node.status.node_info
    own = metadata.labels or {}
    return (
        metadata.uid,
        metadata.name,
        info.machine_id.replace("-", ""),
        info.boot_id,
        node.spec.provider_id,
        _label(
            own, "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"
        ),
        _label(
            own, "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
        ),
        _label(
            own,
            "topology.kubernetes.io/region",
            "failure-domain.beta.kubernetes.io/region",
        ),
        labels.to_json(own),
    )


def node_address_rows(node: Node) -> Iterator[tuple[str, Row]]:
    """Yield keys and rows of ``kubernetes_addresses``."""
    metadata = node.metadata
    holder = Holder("node", metadata.uid, to_ns(metadata.creation_timestamp))
    for address in node.status.addresses or ():
        if address.type in _ADDRESS_TYPES:
            found = address_row(holder, address.address)
            if found is not None:
                yield found


def namespace_row(metadata: Metadata, labels: AllowList) -> Row:
    """Return the row of ``kubernetes_namespaces``."""
    return metadata.uid, metadata.name, labels.to_json(metadata.labels)


def _label(labels: Mapping[str, str], *names: str) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
