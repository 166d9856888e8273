"""Whose certificates a client takes: TLS that checks the same under every Python."""

from __future__ import annotations

import ssl
from pathlib import Path


def trusting(cafile: str | Path | None = None, cadata: str = "") -> ssl.SSLContext:
    """Return TLS for a client that trusts these authorities, or else the system's.

    From 3.13 on, Python by itself refuses authorities without a key usage, as
    ``openssl req -x509`` makes them, and certificates that do not name the key of their
    authority. What a newer Python runs would not reach servers that all others reach.
    """
    context = ssl.create_default_context(cafile=cafile, cadata=cadata or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
