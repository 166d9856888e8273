"""Builders of the tables that collectors send, from what differs from 0 and ""."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from ebpf_net.intake.batch import BatchHeader, BatchKind
from ebpf_net.intake.decode import DecodedBatch
from ebpf_net.schema import TABLES, Protocol, Role

WINDOW_NS = 10_000_000_000
START_NS = 1_700_000_000_000_000_000

Value = int | str | bool
Row = Mapping[str, Value]


def make_table(name: str, rows: Iterable[Row]) -> pa.Table:
    """Build one table of ``schema``."""
    rows = list(rows)
    arrays, fields = [], []
    for column, kind in TABLES[name]:
        data_type = pa.bool_() if kind == "bool" else getattr(pa, kind)()
        blank: Value = "" if kind == "string" else 0
        values = [row.get(column, blank) for row in rows]
        if kind == "bool":
            values = [bool(value) for value in values]
        arrays.append(pa.array(values, data_type))
        fields.append(pa.field(column, data_type, nullable=False))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def split_address(text: str) -> tuple[int, int]:
    """Return the two signed halves of an address; IPv4 as ::ffff:a.b.c.d."""
    address = ipaddress.ip_address(text)
    packed = address.packed
    if address.version == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    return (
        int.from_bytes(packed[:8], "big", signed=True),
        int.from_bytes(packed[8:], "big", signed=True),
    )


def make_edge(local: str, remote: str, port: int, role: Role, **values: int) -> Row:
    """Build one row of edges; ``port`` is the server's."""
    local_high, local_low = split_address(local)
    remote_high, remote_low = split_address(remote)
    ports = {"remote_port": port} if role is Role.CLIENT else {"local_port": port}
    return {
        "local_address_high": local_high,
        "local_address_low": local_low,
        "remote_address_high": remote_high,
        "remote_address_low": remote_low,
        "protocol": int(Protocol.TCP),
        "role": int(role),
        **ports,
        **values,
    }


def client_row(client: str, server: str, port: int, **values: int) -> Row:
    """Build the client's row of an edge."""
    return make_edge(client, server, port, Role.CLIENT, **values)


def server_row(client: str, server: str, port: int, **values: int) -> Row:
    """Build the server's row of an edge."""
    return make_edge(server, client, port, Role.SERVER, **values)


def translation_row(
    client: str,
    service: tuple[str, int],
    outer: str,
    server: tuple[str, int],
    protocol: int = int(Protocol.TCP),
) -> Mapping[str, int]:
    """Build a row of translations; ``service`` and ``server`` are address and port."""
    ends = {
        "client": client,
        "service": service[0],
        "outer": outer,
        "server": server[0],
    }
    values = {
        f"{end}_address_{half}": part
        for end, address in ends.items()
        for half, part in zip(("high", "low"), split_address(address), strict=True)
    }
    content = repr((client, service, outer, server, protocol)).encode()
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return {
        "translation_id": int.from_bytes(digest, "little", signed=True),
        "service_port": service[1],
        "server_port": server[1],
        "protocol": protocol,
        **values,
    }


def make_header(window: int = 0, **values: object) -> BatchHeader:
    """Build a header of the window with this number, counted from START_NS."""
    start = START_NS + window * WINDOW_NS
    header: dict[str, object] = {
        "collector": "one",
        "incarnation": "first",
        "host": "host-one",
        "kind": BatchKind.WINDOW,
        "sequence": window + 1,
        "window_start_ns": start,
        "window_end_ns": start + WINDOW_NS,
        "last_of_window": True,
        "status": {},
    }
    return BatchHeader(**{**header, **values})  # type: ignore[arg-type]  # one of each


def make_batch(
    edges: Sequence[Row] = (),
    *,
    samples: Sequence[tuple[int, int, int, int]] = (),
    tables: Mapping[str, Iterable[Row]] | None = None,
    header: BatchHeader | None = None,
) -> DecodedBatch:
    """Build a batch; a sample is (edge, kind, bucket, count)."""
    sample_rows = [
        {"edge": edge, "kind": int(kind), "bucket": bucket, "count": count}
        for edge, kind, bucket, count in samples
    ]
    made = {name: make_table(name, (tables or {}).get(name, ())) for name in TABLES}
    made["edges"] = make_table("edges", edges)
    made["edge_samples"] = make_table("edge_samples", sample_rows)
    return DecodedBatch(header or make_header(), made)
