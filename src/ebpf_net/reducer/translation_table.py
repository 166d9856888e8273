"""What hosts have translated, as steps from key to key, and what these connect.

Addresses mean something in their scope (see ``scopes.py``): what a host of one cluster
has translated says nothing of another cluster's addresses. A translator in no cluster
says nothing of addresses that several clusters have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.memory import find
from ebpf_net.reducer.places import Ranges
from ebpf_net.reducer.rows import address_columns, int64_column
from ebpf_net.reducer.scopes import EVERYWHERE
from ebpf_net.reducer.watched import Watched


@dataclass(frozen=True)
class Tellers:
    """For each row of translations the host and the scopes of who told of it.

    Beside each scope are the addresses that mean something there only.
    """

    host: Int64
    scopes: tuple[tuple[Int64, Ranges], ...] = ()


@dataclass(frozen=True)
class Steps:
    """Translations by hosts that are not the client's own, distinct."""

    asked: Int64  # far keys, as rows have them
    seen: Int64
    table: pa.Table

    @staticmethod
    def of(translations: pa.Table, tellers: Tellers, watched: Watched) -> Steps:
        """Compute the keys and leave out what a client's own host has resolved."""
        protocol = int64_column(translations, "protocol")

        def key(server: str, client: str) -> Int64:
            service = (int64_column(translations, f"{server}_port") << 8) | protocol
            at_server = address_columns(translations, f"{server}_address")
            at_client = address_columns(translations, f"{client}_address")
            plain = combine(combine(*at_server, service), *at_client)
            return plain ^ _scopes(tellers, at_server, at_client)

        asked, seen = key("service", "client"), key("server", "outer")
        is_own = watched.on_host(
            combine(*address_columns(translations, "client_address")), tellers.host
        )
        chosen = np.flatnonzero((asked != seen) & ~is_own)
        order = chosen[_first_of_each(combine(asked[chosen], seen[chosen]))]
        order = order[np.argsort(asked[order])]
        return Steps(asked[order], seen[order], translations.take(order))

    def addresses(self, end: str) -> Int64:
        """Return the key of an end's address."""
        return combine(*address_columns(self.table, f"{end}_address"))


@dataclass(frozen=True)
class Passages:
    """Steps as a graph of keys; each of its parts is a passage."""

    steps: Steps
    nodes: Int64  # sorted keys
    start: Int64  # of each step, a node
    end: Int64
    part: Int64  # of each node

    @staticmethod
    def of(steps: Steps) -> Passages:
        """Connect the steps."""
        ends = np.sort(np.concatenate([steps.asked, steps.seen]))
        begins = np.ones(len(ends), np.bool_)
        begins[1:] = ends[1:] != ends[:-1]
        nodes = ends[begins]
        start, end = find(nodes, steps.asked), find(nodes, steps.seen)
        part = np.arange(len(nodes))
        while True:
            least = np.minimum(part[start], part[end])
            joined = part.copy()
            np.minimum.at(joined, start, least)
            np.minimum.at(joined, end, least)
            joined = joined[joined]
            if (joined == part).all():
                return Passages(steps, nodes, start, end, part)
            part = joined

    @property
    def size(self) -> int:
        """Number of nodes; parts are named by one of theirs."""
        return len(self.nodes)

    def among(self, nodes: Int64) -> Bool:
        """Tell of each node whether it is one of these; -1 is none."""
        result = np.zeros(self.size, np.bool_)
        result[nodes[nodes >= 0]] = True
        return result

    def only(self, own: Int64, other: Int64) -> tuple[Int64, Int64]:
        """Return the one node that a step leads to from each, or -1, and the step."""
        degree = np.bincount(own, minlength=self.size)
        towards, step = np.full((2, self.size), -1, np.int64)
        towards[own], step[own] = other, np.arange(len(own))
        towards[degree != 1] = -1
        return towards, step


def _first_of_each(keys: Int64) -> Int64:
    """Return the first place of each distinct key."""
    order = np.argsort(keys)
    in_order = keys[order]
    begins = np.ones(len(keys), np.bool_)
    begins[1:] = in_order[1:] != in_order[:-1]
    return np.minimum.reduceat(order, np.flatnonzero(begins)) if len(keys) else order


def _scopes(tellers: Tellers, *ends: tuple[Int64, Int64]) -> Int64:
    """Return the scope of keys of these addresses."""
    scopes = np.full(len(tellers.host), EVERYWHERE, np.int64)
    for scope, shared in tellers.scopes:
        chosen = np.zeros(len(scopes), np.bool_)
        for high, low in ends:
            chosen |= shared.has(high, low)
        scopes = np.where(chosen & (scopes == EVERYWHERE), scope, scopes)
    return scopes
