"""The screen: totals, state, one line for each pair, and the keys.

Pure functions from a snapshot, the state of the view and a size to lines of text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap, zip_longest

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from ebpf_net.ui.columns import COLUMNS, Column, Layout, lay_out
from ebpf_net.ui.ends import End
from ebpf_net.ui.health import Health
from ebpf_net.ui.pairs import Int64
from ebpf_net.ui.quantities import format_count, format_quantity, format_share
from ebpf_net.ui.snapshot import Snapshot
from ebpf_net.ui.view_state import SORT_KEYS, ViewState

KEYS = (
    ("b", "bytes"),
    ("p", "packets"),
    ("r", "rtt"),
    ("t", "retrans"),
    ("n", "new"),
    ("a", "active"),
    ("f", "fails"),
    ("/", "find"),
    ("?", "help"),
    ("q", "quit"),
)
_HELP = (
    ("space", "hold the picture, go on"),
    ("?", "this page; any key leaves"),
    ("q", "quit"),
)
_HELP_FIND = (
    "/",
    "find: words in either end, or tcp, udp; !word leaves out; Enter, Esc",
)
_HELP_SPLIT = 34  # where the second column of the help begins
_HELP_WIDTH = 80  # from which on it has two


@dataclass(frozen=True)
class Screen:
    """What there is to draw. ``snapshot`` and ``health`` are None until known."""

    snapshot: Snapshot | None
    health: Health | None
    state: ViewState
    width: int
    height: int


def draw(screen: Screen) -> list[Text]:
    """Return at most ``height`` lines of at most ``width`` columns."""
    head = [_totals(screen), _state(screen)]
    if screen.state.shows_help:
        body = _help(screen.width, screen.height - len(head) - 1)
    elif screen.snapshot is None:
        body = [Text("waiting for the first window …", "dim")]
    else:
        body = _table(screen, screen.snapshot, screen.height - len(head) - 1)
    room = max(screen.height - len(head) - 1, 0)
    body = body[:room] + [Text("")] * (room - len(body))
    lines = [*head, *body, _keys(screen.state)][: screen.height]
    for line in lines:
        line.no_wrap = True
        line.truncate(screen.width, overflow="ellipsis")
    return lines


def draw_once(screen: Screen) -> list[Text]:
    """Return the lines that stay after the end: no keys, no empty lines."""
    lines = draw(screen)[:-1]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _totals(screen: Screen) -> Text:
    name = Text("ebpf-net", "bold")
    if screen.snapshot is None:
        return name
    pairs, seconds = screen.snapshot.pairs, screen.snapshot.seconds
    parts = [
        time.strftime("%H:%M:%S", time.localtime(screen.snapshot.end_ns / 1e9)),
        f"{format_quantity(screen.snapshot.total_bytes / seconds)}B/s",
        f"{format_quantity(float(pairs.packets.sum()) / seconds)} pkt/s",
        f"{format_count(len(pairs))} pairs",
        f"{format_count(int(pairs.opened.sum()))} new",
        f"{format_count(int(pairs.open.sum()))} active",
        f"{format_count(int(pairs.failures.sum()))} failed",
    ]
    totals = "  ".join(parts)
    if len(name) + 2 + len(totals) > screen.width:
        return Text(totals)  # at 80 columns nothing of it is cut off
    return name.append("  " + totals, "not bold")


def _state(screen: Screen) -> Text:
    """What must be seen first, as the end of a long line is cut off."""
    parts = [
        *_health_parts(screen.health),
        *_view_parts(screen.state),
        *_health_details(screen.health),
    ]
    line = Text()
    for text, style in parts:
        line.append("  " if line else "").append(text, style)
    return line


def _health_parts(health: Health | None) -> list[tuple[str, str]]:
    if health is None:
        return []
    return [
        (f"collectors: {health.collectors}", "" if health.collectors else "bold red"),
        (f"lost: {health.lost_total}", "bold red" if health.lost else ""),
    ]


def _health_details(health: Health | None) -> list[tuple[str, str]]:
    if health is None:
        return []
    details = []
    if health.lost:
        reasons = ", ".join(f"{reason} {count}" for reason, count in health.lost)
        details.append((f"({reasons})", "bold red"))
    if health.late_rows:
        details.append((f"late: {health.late_rows}", "yellow"))
    if health.missing_signals:
        details.append((f"missing: {', '.join(health.missing_signals)}", "yellow"))
    return details


def _view_parts(state: ViewState) -> list[tuple[str, str]]:
    parts = [(f"by {state.order}", "")]
    if state.is_typing:
        parts.append((f"find: {state.filter}▏", "bold"))
    elif state.filter:
        parts.append((f"find: {state.filter}", "bold"))
    if state.is_paused:
        parts.append(("PAUSED", "reverse"))
    return parts


def _table(screen: Screen, snapshot: Snapshot, room: int) -> list[Text]:
    state = screen.state
    layout = lay_out(screen.width, state.order)
    rows = snapshot.select(state.order, state.filter)
    room -= 1
    shown = rows if len(rows) <= room else rows[: max(room - 1, 0)]
    lines = [_titles(layout, state.order), *_rows(snapshot, layout, shown)]
    if len(rows) > len(shown):
        lines.append(_rest(snapshot, rows[len(shown) :]))
    elif not len(rows):
        what = "no pair matches" if len(snapshot.pairs) else "no traffic"
        lines.append(Text(f"{what} in this window", "dim"))
    return lines


def _rest(snapshot: Snapshot, rows: Int64) -> Text:
    part = int(snapshot.pairs.bytes[rows].sum())
    share = format_share(part, snapshot.total_bytes)
    return Text(f"… and {len(rows)} more ({share} of bytes)", "dim")


def _titles(layout: Layout, order: str) -> Text:
    line = Text(style="bold")
    line.append(f"{'who':<{layout.who + layout.gap}}{'whom':<{layout.whom}}")
    for column in layout.columns:
        style = "underline" if column.sort == order else ""
        line.append(" " * (layout.gap + column.width - len(column.title)))
        line.append(column.title, style)
    return line


def _rows(snapshot: Snapshot, layout: Layout, rows: Int64) -> list[Text]:
    """Write the rows on the screen; the only place that looks at them one by one."""
    pairs, names = snapshot.pairs.take(rows), snapshot.names
    show_host = names.has_several_hosts()
    values = [np.asarray(column.values(pairs)).tolist() for column in layout.columns]
    who, whom = names.ends(pairs.left), names.ends(pairs.right)
    lines = []
    for number in range(len(rows)):
        line = Text()
        _append_end(line, who[number], layout.who, show_host)
        line.append(" " * layout.gap)
        _append_end(line, whom[number], layout.whom, show_host)
        for column, column_values in zip(layout.columns, values, strict=True):
            value = column_values[number]
            text = column.text(value, snapshot.seconds)
            line.append(
                " " * layout.gap + f"{text:>{column.width}}", _style(column, value)
            )
        lines.append(line)
    return lines


def _style(column: Column, value: float) -> str:
    if not value:
        return "dim"
    return "bold red" if column.is_bad else ""


def _append_end(line: Text, end: End, width: int, show_host: bool) -> None:
    name, place = end.fit(width, show_host=show_host)
    line.append(name, "bold")
    if name and place:
        line.append(" ")
    line.append(place, "cyan")
    used = cell_len(name) + cell_len(place) + bool(name and place)
    line.append(" " * (width - used))


def _keys(state: ViewState) -> Text:
    line = Text()
    for key, meaning in KEYS:
        chosen = SORT_KEYS.get(key) == state.order
        line.append(" " if line else "").append(key, "bold")
        line.append(f" {meaning}", "underline" if chosen else "dim")
    return line


def _help(width: int, room: int) -> list[Text]:
    """Return the keys beside the columns, where the width allows."""
    entries: Sequence[tuple[str, str]] = (
        *((key, f"sort by {order}") for key, order in SORT_KEYS.items()),
        *_HELP,
    )
    keys = [Text("keys", "bold"), *(_help_line(*entry) for entry in entries)]
    find = _help_line(*_HELP_FIND)
    in_place = sorted(COLUMNS, key=lambda column: column.place)
    columns = [Text("columns, as many as fit", "bold")]
    columns += [_help_line(column.title, column.help) for column in in_place]
    if width >= _HELP_WIDTH:
        pairs = zip_longest(keys, columns, fillvalue=Text())
        lines = [*starmap(_side_by_side, pairs), find]
    else:
        lines = [*keys, find, *columns]
    if len(lines) > room > 0:
        more = len(lines) - room + 1
        lines[room - 1 :] = [Text(f"… and {more} more lines, where there is room")]
    return lines


def _help_line(name: str, meaning: str) -> Text:
    return Text(f"  {name:<6} ").append(meaning, "dim")


def _side_by_side(left: Text, right: Text) -> Text:
    line = Text().append_text(left)
    line.append(" " * (_HELP_SPLIT - left.cell_len))
    return line.append_text(right)
