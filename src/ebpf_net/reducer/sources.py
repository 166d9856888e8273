"""The processes of collectors, and which of them took over from which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ebpf_net.intake.batch import BatchHeader


@dataclass
class Source:
    """One process of a collector, and the windows it has reported for.

    ``last`` is at first the window in which it was heard. ``longest_ns`` is the length
    of its longest window: its interval, as soon as it has told a whole one. ``end_ns``
    is when the last of its windows ended, by its own clock.
    """

    collector: str
    first: int | None = None
    last: int = 0
    longest_ns: int = 0
    end_ns: int = 0

    def hear(self, window: int) -> None:
        """Note that it has reported for a window."""
        self.first = window if self.first is None else self.first
        self.last = max(self.last, window)

    def measure(self, header: BatchHeader) -> None:
        """Note how long its windows are, and when they end."""
        length_ns = header.window_end_ns - header.window_start_ns
        self.longest_ns = max(self.longest_ns, length_ns)
        self.end_ns = max(self.end_ns, header.window_end_ns)


def restarted_sources(
    gapped: frozenset[int], sources: Mapping[int, Source]
) -> frozenset[int]:
    """Return the sources of those with a gap whose collector has had others."""
    processes = Counter(one.collector for one in sources.values())
    return frozenset(key for key in gapped if processes[sources[key].collector] > 1)


def same_collectors(
    keys: frozenset[int], sources: Mapping[int, Source]
) -> frozenset[int]:
    """Return all sources of the collectors that these are of."""
    names = {sources[key].collector for key in keys if key in sources}
    return frozenset(key for key, one in sources.items() if one.collector in names)


def superseded_sources(sources: Mapping[int, Source]) -> frozenset[int]:
    """Return the sources that a later process of their collector has replaced.

    That one has told of a window since the former one's last.
    """
    newest: dict[str, Source] = {}
    for one in sources.values():
        if one.first is not None:
            rival = newest.setdefault(one.collector, one)
            if (one.last, one.first) > (rival.last, rival.first or 0):
                newest[one.collector] = one
    return frozenset(
        key
        for key, one in sources.items()
        if one.first is not None
        and (heir := newest[one.collector]) is not one
        and one.last <= (heir.first or 0) < heir.last
    )


def first_processes(sources: Mapping[int, Source]) -> dict[int, int]:
    """Return for each source the first known of its collector."""
    first: dict[str, int] = {}
    return {key: first.setdefault(one.collector, key) for key, one in sources.items()}
