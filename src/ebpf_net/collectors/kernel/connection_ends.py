"""Both ends of connections: as their sockets see them, or the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.addresses import address_halves
from ebpf_net.collectors.kernel.conntrack import Outcome, Translations

Int64s = npt.NDArray[np.int64]
Halves = tuple[Int64s, Int64s]


@dataclass(frozen=True)
class ConnectionEnds:
    """Addresses as big-endian halves, ports, and the key of ``translations``, or 0."""

    local: Halves
    remote: Halves
    ports: tuple[Int64s, Int64s]
    translation_ids: Int64s


def ends_as_seen(records: npt.NDArray[Any]) -> ConnectionEnds:
    """Return what the sockets of TCP_RECORD or UDP_KEY see."""
    return ConnectionEnds(
        address_halves(records["local_address"]),
        address_halves(records["remote_address"]),
        (
            records["local_port"].astype(np.int64),
            records["remote_port"].astype(np.int64),
        ),
        np.zeros(records.size, np.int64),
    )


def true_ends(
    records: npt.NDArray[Any],
    outcomes: npt.NDArray[np.uint8],
    translations: Translations,
) -> ConnectionEnds:
    """Return what the sockets see, or what their translations tell."""
    ends = ends_as_seen(records)
    for outcome, local, remote in (
        (Outcome.CLIENT, "client", "server"),
        (Outcome.SERVER, "server", "client"),
    ):
        positions = np.flatnonzero(outcomes == outcome)
        told = translations[positions]
        _put_end(ends.local, ends.ports[0], positions, told, local)
        _put_end(ends.remote, ends.ports[1], positions, told, remote)
        ends.translation_ids[positions] = told["translation_id"]
    return ends


def _put_end(
    halves: Halves,
    ports: Int64s,
    positions: Int64s,
    translations: Translations,
    end: str,
) -> None:
    if positions.size:
        high, low = address_halves(translations[end])
        halves[0][positions], halves[1][positions] = high, low
        ports[positions] = translations[f"{end}_port"]
