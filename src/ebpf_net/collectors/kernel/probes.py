"""What the kernel can attach: one row for each signal, and what is lost without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One thing the collector learns from the kernel, and how it is attached here."""

    name: str
    attach: str
    """Such as ``tp_btf/inet_sock_set_state``; empty where nothing could be attached."""
    lost: str
    """What the collector cannot tell without it."""
    reason: str = ""
    """Why it is missing, or why the second best was taken."""
    hint: str = ""
    """What to do about it."""
