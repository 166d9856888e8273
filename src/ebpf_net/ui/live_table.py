"""The table on the terminal: takes windows as an exporter does, and keys as they come.

One thread of its own does all the drawing. Whatever ends it, it puts the terminal back.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from io import TextIOWrapper
from types import FrameType
from typing import TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from ebpf_net.schema import InternalPoint, Window
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.health import Health, read_health
from ebpf_net.ui.keyboard import CbreakMode, KeyDecoder
from ebpf_net.ui.snapshot import LEVEL, Snapshot, take_snapshot
from ebpf_net.ui.table_view import Screen, draw, draw_once
from ebpf_net.ui.view_state import ViewState

_MAX_READ = 1024
_EXIT_SECONDS = 1.0

logger = logging.getLogger(__name__)


def is_live_terminal(output: TextIO) -> bool:
    """Whether a live table can be shown there: a terminal that can move its cursor."""
    return output.isatty() and not Console(file=output).is_dumb_terminal


class LiveTable:
    """Shows the newest window until ``close`` or until the user quits.

    ``on_quit`` is called on the table's thread when that ends by itself: the user
    pressed q, or the terminal has gone; it must not block. Keys work if ``keys`` is a
    terminal and this program is in its foreground.
    """

    def __init__(
        self,
        on_quit: Callable[[], None],
        order: str = "bytes",
        output: TextIO | None = None,
        keys: TextIO | None = None,
    ) -> None:
        output = output or sys.stdout
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="replace")  # … and µ, where the locale lacks them
        self._on_quit = on_quit
        self._output = output
        self._keys = _key_descriptor(keys or sys.stdin)
        self._decoder = KeyDecoder()
        self._console = Console(file=output, highlight=False, markup=False)
        self._state = ViewState(order)
        self._directions = Directions()
        self._lock = threading.Lock()
        self._parts: tuple[Window, ...] = ()  # of the newest window
        self._shown: tuple[Window, ...] = ()
        self._health: Health | None = None
        self._snapshot: Snapshot | None = None
        self._is_closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(
            target=self._run, name="live-table", daemon=True
        )

    def start(self) -> None:
        """Take the terminal over; call it on the main thread, to follow its size."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGWINCH, self._resized)
        atexit.register(self.close, _EXIT_SECONDS)
        self._thread.start()

    def export(self, window: Window, done: Callable[[bool], None]) -> None:
        """Show a window; one with the time of the last one is added to it."""
        is_usable = LEVEL in window.levels
        if is_usable:
            with self._lock:
                self._put(window)
            self._wake()
        done(is_usable)

    def _put(self, window: Window) -> None:
        newest = self._parts[0].start_ns if self._parts else -1
        if window.start_ns > newest:
            self._parts = (window,)
        elif window.start_ns == newest:
            self._parts = (*self._parts, window)

    def export_internal(
        self,
        points: Sequence[InternalPoint],
        now_ns: int,  # noqa: ARG002 - the window has its time
    ) -> None:
        """Show the state of the collectors and the losses."""
        self._health = read_health(points)
        self._wake()

    def close(self, timeout_seconds: float) -> None:
        """Give the terminal back and leave the last picture on it."""
        atexit.unregister(self.close)
        self._is_closing = True
        self._wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_seconds)

    def metrics(self) -> list[InternalPoint]:
        """Return nothing: a picture is not a delivery."""
        return []

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is about to wake already
            os.write(self._wake_write, b"\x00")

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._wake()

    def _run(self) -> None:
        try:
            if self._console.is_terminal:
                self._show()
            else:
                self._print()
        except OSError as error:
            logger.warning("the live table lost its terminal: %s", error)
        finally:
            if not self._is_closing:
                self._on_quit()

    def _show(self) -> None:
        with self._terminal() as live:
            while not (self._is_closing or self._state.quits):
                self._take_window()
                live.update(Group(*self._draw(draw)), refresh=True)
                self._wait()
        self._print_once()

    def _print(self) -> None:
        """Write one table after another, where there is no screen to draw on."""
        while not self._is_closing:
            before = self._snapshot
            self._take_window()
            if self._snapshot is not before:
                self._print_once()
            self._wait()

    def _print_once(self) -> None:
        for line in self._draw(draw_once):
            self._console.print(line)

    @contextmanager
    def _terminal(self) -> Iterator[Live]:
        live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with ExitStack() as stack:
            if self._keys is not None:
                stack.enter_context(CbreakMode(self._keys))
            yield stack.enter_context(live)

    def _take_window(self) -> None:
        parts = self._parts
        if parts is self._shown or self._state.is_paused:
            return
        self._shown = parts
        try:
            self._snapshot = take_snapshot(parts, self._directions)
        except Exception:  # as of an edge whose node is not there
            logger.exception("a window cannot be shown")

    def _draw(self, render: Callable[[Screen], list[Text]]) -> list[Text]:
        """Return the lines of the screen; give a window up that cannot be drawn."""
        screen = self._screen()
        try:
            return render(screen)
        except Exception:
            if self._snapshot is None:
                raise
            logger.exception("a window cannot be drawn")
            self._snapshot = None
            return render(replace(screen, snapshot=None))

    def _screen(self) -> Screen:
        width, height = 120, 40
        if self._console.is_terminal:
            width, height = os.get_terminal_size(self._output.fileno())
        width, height = width or 80, height or 24  # a terminal may not know its size
        self._console.size = ConsoleDimensions(width, height)
        return Screen(self._snapshot, self._health, self._state, width, height)

    def _wait(self) -> None:
        """Return when there is something new to draw."""
        watched = [self._wake_read]
        if self._keys is not None:
            watched.append(self._keys)
        ready, _, _ = select.select(watched, [], [])
        if self._wake_read in ready:
            os.read(self._wake_read, _MAX_READ)
        if self._keys is not None and self._keys in ready:
            self._press(os.read(self._keys, _MAX_READ))

    def _press(self, data: bytes) -> None:
        if not data:
            self._keys = None
        for key in self._decoder.feed(data):
            self._state = self._state.press(key)


def _key_descriptor(keys: TextIO) -> int | None:
    """Return where to read keys; a program in the background must not."""
    if not keys.isatty() or os.tcgetpgrp(keys.fileno()) != os.getpgrp():
        return None
    return keys.fileno()
