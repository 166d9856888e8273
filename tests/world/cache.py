"""What is slow to build is built once and kept outside the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Return the directory, made if need be."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(home) / "ebpf-net"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the directory ``name`` of the cache, filled by ``build`` if it is new.

    ``name`` has all that the content depends on, such as a version. A build that fails
    leaves nothing; a second caller waits for the first.
    """
    directory = cache_directory() / name
    with one_at_a_time(name):
        if not directory.exists():
            unfinished = directory.with_name(f"{name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            say(f"building {name}; kept in {directory}")
            build(unfinished)
            unfinished.rename(directory)
    return directory


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Wait until no other process of any test run is inside with the same ``name``."""
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    """Show progress of something slow past pytest's capture."""
    print(f"\nworld: {message}", file=sys.__stderr__, flush=True)
