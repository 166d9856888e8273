"""Labels and annotations of objects: those that the user allows, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

_MAX_VALUE_LENGTH = 4096
_MAX_JSON_LENGTH = 32_768  # the intake takes texts of 64 KiB


class AllowList:
    """Patterns of names, as of files: ``app.kubernetes.io/*``."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._verdicts: dict[str, bool] = {}

    def to_json(self, labels: Mapping[str, str] | None) -> str:
        """Return the allowed ones as an object; those too long are left out."""
        if not labels or not self._patterns:
            return "{}"
        kept: dict[str, str] = {}
        left = _MAX_JSON_LENGTH
        for name in sorted(labels):
            if len(labels[name]) > _MAX_VALUE_LENGTH or not self._allows(name):
                continue
            left -= len(json.dumps({name: labels[name]}))
            if left < 0:
                break
            kept[name] = labels[name]
        return sys.intern(json.dumps(kept, separators=(",", ":")))

    def _allows(self, name: str) -> bool:
        verdict = self._verdicts.get(name)
        if verdict is None:
            verdict = any(fnmatchcase(name, pattern) for pattern in self._patterns)
            if len(self._verdicts) > 10_000:
                self._verdicts.clear()
            self._verdicts[name] = verdict
        return verdict
