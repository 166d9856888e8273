"""What a batch of records says about edges: one entry a record in every array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.rtt_samples import RttFacts
from ebpf_net.schema import Role

Int64s = npt.NDArray[np.int64]
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class SampleFacts:
    """Samples of one kind: positions of their records, ``sample_codes`` and counts."""

    positions: Int64s
    codes: Int64s
    counts: Int64s | None = None  # None: one each


@dataclass(frozen=True)
class EdgeFacts:
    """One batch of records as arrays.

    ``key`` are the columns of KEY_COLUMNS. ``sums`` has columns of ``schema.EDGES`` in
    their types. ``sockets`` are what UDP's ``open`` counts the distinct values of.
    """

    key: tuple[Int64s, ...]
    sums: Mapping[str, npt.NDArray[Any]]
    rtt_min_us: npt.NDArray[np.int32] | None = None
    samples: tuple[SampleFacts, ...] = ()
    rtt: RttFacts | None = None
    sockets: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return int(self.key[0].size)


KEY_COLUMNS = (
    "local_address_high",
    "local_address_low",
    "remote_address_high",
    "remote_address_low",
    "netns",
    "process_id",
    "cgroup_id",
    "translation_id",
    "ends",  # local port << 32 | remote port << 16 | protocol << 8 | role
)


def pack_ends(
    ports: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    protocol: int,
    roles: npt.NDArray[np.int64],
    keep_client_port: bool,
) -> Int64s:
    """Pack local and remote ports, protocol and roles; drop the client's port."""
    local, remote = (port.astype(np.int64) for port in ports)
    if not keep_client_port:
        local[roles == Role.CLIENT] = 0
        remote[roles == Role.SERVER] = 0
    return local << 32 | remote << 16 | protocol << 8 | roles


def unpack_ends(ends: Int64s) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of ``schema.EDGES`` that ``pack_ends`` packed."""
    return {
        "local_port": (ends >> 32).astype(np.int32),
        "remote_port": (ends >> 16 & 0xFFFF).astype(np.int32),
        "protocol": (ends >> 8 & 0xFF).astype(np.int8),
        "role": (ends & 0xFF).astype(np.int8),
    }


def count32(column: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return a column of counts as int32, the largest for what does not fit."""
    counts: npt.NDArray[np.int32] = np.minimum(column, np.int64(_INT32_MAX)).astype(
        np.int32
    )
    return counts
