"""Which cgroups the user wants to see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate


class CgroupFilter:
    """A pattern matches a cgroup whose path, or an ancestor's, it matches.

    Patterns are those of the shell; ``*`` also matches ``/``. Exclusion wins. With
    patterns to include, all else is excluded.
    """

    def __init__(
        self, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> None:
        self._include = _compile(include)
        self._include_prefixes = [_literal_prefix(pattern) for pattern in include]
        self._exclude = _compile(exclude)
        self.is_active = bool(include or exclude)

    def admits(self, path: str | None) -> bool:
        """Say whether a cgroup is wanted; None is one whose path cannot be known."""
        lineage = _lineage(path) if path is not None else []
        if _matches(self._exclude, lineage):
            return False
        return not self._include or _matches(self._include, lineage)

    def may_admit_below(self, path: str | None) -> bool:
        """Say whether some cgroup below this one, known or not, could be wanted."""
        if path is None or _matches(self._exclude, _lineage(path)):
            return False
        below = path.rstrip("/") + "/"
        return not self._include_prefixes or any(
            below.startswith(prefix) or prefix.startswith(below)
            for prefix in self._include_prefixes
        )


def _compile(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(translate(_rooted(pattern))) for pattern in patterns]


def _rooted(pattern: str) -> str:
    pattern = pattern.rstrip("/") or "/"
    return pattern if pattern.startswith(("/", "*")) else f"/{pattern}"


def _literal_prefix(pattern: str) -> str:
    return re.split(r"[*?\[]", _rooted(pattern), maxsplit=1)[0]


def _lineage(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def _matches(patterns: list[re.Pattern[str]], lineage: list[str]) -> bool:
    return any(pattern.match(path) for pattern in patterns for path in lineage)
