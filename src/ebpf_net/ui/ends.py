"""What to call an end: its container, service or process, its host and its address."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from rich.cells import cell_len, set_cell_size

from ebpf_net.ui.pairs import Int64
from ebpf_net.ui.safe_text import safe_column
from ebpf_net.ui.text_columns import (
    TextColumn,
    choose,
    equals,
    join,
    read_text,
    single_spaced,
    take,
    values,
)

_UNKNOWN = "(unknown)"
_MIN_NAME = 10
"""A name is not cut below this in favour of the address."""


@dataclass(frozen=True)
class End:
    """One end as it is shown. All parts are safe to print; unknown ones are empty."""

    name: str
    process: str  # where it says more than the name
    host: str  # where it says more than the address
    address: str

    def fit(self, width: int, *, show_host: bool) -> tuple[str, str]:
        """Return name and place, which take at most ``width`` columns with a space.

        What does not fit is left out in this order: the address beside a host, the
        process, the end of the name or the beginning of the place.
        """
        process = f" ({self.process})" if self.process else ""
        host = self.host if show_host else ""
        both = f"{host} {self.address}".strip()
        for name, place in (
            (self.name + process, both),
            (self.name + process, host or self.address),
            (self.name, host or self.address),
        ):
            if cell_len(name) + cell_len(place) + bool(name and place) <= width:
                return name, place
        return _cut(self.name, host or self.address, width)


def _cut(name: str, place: str, width: int) -> tuple[str, str]:
    if not name:
        return "", _cut_start(place, width)
    for_name = max(width - cell_len(place) - 1, min(_MIN_NAME, cell_len(name)))
    if for_name + 3 > width:
        return _cut_end(name, width), ""
    name = _cut_end(name, for_name)
    return name, _cut_start(place, width - cell_len(name) - 1)


def _cut_end(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def _cut_start(text: str, width: int) -> str:
    """Addresses differ at their end."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) >= width > 0:
        text = text[1:]
    return f"…{text}"


@dataclass(frozen=True)
class EndNames:
    """The parts of the names of all nodes, as columns."""

    name: TextColumn
    process: TextColumn
    host: TextColumn
    address: TextColumn

    def ends(self, rows: Int64) -> list[End]:
        """Return the ends at some rows of nodes."""
        parts = (self.name, self.process, self.host, self.address)
        columns = [values(take(part, rows)) for part in parts]
        return [End(*texts) for texts in zip(*columns, strict=True)]

    def full(self) -> TextColumn:
        """Return all that is known of each node: ``web (nginx) host-1 10.0.0.5``."""
        in_brackets = join("(", self.process, ")")
        process = choose(equals(self.process, ""), "", in_brackets)
        parts = (self.name, process, self.host, self.address)
        return single_spaced(join(*parts, separator=" "))

    def has_several_hosts(self) -> bool:
        """Whether hosts tell ends apart."""
        return len(set(self.host.unique().to_pylist()) - {""}) > 1


def end_names(nodes: pa.Table) -> EndNames:
    """Name the nodes of a window."""
    container, workload, process, host, ip = (
        safe_column(read_text(nodes, label))
        for label in ("container.name", "workload.name", "process.name", "id", "ip")
    )
    workload, process = (
        choose(equals(name, _UNKNOWN), "", name) for name in (workload, process)
    )
    name = _first_of(container, workload, process)
    address = _first_of(ip, host)
    return EndNames(
        name=name,
        process=choose(equals(process, name), "", process),
        host=choose(equals(host, address), "", host),
        address=address,
    )


def _first_of(*columns: TextColumn) -> TextColumn:
    """Return for each row the first value that is not empty."""
    chosen = columns[-1]
    for column in reversed(columns[:-1]):
        chosen = choose(equals(column, ""), chosen, column)
    return chosen
