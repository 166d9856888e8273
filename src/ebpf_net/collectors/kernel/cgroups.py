"""The reference table of cgroups: those that rows speak of, and changes of them."""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree
from ebpf_net.collectors.kernel.container_details import (
    ContainerDetails,
    ContainerQuestion,
)
from ebpf_net.collectors.kernel.containers import (
    CgroupIdentity,
    identify_cgroup,
    may_be_container,
)
from ebpf_net.errors import KernelError

Table = dict[str, npt.NDArray[Any] | Sequence[str]]
_MAX_KNOWN = 16_384
_MAX_WALKS_A_WINDOW = 3
_MAX_WAITING = 4096
_MAX_CHECKS_A_WINDOW = 500


@dataclass(frozen=True)
class _Row:
    path: str
    identity: CgroupIdentity
    question: ContainerQuestion | None = None
    details: ContainerDetails | None = None
    removed: bool = False


class CgroupTable:
    """Paths, verdicts and rows of cgroups.

    ``set_verdict`` is told of each cgroup that the filter decides about,
    ``forget_verdict`` of each of them that is gone, and ``ask_details`` of each
    container whose name a runtime's API may know.
    """

    def __init__(
        self,
        tree: CgroupTree,
        cgroup_filter: CgroupFilter,
        set_verdict: Callable[[int, bool], None],
        forget_verdict: Callable[[int], None],
        ask_details: Callable[[ContainerQuestion], None],
    ) -> None:
        self._tree = tree
        self._filter = cgroup_filter
        self._set_verdict = set_verdict
        self._forget_verdict = forget_verdict
        self._ask_details = ask_details
        self._paths: OrderedDict[int, str | None] = OrderedDict()
        self._excluded: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._judged: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._rows: dict[int, _Row] = {}
        self._by_question: dict[ContainerQuestion, set[int]] = {}
        self._changed: set[int] = set()
        self._waiting: dict[int, int] = {}  # pid by number; looked for again later
        self._next_check = 0
        self._walks_left = _MAX_WALKS_A_WINDOW

    @property
    def is_filtered(self) -> bool:
        """Say whether there may be cgroups that the user does not want."""
        return self._filter.is_active

    def start(self) -> None:
        """Learn all cgroups there are, and decide about them."""
        self._walk()
        if self._filter.is_active:
            self._judge(list(self._paths))

    def excluded(
        self, cgroup_ids: npt.NDArray[np.uint64], pids: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Say which records are of a cgroup that the user does not want."""
        distinct, first = np.unique(cgroup_ids, return_index=True)
        new = ~np.isin(distinct, self._judged)
        unwanted = self._excluded
        if new.any():
            numbers = distinct[new].tolist()
            self._learn(zip(numbers, pids[first[new]].tolist(), strict=True))
            self._judge([number for number in numbers if number in self._paths])
            unwanted = self._excluded
            if not self._filter.admits(None):
                unwanted = np.union1d(unwanted, np.setdiff1d(distinct, self._judged))
        return np.isin(cgroup_ids, unwanted)

    def observe(self, cgroup_ids: Iterable[int], pids: Iterable[int]) -> None:
        """Make rows for cgroups that new edges speak of; ``pids`` help to find them."""
        pairs = [
            (number, pid)
            for number, pid in zip(cgroup_ids, pids, strict=True)
            if number and number not in self._rows
        ]
        self._learn(pairs)
        for number, pid in pairs:
            if number not in self._paths and len(self._waiting) < _MAX_WAITING:
                self._waiting[number] = pid
            path = self._paths.get(number)
            if path is not None and number not in self._rows:
                self._add_row(number, path)

    def add_details(
        self, question: ContainerQuestion, details: ContainerDetails
    ) -> None:
        """Take what the runtime's API answered."""
        for number in self._by_question.get(question, ()):
            self._rows[number] = _with_details(self._rows[number], details)
            self._changed.add(number)

    def sweep(self, in_use: set[int]) -> None:
        """End the rows of cgroups that are gone and that no edge speaks of any more."""
        self._walks_left = _MAX_WALKS_A_WINDOW
        waiting, self._waiting = self._waiting, {}
        self.observe(waiting.keys(), waiting.values())
        self._sweep_verdicts()
        gone = []
        for number in [number for number in self._rows if number not in in_use]:
            row = self._rows[number]
            if self._tree.number(row.path) != number:
                self._rows[number] = replace(row, removed=True)
                self._changed.add(number)
                self._paths.pop(number, None)
                gone.append(number)
        self._end_verdicts(gone)

    def take_changes(self) -> Table:
        """Return the rows that changed since the last call."""
        changes = cgroup_columns({n: self._rows[n] for n in sorted(self._changed)})
        for number in self._changed:
            if self._rows[number].removed:
                self._forget(number)
        self._changed.clear()
        return changes

    def snapshot(self) -> Table:
        """Return all rows."""
        return cgroup_columns(
            {number: row for number, row in self._rows.items() if not row.removed}
        )

    def _sweep_verdicts(self) -> None:
        """Forget verdicts about cgroups that are gone; some of them each window."""
        checked = self._judged[self._next_check :][:_MAX_CHECKS_A_WINDOW]
        self._next_check += checked.size
        if self._next_check >= self._judged.size:
            self._next_check = 0
        gone = []
        for number in checked.tolist():
            if number not in self._paths:
                continue  # there were too many to remember: it may well live
            path = self._paths[number]
            if path is None or self._tree.number(path) != number:
                gone.append(number)
                if number not in self._rows:
                    self._paths.pop(number, None)
        self._end_verdicts(gone)

    def _end_verdicts(self, gone: list[int]) -> None:
        numbers = np.intersect1d(np.array(gone, np.uint64), self._judged)
        if numbers.size:
            for number in numbers.tolist():
                self._forget_verdict(number)
            self._judged = np.setdiff1d(self._judged, numbers)
            self._excluded = np.setdiff1d(self._excluded, numbers)

    def _add_row(self, number: int, path: str) -> None:
        identity = identify_cgroup(path)
        question = _question(path, identity)
        row = _Row(path, identity, question)
        self._changed.add(number)
        if question:
            numbers = self._by_question.setdefault(question, set())
            known = self._rows[next(iter(numbers))].details if numbers else None
            numbers.add(number)
            if known:
                row = _with_details(row, known)
            else:
                self._ask_details(question)
        self._rows[number] = row

    def _forget(self, number: int) -> None:
        question = self._rows.pop(number).question
        if question:
            numbers = self._by_question[question]
            numbers.discard(number)
            if not numbers:
                self._by_question.pop(question)

    def _learn(self, pairs: Iterable[tuple[int, int]]) -> None:
        unknown = [(number, pid) for number, pid in pairs if number not in self._paths]
        left = []
        for number, pid in unknown:
            path = self._tree.path_of_process(pid, number) if pid else None
            if path is not None:
                self._remember(number, path)
            else:
                left.append(number)
        if left and self._walks_left:
            self._walks_left -= 1
            self._walk()
            for number in left:
                if number not in self._paths:  # it is gone: do not look again
                    self._remember(number, None)

    def _walk(self) -> None:
        for number, path in self._tree.walk():
            self._remember(number, path)

    def _remember(self, number: int, path: str | None) -> None:
        self._paths[number] = path
        self._paths.move_to_end(number)
        if len(self._paths) > _MAX_KNOWN:
            self._paths.popitem(last=False)

    def _judge(self, numbers: list[int]) -> None:
        excluded = []
        for number in numbers:
            path = self._paths.get(number)
            admitted = self._filter.admits(path)
            # The kernel lets new cgroups inherit; one that may be wanted must be seen.
            visible = admitted or self._filter.may_admit_below(path)
            with contextlib.suppress(KernelError):  # then we leave its records out
                self._set_verdict(number, visible)
            if not admitted:
                excluded.append(number)
        self._judged = np.union1d(self._judged, np.array(numbers, np.uint64))
        self._excluded = np.union1d(self._excluded, np.array(excluded, np.uint64))


def _question(path: str, identity: CgroupIdentity) -> ContainerQuestion | None:
    """Return the question that the cgroups of one container have in common."""
    if identity.container_id:
        return ContainerQuestion(identity.container_id, identity.runtime)
    return ContainerQuestion("", path=path) if may_be_container(path) else None


def _with_details(row: _Row, details: ContainerDetails) -> _Row:
    identity = replace(
        row.identity,
        runtime=row.identity.runtime or details.runtime,
        container_id=row.identity.container_id or details.container_id,
    )
    return replace(row, identity=identity, details=details)


def cgroup_columns(rows: Mapping[int, _Row]) -> Table:
    """Return rows as columns of ``schema.CGROUPS``."""
    values = list(rows.values())
    details = [row.details or ContainerDetails() for row in values]
    return {
        "cgroup_id": np.array(list(rows), np.uint64).astype(np.int64),
        "path": [row.path for row in values],
        "runtime": [row.identity.runtime for row in values],
        "container_id": [row.identity.container_id for row in values],
        "container_name": [known.name for known in details],
        "image": [known.image for known in details],
        "image_version": [known.image_version for known in details],
        "pod_uid": [row.identity.pod_uid for row in values],
        "service": [row.identity.service for row in values],
        "labels": [
            json.dumps(dict(known.labels), ensure_ascii=False) for known in details
        ],
        "removed": np.array([row.removed for row in values], np.bool_),
    }
