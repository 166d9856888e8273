"""Whether the values of a batch's tables can be: vectorised, a few kernels a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ebpf_net.errors import BatchError
from ebpf_net.schema import (
    REFERENCE_KEYS,
    TABLES,
    ConnectFailure,
    Drop,
    Protocol,
    Role,
    Sample,
    timed_tables,
)

MAX_STRING_BYTES = 65_536
MIN_BUCKET = -200  # 2**-50 s
MAX_BUCKET = 100  # 2**25 s
MAX_SUM = 1 << 53
"""Of a counter over a batch's rows: a window of a thousand batches fits in 63 bits."""

_ADDRESS_HALVES = ("address_high", "address_low")
_ANY_VALUE = frozenset({"process_id", "cgroup_id", "bucket"}) | {
    column
    for columns in TABLES.values()
    for column, _ in columns
    if column.endswith(_ADDRESS_HALVES)
}
_COUNTERS = (
    "bytes_sent",
    "bytes_received",
    "packets_sent",
    "packets_received",
    "rtt_sum_us",
    "connect_sum_us",
)
"""What is summed and has 64 bits; of those with 32 no batch has rows enough."""
_MAXIMA: Mapping[str, int] = {
    "local_port": 65_535,
    "remote_port": 65_535,
    "role": max(Role),
    "protocol": max(Protocol),
    "kind": max(Sample),
    "prefix_length": 128,
}
_MINIMA: Mapping[str, int] = {"kind": min(Sample)}
_BUCKETS: Mapping[int, tuple[int, int]] = {
    Sample.RTT: (MIN_BUCKET, MAX_BUCKET),
    Sample.CONNECT_DURATION: (MIN_BUCKET, MAX_BUCKET),
    Sample.CONNECT_FAILURE: (min(ConnectFailure), max(ConnectFailure)),
    Sample.DROP: (min(Drop), max(Drop)),
}
_LOWEST = np.array([0] + [_BUCKETS[kind][0] for kind in Sample])
_HIGHEST = np.array([0] + [_BUCKETS[kind][1] for kind in Sample])

IntegerArray = npt.NDArray[np.integer[Any]]


def check_values(tables: Mapping[str, pa.Table]) -> None:
    """Raise BatchError where a value cannot be."""
    for name, table in tables.items():
        if table.num_rows:
            _check_ranges(name, table)
    edges, samples = tables["edges"], tables["edge_samples"]
    if edges.num_rows:
        _check_protocols(_values(edges, "protocol"))
        _check_sums(edges)
    if samples.num_rows:
        _check_samples(samples, edges.num_rows)
    for name in timed_tables():
        if tables[name].num_rows:
            _check_spans(name, tables[name])


def keep_last_rows(name: str, table: pa.Table) -> pa.Table:
    """Return a reference table with the last row of each key: later rows replace."""
    key = REFERENCE_KEYS.get(name)
    if key is None or pc.count_distinct(table[key]).as_py() == table.num_rows:
        return table
    numbered = pa.table({"key": table[key], "row": np.arange(table.num_rows)})
    last = numbered.group_by("key", use_threads=False).aggregate([("row", "max")])
    rows = last["row_max"]
    return table.take(rows.take(pc.sort_indices(rows)))


def _check_ranges(name: str, table: pa.Table) -> None:
    for column, kind in TABLES[name]:
        if kind == "string":
            _check_length(name, column, table[column])
        elif kind != "bool" and column not in _ANY_VALUE:
            values = _values(table, column)
            _check_range(name, column, int(np.min(values)), int(np.max(values)))


def _check_range(name: str, column: str, smallest: int, largest: int) -> None:
    if smallest < _MINIMA.get(column, 0):
        raise BatchError("values", f"{name}.{column} has {smallest}")
    if column in _MAXIMA and largest > _MAXIMA[column]:
        raise BatchError("values", f"{name}.{column} has {largest}")


def _check_length(name: str, column: str, values: pa.ChunkedArray[Any]) -> None:
    longest = pc.max(pc.binary_length(values)).as_py()
    if longest > MAX_STRING_BYTES:
        raise BatchError("values", f"{name}.{column} has a text of {longest} bytes")


def _check_protocols(protocols: IntegerArray) -> None:
    known = (protocols == Protocol.TCP) | (protocols == Protocol.UDP)
    if not known.all():
        other = int(protocols[~known][0])
        raise BatchError("values", f"edges.protocol has {other}")


def _check_sums(edges: pa.Table) -> None:
    for column in _COUNTERS:
        total = float(_values(edges, column).sum(dtype=np.float64))
        if total > MAX_SUM:
            raise BatchError("values", f"edges.{column} has {total:.0f} in all")


def _check_spans(name: str, table: pa.Table) -> None:
    from_ns, until_ns = _values(table, "from_ns"), _values(table, "until_ns")
    wrong = (until_ns != 0) & (until_ns < from_ns)
    if wrong.any():
        until = int(until_ns[wrong][0])
        message = f"{name}.until_ns has {until}, before its from_ns"
        raise BatchError("values", message)


def _check_samples(samples: pa.Table, edges: int) -> None:
    last = int(np.max(_values(samples, "edge")))
    if last >= edges:
        raise BatchError("values", f"edge_samples.edge is {last} of {edges} edges")
    kinds, buckets = _values(samples, "kind"), _values(samples, "bucket")
    wrong = (buckets < _LOWEST[kinds]) | (buckets > _HIGHEST[kinds])
    if wrong.any():
        bucket = int(buckets[wrong][0])
        raise BatchError("values", f"edge_samples.bucket has {bucket}")


def _values(table: pa.Table, column: str) -> IntegerArray:
    values: IntegerArray = table[column].to_numpy()
    return values
