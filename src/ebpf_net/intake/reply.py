"""What an answer of the reducer means to the client."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from ebpf_net.intake.options import ClientOptions

_FOR_GOOD = frozenset({400, 413, 415, 422})
_UNAUTHORIZED = frozenset({401, 403})
_LATER = frozenset({429, 503})


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    body: bytes
    retry_after_seconds: float | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether the same batch would get the same answer again."""
        return self.status in _FOR_GOOD

    @property
    def text(self) -> str:
        """The status and what the reply's JSON says, on one line."""
        try:
            fields = json.loads(self.body)
            text = f"{fields['reason']}: {fields['error']}"
        except (ValueError, KeyError, TypeError, RecursionError):
            text = self.body[:200].decode("ascii", "replace")
        return " ".join(f"{self.status} {text}".split())[:300]

    def least_wait(self, options: ClientOptions) -> float:
        """Return the seconds that the reducer wants to be left alone."""
        if self.status in _UNAUTHORIZED:
            seconds = options.refused_backoff_seconds
            return random.uniform(seconds / 2, seconds)
        if self.status in _LATER and self.retry_after_seconds is not None:
            return min(self.retry_after_seconds, options.max_retry_after_seconds)
        return 0.0
