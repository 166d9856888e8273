"""One window after another: records go in, tables come out.

Used by the collector's loop alone, but for ``snapshot``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.address_translation import AddressTranslation
from ebpf_net.collectors.kernel.addresses import are_loopback
from ebpf_net.collectors.kernel.cgroups import CgroupTable
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.edge_facts import KEY_COLUMNS, EdgeFacts, Int64s
from ebpf_net.collectors.kernel.edges import EdgeColumns, EdgeTable
from ebpf_net.collectors.kernel.processes import ProcessTable
from ebpf_net.collectors.kernel.records import TcpFlag, TcpRole
from ebpf_net.collectors.kernel.roles import SocketRoles
from ebpf_net.collectors.kernel.tcp import socket_ids, tcp_facts
from ebpf_net.collectors.kernel.udp import udp_facts
from ebpf_net.collectors.row_table import Table
from ebpf_net.schema import Role

Records = npt.NDArray[Any]

_CHUNK = 4096  # records; enough to be worth a call, few enough for a small memory
_PROCESS = KEY_COLUMNS.index("process_id")
_CGROUP = KEY_COLUMNS.index("cgroup_id")


@dataclass(frozen=True)
class WindowTables:
    """What one window adds: changes of reference tables, and edges."""

    references: dict[str, Table]
    edges: EdgeColumns


class WindowBuilder:
    """Builds the tables of windows; each is what was added since the last one."""

    def __init__(
        self,
        edges: EdgeTable,
        processes: ProcessTable,
        cgroups: CgroupTable,
        *,
        keep_client_port: bool = False,
        leave_out_loopback: bool = False,
        translation: AddressTranslation | None = None,
    ) -> None:
        self._edges = edges
        self._processes = processes
        self._cgroups = cgroups
        self._keep_client_port = keep_client_port
        self._leave_out_loopback = leave_out_loopback
        self._translation = translation
        self._roles = SocketRoles()
        self._held: list[Records] = []
        self._held_count = 0
        self._undecided: list[Records] = []
        self._references_lock = threading.Lock()
        self.filtered_records = 0
        """Records left out as the user wants, since the start."""

    def add_tcp(self, records: Records) -> None:
        """Add TCP records; a few of them wait for more, or for ``settle``."""
        if not records.size:
            return
        self._held.append(records)
        self._held_count += records.size
        if self._held_count >= _CHUNK:
            self.settle()

    def settle(self) -> None:
        """Count all records that were added."""
        held, self._held, self._held_count = self._held, [], 0
        if not held:
            return
        self._hear_translations()
        records = held[0] if len(held) == 1 else _join(held)
        for start in range(0, records.size, _CHUNK):
            self._add_tcp(records[start : start + _CHUNK])

    def add_udp(self, keys: Records, values: Records) -> None:
        """Add what sockets and their peers exchanged."""
        self.settle()
        wanted = self._wanted(keys, values)
        if wanted is not None:
            keys, values = keys[wanted], values[wanted]
        if keys.size:
            self._hear_translations()
            translation = self._translation
            ends = translation.resolve_udp(keys, values) if translation else None
            facts = udp_facts(keys, values, self._keep_client_port, ends)
            self._add_facts(facts, values)

    def restart_open(self, records: Records) -> None:
        """Replace the gauge of open connections by a recount."""
        self.settle_roles()
        wanted = self._wanted(records, records)
        records = records if wanted is None else records[wanted]
        sockets = socket_ids(records)
        roles = records["role"].astype(np.int64)
        undecided = roles == Role.UNKNOWN
        roles[undecided] = self._roles.resolve(records[undecided], sockets[undecided])
        facts = self._tcp_facts(records, roles, sockets)
        self._observe(facts, records, self._edges.restart_open(facts))

    def add_details(
        self, question: ContainerQuestion, details: ContainerDetails
    ) -> None:
        """Take what a container runtime's API answered."""
        with self._references_lock:
            self._cgroups.add_details(question, details)

    def settle_roles(self) -> None:
        """Count all records, also those of adopted sockets; no listener is to come."""
        self.settle()
        waiting, self._undecided = self._undecided, []
        for records in waiting:
            sockets = socket_ids(records)
            roles = self._roles.resolve(records, sockets)
            self._add_decided(records, roles, sockets)

    def finish(self) -> WindowTables:
        """Return the window's tables and start the next window."""
        self.settle_roles()
        self._roles.end_window()
        columns = self._edges.finish()
        with self._references_lock:
            self._processes.sweep(np.unique(columns.edges["process_id"]).tolist())
            cgroup_ids = np.unique(columns.edges["cgroup_id"]).view(np.uint64)
            self._cgroups.sweep(set(cgroup_ids.tolist()))
            references: dict[str, Table] = {
                "processes": self._processes.take_changes(),
                "cgroups": self._cgroups.take_changes(),
            }
        if self._translation:
            in_use = np.unique(columns.edges["translation_id"])
            references["translations"] = self._translation.end_window(in_use)
        return WindowTables(references, columns)

    def snapshot(self) -> dict[str, Table]:
        """Return the whole reference tables; for any thread."""
        with self._references_lock:
            tables: dict[str, Table] = {
                "processes": self._processes.snapshot(),
                "cgroups": self._cgroups.snapshot(),
            }
        if self._translation:
            tables["translations"] = self._translation.snapshot()
        return tables

    def _add_tcp(self, records: Records) -> None:
        roles = records["role"].astype(np.int64)
        roles[(records["flags"] & TcpFlag.REQUEST) != 0] = Role.SERVER
        listening = roles == TcpRole.LISTENER
        if listening.any():
            self._roles.observe_listeners(records[listening])
            records, roles = records[~listening], roles[~listening]
        wanted = self._wanted(records, records)
        if wanted is not None:
            records, roles = records[wanted], roles[wanted]
        undecided = roles == Role.UNKNOWN
        if undecided.any():
            # Their listener may be in a record to come; all are in by the end.
            self._undecided.append(records[undecided])
            records, roles = records[~undecided], roles[~undecided]
        self._add_decided(records, roles, socket_ids(records))

    def _add_decided(
        self, records: Records, roles: Int64s, sockets: npt.NDArray[np.uint64]
    ) -> None:
        if records.size:
            records = self._roles.fill_owners(records, roles)
            self._add_facts(self._tcp_facts(records, roles, sockets), records)

    def _tcp_facts(
        self, records: Records, roles: Int64s, sockets: npt.NDArray[np.uint64]
    ) -> EdgeFacts:
        translation = self._translation
        ends = translation.resolve_tcp(records, roles) if translation else None
        return tcp_facts(records, roles, sockets, self._keep_client_port, ends)

    def _hear_translations(self) -> None:
        """Learn how connections are translated, before records speak of them."""
        if self._translation:
            self._translation.listen()

    def _add_facts(self, facts: EdgeFacts, owners: Records) -> None:
        self._observe(facts, owners, self._edges.add(facts))

    def _observe(self, facts: EdgeFacts, owners: Records, new: Int64s) -> None:
        """Take note of processes and cgroups that edges speak of for the first time."""
        if not new.size:
            return
        cgroup_ids = facts.key[_CGROUP][new]
        _, first = np.unique(cgroup_ids, return_index=True)
        with self._references_lock:
            self._processes.observe(
                facts.key[_PROCESS][new], cgroup_ids, owners["comm"][new]
            )
            self._cgroups.observe(
                cgroup_ids[first].view(np.uint64).tolist(),
                owners["pid"][new[first]].tolist(),
            )

    def _wanted(self, ends: Records, owners: Records) -> npt.NDArray[np.bool_] | None:
        """Say which records the user wants; None: all of them."""
        if not (self._cgroups.is_filtered or self._leave_out_loopback):
            return None
        unwanted = np.zeros(ends.size, np.bool_)
        if self._cgroups.is_filtered:
            with self._references_lock:
                unwanted |= self._cgroups.excluded(owners["cgroup_id"], owners["pid"])
        if self._leave_out_loopback:
            unwanted |= are_loopback(ends["local_address"]) & are_loopback(
                ends["remote_address"]
            )
        count = int(np.count_nonzero(unwanted))
        self.filtered_records += count
        return ~unwanted if count else None


def _join(parts: Sequence[Records]) -> Records:
    """Concatenate; as bytes, since NumPy copies structures field by field."""
    dtype = parts[0].dtype
    return np.frombuffer(bytearray().join(part.data for part in parts), dtype)
