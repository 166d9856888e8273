"""The text of a flag, variable or file turned into a value.

Each parser raises ValueError with what it expected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def text(value: str) -> str:
    """Anything."""
    return value


def pattern(value: str) -> str:
    """A pattern that is not empty: an empty one would match nothing."""
    if not value:
        raise ValueError("a pattern")
    return value


def host(value: str) -> str:
    """A name or an address."""
    if not value or any(character.isspace() for character in value):
        raise ValueError("a name or an address")
    return value


def path(value: str) -> Path:
    """A path that is not empty."""
    if not value:
        raise ValueError("a path")
    return Path(value)


def boolean(value: str) -> bool:
    """True or false, in the usual words."""
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("true or false")


def port(value: str) -> int:
    """A TCP port, 0 for any."""
    if not value.isascii() or not value.isdigit() or not 0 <= int(value) <= 65535:
        raise ValueError("a port number")
    return int(value)


def count(value: str) -> int:
    """A whole number of 1 or more."""
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError("a whole number of 1 or more")
    return int(value)


def seconds(value: str) -> float:
    """A duration of at most a day."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        raise ValueError("a number of seconds, above 0 and at most 86400")
    return seconds


_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(value: str) -> int:
    """A number of bytes, with a unit if wanted."""
    text = value.strip().lower().removesuffix("b").removesuffix("i")
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("k", "m", "g") else (text, "")
    if not number.isascii() or not number.isdigit() or int(number) < 1:
        raise ValueError("a size such as 64M or 1G")
    return int(number) * _SIZE_UNITS[unit]


_LEAST_MEMORY = 64 << 20


def memory(value: str) -> int:
    """A size that the reducing engine can work with."""
    try:
        given = size(value)
    except ValueError:
        given = 0
    if given < _LEAST_MEMORY:
        raise ValueError("a size of 64M or more, such as 512M or 1G")
    return given


def host_port(value: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 address in brackets."""
    host, colon, number = value.rpartition(":")
    if not colon or not host:
        raise ValueError("HOST:PORT")
    try:
        port_number = port(number)
    except ValueError:
        raise ValueError("HOST:PORT") from None
    return host.removeprefix("[").removesuffix("]"), port_number


def format_size(value: int) -> str:
    """Return bytes as ``size`` reads them, in the largest unit that is exact."""
    for unit in ("g", "m", "k"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit.upper()}"
    return str(value)


def format_host_port(host: str, port_number: int) -> str:
    """Return what ``host_port`` reads."""
    return f"[{host}]:{port_number}" if ":" in host else f"{host}:{port_number}"


def choice(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes one of ``choices``."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    parse.__name__ = "choice"
    parse.choices = choices  # type: ignore[attr-defined]  # a function has a __dict__
    return parse


def names(value: str) -> tuple[str, ...]:
    """Names parted by commas."""
    return tuple(name for name in value.replace(" ", "").split(",") if name)


def paths(value: str) -> tuple[str, ...]:
    """Paths parted by commas."""
    return tuple(path.strip() for path in value.split(",") if path.strip())
