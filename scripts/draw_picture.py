#!/usr/bin/env python3
"""Draw the live table for the README: run it on a terminal and keep its last picture.

    scripts/draw_picture.py --seconds 10 -- ebpf-net up

Writes docs/images/live-table.svg.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "live-table.svg"
_LEAVES_SCREEN = "\x1b[?1049l"


def main() -> int:
    """Run the command and write its last picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=110)
    parser.add_argument("--height", type=int, default=16)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    output = record(options.command, options.seconds, options.width, options.height)
    _, found, picture = output.rpartition(_LEAVES_SCREEN)
    if not found:
        print(output, file=sys.stderr)
        return 1
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(to_svg(picture, options.width), encoding="utf-8")
    return 0


def record(command: list[str], seconds: float, width: int, height: int) -> str:
    """Return what the command writes to a terminal until it is told to quit."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.environ.pop("NO_COLOR", None)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))
    output = read_for(terminal, seconds)
    os.write(terminal, b"q")
    output += read_for(terminal, 30.0)
    os.waitpid(process, 0)
    os.close(terminal)
    return output.decode("utf-8", "replace").replace("\r\n", "\n")


def read_for(terminal: int, seconds: float) -> bytes:
    """Read until the time is over or nobody writes any more."""
    output = b""
    end = time.monotonic() + seconds
    while select.select([terminal], [], [], max(end - time.monotonic(), 0))[0]:
        try:
            output += os.read(terminal, 1 << 16)
        except OSError:
            break
    return output


def to_svg(picture: str, width: int) -> str:
    """Return text with ANSI styles as a drawing, the same for the same text."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(Text.from_ansi(picture.strip("\n")), no_wrap=True)
    drawing = console.export_svg(title="ebpf-net up", unique_id="live-table")
    # Fonts from elsewhere are not shown in a README; the viewer's own monospace is.
    return re.sub(r"\s*@font-face \{.*?\}", "", drawing, flags=re.DOTALL)


if __name__ == "__main__":
    sys.exit(main())
