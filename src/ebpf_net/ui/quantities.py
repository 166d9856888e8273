"""Numbers in few columns: three significant digits and a decimal prefix."""

from __future__ import annotations

QUANTITY_WIDTH = 5
COUNT_WIDTH = 4
DURATION_WIDTH = 6
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_DURATIONS = ("µs", "ms", "s")


def format_quantity(value: float) -> str:
    """Return a count or rate of 0 or more in at most five columns: ``12.3M``."""
    if 0 < value < 0.05:
        return "<0.1"
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0")
    scaled = value
    for prefix in _PREFIXES:
        if scaled < 999.5:
            return (_three_digits(scaled) if prefix else f"{scaled:.0f}") + prefix
        scaled /= 1000
    return "999E+"


def format_count(value: float) -> str:
    """Return a count of 0 or more in at most four columns: exact up to 9999."""
    if value < 10_000:
        return f"{value:.0f}"
    scaled = value
    for prefix in _PREFIXES:
        if scaled < 999.5:
            return (f"{scaled:.1f}" if scaled < 9.95 else f"{scaled:.0f}") + prefix
        scaled /= 1000
    return "999E"


def format_duration(us: float) -> str:
    """Return microseconds in at most six columns: ``340µs``, ``1.25ms``, ``12.5s``."""
    scaled = us
    for unit in _DURATIONS:
        if scaled < 999.5:
            return (f"{scaled:.0f}" if unit == "µs" else _three_digits(scaled)) + unit
        scaled /= 1000
    return f"{scaled * 1000:.0f}s" if scaled < 99.9 else ">1day"


def format_share(part: int, whole: int) -> str:
    """Return a percentage that is never rounded to 0 or 100 when it is not."""
    if part <= 0 or whole <= 0:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1 %"
    if part < whole:
        percent = min(percent, 99.9)
    return f"{percent:.1f}".removesuffix(".0") + " %"


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
