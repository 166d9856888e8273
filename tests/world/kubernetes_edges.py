"""What a test expects between workloads, and what came out at the far end.

An end is the name of its workload, with the Service that the client asked for in
brackets; one that has no workload is its address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.world.kubernetes_api import Object
from tests.world.otel_collector import OtelCollector

_METRICS = ("tcp.bytes", "tcp.new_sockets", "tcp.connect.failures", "udp.bytes")


# Amounts by source, dest and metric; they add up and are compared.
Edges = Counter[tuple[str, str, str]]


def describe_difference(expected: Edges, told: Edges) -> str:
    """Return what is missing and what is too much."""
    missing, excess = dict(expected - told), dict(told - expected)
    return f"missing: {missing}\ntoo much: {excess}"


def without(edges: Edges, name: str) -> Edges:
    """Return the edges that have no end of this name."""
    return Edges({key: edges[key] for key in edges if name not in key})


def exchanged(client: str, server: str, report: Object) -> Edges:
    """Return the edges of what ``ebpf-net-test call`` says that it counted."""
    tcp, udp = report["tcp"], report["udp"]
    assert (tcp["errors"], udp["errors"]) == (0, 0), report
    return (
        Edges(
            {
                (client, server, "tcp.bytes"): tcp["bytes_sent"],
                (server, client, "tcp.bytes"): tcp["bytes_received"],
                (client, server, "tcp.new_sockets"): tcp["connections"],
                (server, client, "tcp.new_sockets"): tcp["connections"],
                (client, server, "udp.bytes"): udp["bytes_sent"],
                (server, client, "udp.bytes"): udp["bytes_received"],
            }
        )
        + Edges()
    )


def add_reports(reports: Sequence[Object]) -> Object:
    """Return the sum of what several calls of ``ebpf-net-test`` counted."""
    first = reports[0]
    return {
        protocol: {
            name: sum(report[protocol][name] for report in reports)
            for name in first[protocol]
        }
        for protocol in ("tcp", "udp")
    }


def target(address: str, port: int) -> str:
    """Return an address with a port, as programs take it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_edges(otel: OtelCollector, namespace: str) -> Edges:
    """Return what was told of ends in a namespace, of single ends."""
    edges = Edges()
    for metric in _METRICS:
        for point in otel.points(metric, {"aggregation": "id_id"}):
            labels = point.attributes
            namespaces = (_label(labels, end, "namespace.name") for end in _ENDS)
            if namespace in namespaces and point.value:
                source, dest = (_name(labels, end) for end in _ENDS)
                edges[source, dest, metric] += int(point.value)
    return edges


_ENDS = ("source", "dest")


def _name(labels: Mapping[str, str], end: str) -> str:
    name = _label(labels, end, "workload.name")
    if name == "(unknown)":
        name = _label(labels, end, "ip")
    service = _label(labels, end, "service.name")
    return f"{name}[{service}]" if service else name


def _label(labels: Mapping[str, str], end: str, name: str) -> str:
    return labels.get(f"{end}.{name}", "")
