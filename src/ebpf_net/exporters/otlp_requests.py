"""Data points packed into ExportMetricsServiceRequests below a size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebpf_net.exporters.protobuf_wire import (
    bytes_field,
    encode_varint,
    length_prefix,
)

# gRPC receivers take 4 MiB (4,194,304 bytes) unless told otherwise.
REQUEST_BYTES = 4_000_000
_FRAME_BYTES = 64  # keys and lengths around a request's metrics, at most


@dataclass(frozen=True)
class Request:
    """One encoded request."""

    body: bytes
    points: int


class RequestWriter:
    """Collects points and yields a request whenever one is full.

    A request is larger than ``limit`` only if a single point is.
    """

    def __init__(
        self, resource_prefix: bytes, scope_prefix: bytes, limit: int = REQUEST_BYTES
    ) -> None:
        self._resource_prefix = resource_prefix
        self._scope_prefix = scope_prefix
        self._room = limit - len(resource_prefix) - len(scope_prefix) - _FRAME_BYTES
        self._pieces: list[bytes] = []
        self._size = 0
        self._points = 0
        self._frame = b""
        self._suffix = b""
        self._data: list[bytes] = []
        self._data_size = 0

    def add(
        self,
        prefix: bytes,
        suffix: bytes,
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
    ) -> Iterator[Request]:
        """Take points of the metric with this frame; yield what became full.

        Points that follow others of the same metric join them.
        """
        if prefix != self._frame:
            self._end_metric()
            self._frame, self._suffix = prefix, suffix
        start, count = 0, len(offsets) - 1
        while start < count:
            limit = offsets[start] + self._room - self._size - self._metric_size()
            end = int(np.searchsorted(offsets, limit, "right")) - 1
            if end <= start:
                if self._points:
                    yield self._take_request()
                    continue
                end = start + 1
            self._data.append(data[offsets[start] : offsets[end]].tobytes())
            self._data_size += int(offsets[end] - offsets[start])
            self._points += end - start
            start = end

    def finish(self) -> Iterator[Request]:
        """Yield the last request, if there is anything in it."""
        if self._points:
            yield self._take_request()

    def _metric_size(self) -> int:
        return len(self._frame) + len(self._suffix) + self._data_size + 16

    def _end_metric(self) -> None:
        if self._data:
            data_size = self._data_size + len(self._suffix)
            head = self._frame + encode_varint(data_size)
            head = length_prefix(2, len(head) + data_size) + head
            pieces = [head, *self._data, self._suffix]
            self._pieces += pieces
            self._size += len(head) + data_size
        self._data, self._data_size = [], 0

    def _take_request(self) -> Request:
        self._end_metric()
        scope_size = len(self._scope_prefix) + self._size
        scope_head = length_prefix(2, scope_size)
        resource_size = len(self._resource_prefix) + len(scope_head) + scope_size
        head = (
            length_prefix(1, resource_size)
            + self._resource_prefix
            + scope_head
            + self._scope_prefix
        )
        request = Request(b"".join([head, *self._pieces]), self._points)
        self._pieces, self._size, self._points = [], 0, 0
        return request


def wrap_metrics(resource_prefix: bytes, scope_prefix: bytes, metrics: bytes) -> bytes:
    """Return a request around encoded ``metrics`` fields of a ScopeMetrics."""
    scope = bytes_field(2, scope_prefix + metrics)
    return bytes_field(1, resource_prefix + scope)
