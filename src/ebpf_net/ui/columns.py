"""The columns of the live table: what each shows, and which fit a width.

A column that the table is sorted by is always there; the others come in the order of
COLUMNS for as long as both ends keep room for their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ebpf_net.schema import Protocol
from ebpf_net.ui.pairs import Pairs
from ebpf_net.ui.quantities import (
    COUNT_WIDTH,
    DURATION_WIDTH,
    QUANTITY_WIDTH,
    format_count,
    format_duration,
    format_quantity,
)

Values = npt.NDArray[np.float64] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One column: its values by pair, and how one value is written.

    ``place`` orders columns from left to right. ``is_bad`` marks values above zero.
    """

    title: str
    width: int
    place: int
    help: str
    values: Callable[[Pairs], Values]
    text: Callable[[float, float], str]  # value, seconds of the window
    sort: str = ""  # the order of which it is shown always
    is_bad: bool = False


def _count(value: float, _seconds: float) -> str:
    return format_count(value)


def _rate(value: float, seconds: float) -> str:
    return format_quantity(value / seconds)


def _duration(value: float, _seconds: float) -> str:
    return format_duration(value) if value > 0 else "-"


def _protocol(value: float, _seconds: float) -> str:
    return {int(item): item.name for item in Protocol}.get(int(value), str(int(value)))


def _connect_us(pairs: Pairs) -> npt.NDArray[np.float64]:
    return pairs.connect_sum_us / np.maximum(pairs.connect_count, 1)


_NUMBER, _COUNT, _TIME = QUANTITY_WIDTH, COUNT_WIDTH, DURATION_WIDTH

COLUMNS: tuple[Column, ...] = (
    Column(
        "out/s", _NUMBER, 2, "payload bytes a second, who to whom",
        lambda pairs: pairs.bytes_out, _rate, "bytes",
    ),
    Column(
        "in/s", _NUMBER, 3, "payload bytes a second, whom to who",
        lambda pairs: pairs.bytes_in, _rate, "bytes",
    ),
    Column(
        "rtt", _TIME, 7, "mean smoothed round-trip time",
        lambda pairs: pairs.rtt_us, _duration, "rtt",
    ),
    Column(
        "retr", _COUNT, 9, "segments sent again, both directions",
        lambda pairs: pairs.retransmits, _count, "retransmits", is_bad=True,
    ),
    Column(
        "new", _COUNT, 12, "connections established in the window",
        lambda pairs: pairs.opened, _count, "new",
    ),
    Column(
        "act", _COUNT, 13, "connections open at the window's end",
        lambda pairs: pairs.open, _count, "active",
    ),
    Column(
        "", 3, 1, "protocol", lambda pairs: pairs.protocol, _protocol,
    ),
    Column(
        "pkt/s", _NUMBER, 4, "packets a second, both directions",
        lambda pairs: pairs.packets, _rate, "packets",
    ),
    Column(
        "fail", _COUNT, 14, "connects that failed",
        lambda pairs: pairs.failures, _count, "failures", is_bad=True,
    ),
    Column(
        "min", _TIME, 8, "least round-trip time",
        lambda pairs: pairs.rtt_min_us, _duration,
    ),
    Column(
        "rst", _COUNT, 10, "resets, both directions",
        lambda pairs: pairs.resets, _count, is_bad=True,
    ),
    Column(
        "conn", _TIME, 15, "mean time to connect",
        _connect_us, _duration,
    ),
    Column(
        "synt", _COUNT, 11, "SYN and SYN-ACK sent again",
        lambda pairs: pairs.syn_timeouts, _count, is_bad=True,
    ),
    Column(
        "drop", _COUNT, 16, "UDP datagrams dropped at their socket",
        lambda pairs: pairs.drops, _count, is_bad=True,
    ),
    Column(
        "pk>/s", _NUMBER, 5, "packets a second, who to whom",
        lambda pairs: pairs.packets_out, _rate,
    ),
    Column(
        "pk</s", _NUMBER, 6, "packets a second, whom to who",
        lambda pairs: pairs.packets_in, _rate,
    ),
)  # fmt: skip

ORDERS: dict[str, Callable[[Pairs], Values]] = {
    "bytes": lambda pairs: pairs.bytes,
    "packets": lambda pairs: pairs.packets,
    "rtt": lambda pairs: pairs.rtt_us,
    "retransmits": lambda pairs: pairs.retransmits,
    "new": lambda pairs: pairs.opened,
    "active": lambda pairs: pairs.open,
    "failures": lambda pairs: pairs.failures,
}
"""What the table can be sorted by, largest first."""


def sorted_rows(pairs: Pairs, order: str) -> npt.NDArray[np.int64]:
    """Return the row numbers of pairs in an order; bytes, then names break ties."""
    return np.lexsort((pairs.right, pairs.left, -pairs.bytes, -ORDERS[order](pairs)))


_ROOMS = ((140, 2, 34), (100, 2, 26), (72, 1, 16), (0, 1, 12))
"""From a width on: the gap between columns, and the least width of an end."""


@dataclass(frozen=True)
class Layout:
    """The columns that fit, from left to right, and the width of the two ends."""

    columns: tuple[Column, ...]
    gap: int
    who: int
    whom: int


def lay_out(width: int, order: str) -> Layout:
    """Choose the columns for a width."""
    gap, least = next(item[1:] for item in _ROOMS if width >= item[0])
    room = width - gap - 2 * least
    chosen: list[Column] = []
    for column in _by_need(order):
        if column.width + gap <= room:
            chosen.append(column)
            room -= column.width + gap
    ends = width - gap - sum(column.width + gap for column in chosen)
    who = max(ends // 2, 1)
    chosen.sort(key=lambda column: column.place)
    return Layout(tuple(chosen), gap, who, max(ends - who, 1))


def _by_need(order: str) -> Sequence[Column]:
    return sorted(COLUMNS, key=lambda column: column.sort != order)
