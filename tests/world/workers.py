"""Python functions run on another host: in its network namespace and cgroup."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CLONE_NEWNET = 0x40000000


class Worker:
    """One process on a host that calls functions of modules, one after the other.

    What such a function keeps in its module stays there until the worker ends.
    """

    def __init__(self, cgroup: Path, netns: Path) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_move_to,
            initargs=(cgroup, netns),
        )
        self.pid = self.call(os.getpid)

    def submit(
        self,
        function: Callable[_P, _T],
        *arguments: _P.args,
        **keywords: _P.kwargs,
    ) -> Future[_T]:
        """Start the function there."""
        return self._pool.submit(function, *arguments, **keywords)

    def call(
        self,
        function: Callable[_P, _T],
        *arguments: _P.args,
        **keywords: _P.kwargs,
    ) -> _T:
        """Run the function there and return what it returns."""
        return self.submit(function, *arguments, **keywords).result(120)

    def close(self) -> None:
        """End the process; its sockets close."""
        self._pool.shutdown(cancel_futures=True)


def enter_netns(name: str | Path) -> None:
    """Move the calling thread to a network namespace: a path, or a name of ip netns."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")


def _move_to(cgroup: Path, netns: Path) -> None:
    (cgroup / "cgroup.procs").write_text("0")
    enter_netns(netns)
