"""Both ends of connections: as their sockets see them, or the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.addresses import address_halves
from ebpf_net.collectors.kernel.conntrack import (
    TRANSLATION,
    Outcome,
    Translations,
)

Int64s = npt.NDArray[np.int64]
Halves = tuple[Int64s, Int64s]

_WORD_BYTES = 8
_WORDS = TRANSLATION.itemsize // _WORD_BYTES
_OFFSETS: Mapping[str, Any] = TRANSLATION.fields or {}
_FIRST_WORD = {end: _OFFSETS[end][1] // _WORD_BYTES for end in ("client", "server")}


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
    # As words: NumPy copies structures field by field.
    words = translations.view(">i8").reshape(-1, _WORDS)
    for outcome, local, remote in (
        (Outcome.CLIENT, "client", "server"),
        (Outcome.SERVER, "server", "client"),
    ):
        positions = np.flatnonzero(outcomes == outcome)
        if not positions.size:
            continue
        for halves, ports, end in (
            (ends.local, ends.ports[0], local),
            (ends.remote, ends.ports[1], remote),
        ):
            word = _FIRST_WORD[end]
            halves[0][positions] = words[positions, word]
            halves[1][positions] = words[positions, word + 1]
            ports[positions] = translations[f"{end}_port"][positions]
        ids = translations["translation_id"][positions]
        ends.translation_ids[positions] = ids
    return ends
