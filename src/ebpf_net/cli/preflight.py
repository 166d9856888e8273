"""``preflight``: which signals this kernel can give, how, and what about the rest."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence

from ebpf_net.cli.collector import source_options
from ebpf_net.cli.translation import translation_signals
from ebpf_net.collectors.kernel.probes import Signal
from ebpf_net.collectors.kernel.source import preflight
from ebpf_net.settings import Settings


def run(settings: Settings) -> int:
    """Print the signals; 1 if one of them is missing."""
    programs = preflight(source_options(settings))
    signals = (*programs, *translation_signals(settings))
    if settings.preflight_output == "json":
        print(json.dumps([_document(signal) for signal in signals], indent=2))
    else:
        print(table(signals, shutil.get_terminal_size().columns, sys.stdout.isatty()))
    return 0 if all(signal.attach for signal in signals) else 1


def _document(signal: Signal) -> dict[str, object]:
    return {
        "signal": signal.name,
        "available": bool(signal.attach),
        "attach": signal.attach,
        "lost_without": signal.lost,
        "reason": signal.reason,
        "hint": signal.hint,
    }


def table(signals: Sequence[Signal], width: int, colour: bool) -> str:
    """Return the signals as lines of at most ``width`` columns."""
    name_width = max([len("signal"), *(len(signal.name) for signal in signals)])
    lines = [f"{'signal':<{name_width}}  state    how"]
    for signal in signals:
        state = "ok" if signal.attach else "missing"
        mark = f"{state:<7}"
        if colour:
            mark = f"\x1b[{32 if signal.attach else 31}m{mark}\x1b[0m"
        lines.append(
            f"{signal.name:<{name_width}}  {mark}  {signal.attach or signal.reason}"
        )
        if not signal.attach:
            lines += _remarks(signal, name_width + 11, width)
    return "\n".join(lines)


def _remarks(signal: Signal, indent: int, width: int) -> list[str]:
    lines: list[str] = []
    for label, text in (("lost", signal.lost), ("hint", signal.hint)):
        if text:
            lines += textwrap.wrap(
                f"{label}: {text}",
                max(40, width),
                initial_indent=" " * indent,
                subsequent_indent=" " * indent,
            )
    return lines
