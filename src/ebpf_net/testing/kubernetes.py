"""Builder of the tables that a Kubernetes collector sends of one cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ebpf_net.schema import Protocol
from ebpf_net.testing.tables import Row, Value, split_address


@dataclass
class Cluster:
    """Rows of ``kubernetes_*``; uids are made of the cluster's and the object's name.

    ``tables`` has them by the table's whole name.
    """

    name: str = "main"
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add("clusters", cluster_uid=self.uid, name=self.name)

    @property
    def uid(self) -> str:
        """Its own uid."""
        return f"uid-{self.name}"

    def add_node(self, name: str, addresses: Iterable[str] = (), **more: Value) -> str:
        """Add a node with its addresses; return its uid."""
        uid = self._uid(name)
        self._add("nodes", node_uid=uid, name=name, **more)
        for address in addresses:
            self.add_address("node", uid, address)
        return uid

    def add_pod(
        self,
        name: str,
        addresses: Iterable[str] = (),
        *,
        workload: str = "",
        span: tuple[int, int] = (0, 0),
        **more: Value,
    ) -> str:
        """Add a pod with one container ``app`` and its addresses; return its uid."""
        uid = self._uid(name)
        pod: dict[str, Value] = {
            "pod_uid": uid,
            "name": name,
            "namespace": "default",
            "workload_name": workload or name,
            "workload_uid": self._uid(workload or name),
            "image_version": "1.0",
            **more,
        }
        self._add("pods", **pod)
        self._add(
            "containers",
            container_key=f"{uid}/app",
            pod_uid=uid,
            name="app",
            kind="container",
            container_id=f"container-of-{uid}",
            image="app",
            image_version=pod["image_version"],
        )
        for address in addresses:
            self.add_address("pod", uid, address, from_ns=span[0], until_ns=span[1])
        return uid

    def add_service(
        self,
        name: str,
        addresses: Iterable[str] = (),
        ports: Sequence[int] = (80,),
        kind: str = "service",
        **more: Value,
    ) -> str:
        """Add a Service with these TCP ports at its addresses; return its uid."""
        uid = self._uid(name)
        self._add(
            "services",
            **{"service_uid": uid, "name": name, "namespace": "default", **more},
        )
        for address in addresses:
            for port in ports:
                self.add_address(
                    kind, uid, address, port=port, protocol=int(Protocol.TCP)
                )
        return uid

    def add_node_port(self, service_uid: str, port: int) -> None:
        """Add a TCP port at which any node answers for a Service."""
        self._add(
            "addresses",
            address_key=f"{service_uid}/node-port/{port}",
            kind="node_port",
            owner_uid=service_uid,
            port=port,
            protocol=int(Protocol.TCP),
        )

    def add_address(
        self, kind: str, owner_uid: str, address: str, **more: Value
    ) -> None:
        """Add an address of a pod, Service or node."""
        high, low = split_address(address)
        self._add(
            "addresses",
            address_key=f"{owner_uid}/{address}/{more.get('port', 0)}",
            kind=kind,
            owner_uid=owner_uid,
            address_high=high,
            address_low=low,
            **more,
        )

    def add_endpoint(
        self, service_uid: str, address: str, port: int, pod_uid: str = ""
    ) -> None:
        """Add who answers for a Service."""
        high, low = split_address(address)
        self._add(
            "endpoints",
            endpoint_key=f"{service_uid}/{address}/{port}",
            service_uid=service_uid,
            pod_uid=pod_uid,
            address_high=high,
            address_low=low,
            port=port,
            protocol=int(Protocol.TCP),
        )

    def _uid(self, name: str) -> str:
        return f"{self.uid}-{name}"

    def _add(self, table: str, **row: Value) -> None:
        self.tables.setdefault(f"kubernetes_{table}", []).append(row)


def make_translation(
    number: int, client: str, service: str, server: str, ports: tuple[int, int]
) -> Row:
    """Build one row of translations, of TCP; ``ports`` are the Service's and server's.

    The server sees the client's own address.
    """
    row: dict[str, Value] = {
        "translation_id": number,
        "service_port": ports[0],
        "server_port": ports[1],
        "protocol": int(Protocol.TCP),
    }
    for side, address in (
        ("client", client),
        ("service", service),
        ("outer", client),
        ("server", server),
    ):
        row[f"{side}_address_high"], row[f"{side}_address_low"] = split_address(address)
    return row
