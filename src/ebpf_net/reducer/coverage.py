"""Coverage: which part of a window a collector has watched.

A collector that was restarted has watched neither what happened while it was away nor,
if it was killed, what it had not sent yet. Its rows of that window tell less than the
other end's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebpf_net.intake.batch import BatchHeader


@dataclass
class Span:
    """From when to when a source has told of a window, by its collector's clock."""

    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """How long that is."""
        return self.end_ns - self.start_ns

    def extend(self, header: BatchHeader) -> None:
        """Add the time of one more batch; a source's batches follow one another."""
        self.start_ns = min(self.start_ns, header.window_start_ns)
        self.end_ns = max(self.end_ns, header.window_end_ns)


@dataclass(frozen=True)
class Watcher:
    """What must be known of a collector to tell what it missed of a window.

    ``start_ns`` and ``end_ns`` are the window's by its clock, ``interval_ns`` is of its
    own windows: it ends them at multiples of that. ``sources`` are its processes.
    """

    start_ns: int
    end_ns: int
    interval_ns: int
    sources: frozenset[int]


class Coverage:
    """What each source has told of each window. Not thread-safe."""

    def __init__(self) -> None:
        self.spans: dict[int, dict[int, Span]] = {}

    def put(self, number: int, source: int, header: BatchHeader) -> None:
        """Note a batch of a window."""
        spans = self.spans.setdefault(number, {})
        if source in spans:
            spans[source].extend(header)
        else:
            spans[source] = Span(header.window_start_ns, header.window_end_ns)

    def has_gap(self, number: int, watcher: Watcher) -> bool:
        """Tell whether a collector was away for a part of a window it reported for.

        It began in it, or ended in it: both leave out a part, unless another of its
        processes has told just that.
        """
        spans = self.spans.get(number, {})
        mine = {key: spans[key] for key in watcher.sources & spans.keys()}
        if not mine or any(_is_whole(span, watcher) for span in mine.values()):
            return False
        ends = [span.end_ns for span in mine.values()]
        for key, span in mine.items():
            before = [end for end in ends if end <= span.start_ns]
            if self._began_in(number, key) and span.start_ns > max(
                before, default=watcher.start_ns
            ):
                return True
        last = max(mine, key=lambda key: mine[key].end_ns)
        return self._ended_in(number, last) and _is_cut_short(mine[last], watcher)

    def crossed(self, number: int) -> frozenset[int]:
        """Return the sources that told of a window and of the one before.

        What such a process told of both is all that there was when they parted.
        """
        told = self.spans.get(number, {}).keys()
        return frozenset(told & self.spans.get(number - 1, {}).keys())

    def forget(self, number: int) -> None:
        """Forget windows before this one."""
        for old in [old for old in self.spans if old < number]:
            del self.spans[old]

    def to_json(self, newest: int) -> list[list[int]]:
        """Return what is known of windows up to the newest."""
        return [
            [number, key, span.start_ns, span.end_ns]
            for number, spans in self.spans.items()
            if number <= newest
            for key, span in spans.items()
        ]

    def from_json(self, values: Iterable[Iterable[int]]) -> None:
        """Take what to_json returned."""
        for number, key, start_ns, end_ns in values:
            self.spans.setdefault(number, {})[key] = Span(start_ns, end_ns)

    def _began_in(self, number: int, key: int) -> bool:
        return not any(old < number and key in told for old, told in self.spans.items())

    def _ended_in(self, number: int, key: int) -> bool:
        return not any(new > number and key in told for new, told in self.spans.items())


def gap_ns(first: Span, ends: Iterable[int]) -> int:
    """Return how long a collector was away before a source's first window.

    ``ends`` are when its other processes ended; 0: this is no later than those.
    """
    ended = max(ends, default=first.start_ns)
    return max(0, first.start_ns - ended)


def _is_whole(span: Span, watcher: Watcher) -> bool:
    # A clock that is off shifts windows against ours, but not their length.
    return span.length_ns >= watcher.end_ns - watcher.start_ns


def _is_cut_short(span: Span, watcher: Watcher) -> bool:
    missing = watcher.end_ns - span.end_ns
    interval = watcher.interval_ns
    return missing > 0 and (missing >= interval or span.end_ns % interval != 0)
