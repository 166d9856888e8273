"""A certificate for this machine, made by openssl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.world.hosts import run


@dataclass(frozen=True)
class Certificate:
    """Its own authority; valid for localhost and 127.0.0.1."""

    certificate: Path
    key: Path


def make_certificate(directory: Path, name: str) -> Certificate:
    """Make a key and a self-signed certificate."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
        *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
        *("-keyout", made.key, "-out", made.certificate),
    )
    return made
