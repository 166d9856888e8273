"""From tables to numbered batches: what every kind of collector does alike."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

from ebpf_net.collectors.encode import count_rows, encode_body
from ebpf_net.collectors.row_table import Table
from ebpf_net.intake.batch import Batch, BatchHeader, BatchKind

Tables = Mapping[str, Table]


class BatchMaker:
    """Makes the batches of one incarnation of a collector.

    ``collector`` tells it from all others and is the same at each start; ``host`` is
    for people. ``status`` returns counters since the start and goes with each batch.
    ``window`` is for one thread; ``snapshot`` may be called by any.
    """

    def __init__(
        self,
        collector: str,
        host: str,
        started_ns: int,
        status: Callable[[], Mapping[str, int]],
    ) -> None:
        self.collector = collector
        self.incarnation = str(uuid.uuid4())
        self._host = host
        self._status = status
        self._lock = threading.Lock()
        self._sequence = 0
        self._window_ns = (started_ns, started_ns)

    def window(
        self, parts: Sequence[Tables], start_ns: int, end_ns: int
    ) -> Iterator[Batch]:
        """Yield a window's batches, one for each part, in the order to send them.

        A window that has nothing to tell is a part without tables: the reducer must
        hear that it is over. Times are Unix time by this host's clock.
        """
        for number, tables in enumerate(parts, 1):
            with self._lock:
                self._sequence += 1
                self._window_ns = start_ns, end_ns
                is_last = number == len(parts)
                header = self._header(BatchKind.WINDOW, last_of_window=is_last)
            yield Batch(header, encode_body(tables), count_rows(tables))

    def snapshot(self, tables: Tables) -> Batch:
        """Return whole reference tables as one batch, which replaces all before it."""
        with self._lock:
            header = self._header(BatchKind.SNAPSHOT, last_of_window=True)
        return Batch(header, encode_body(tables), count_rows(tables))

    def _header(self, kind: BatchKind, *, last_of_window: bool) -> BatchHeader:
        return BatchHeader(
            collector=self.collector,
            incarnation=self.incarnation,
            host=self._host,
            kind=kind,
            sequence=self._sequence,
            window_start_ns=self._window_ns[0],
            window_end_ns=self._window_ns[1],
            last_of_window=last_of_window,
            status=self._status(),
        )
