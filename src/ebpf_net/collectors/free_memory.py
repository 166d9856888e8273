"""Give memory that was needed for a moment back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _find_malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None  # only the GNU C library has it, and needs it
    trim.argtypes = [ctypes.c_size_t]
    trim.restype = ctypes.c_int
    return trim


_MALLOC_TRIM = _find_malloc_trim()
_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD and the others of <malloc.h>
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8


def return_free_memory() -> None:
    """Return what the C library keeps for later; 1 ms, or less where little is free."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)


def share_heap() -> None:
    """Let all threads of this process share one heap, which keeps little that is free.

    For a process of many threads that do little: each would keep a heap of its own.
    """
    if _MALLOC_TRIM is None:
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_ARENA_MAX, 1)
    mallopt(_MMAP_THRESHOLD, 1 << 20)
    mallopt(_TRIM_THRESHOLD, 1 << 18)
