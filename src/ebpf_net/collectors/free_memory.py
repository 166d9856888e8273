"""Give memory that a window needed for a moment back to the system."""

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


def return_free_memory() -> None:
    """Return what the C library keeps for later; 1 ms, or less where little is free."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)
