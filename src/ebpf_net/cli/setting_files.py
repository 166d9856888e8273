"""Whether the files of TLS and tokens that settings name can be used.

Looked at before anything is opened or attached, so that a slip in a path ends the start
with the setting's name and the file's.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_net.cli.certificates import check_certificate
from ebpf_net.errors import SettingError
from ebpf_net.settings import Settings


def check_intake_files(settings: Settings) -> None:
    """Raise SettingError for a file of the intake, at either side, that cannot do."""
    check_certificate(settings)
    if settings.intake_token_file is not None:
        _check_token("--intake-token-file", settings.intake_token_file)
    if settings.intake_ca is not None:
        check_authority("--intake-ca", settings.intake_ca)
    if settings.intake_certificate is not None and settings.intake_key is not None:
        check_pair(
            ("--intake-certificate", settings.intake_certificate),
            ("--intake-key", settings.intake_key),
        )


def _check_token(setting: str, path: Path) -> None:
    with _naming(setting, path):
        if not path.read_text("ascii").strip():
            raise ValueError("is empty")


def check_authority(setting: str, path: Path) -> None:
    """Raise SettingError for a file without certificates that may be trusted."""
    with _naming(setting, path):
        path.read_bytes()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            raise ValueError("has no certificate in PEM format") from None


def check_pair(certificate: tuple[str, Path], key: tuple[str, Path]) -> None:
    """Raise SettingError for a certificate and a key, each with its setting's name."""
    for setting, path in (certificate, key):
        with _naming(setting, path):
            path.read_bytes()
    check_authority(*certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate[1], key[1])
    except ssl.SSLError as error:
        setting, path = key
        why = "has no private key in PEM format that it can read"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"is not the key of {certificate[1]}"
        raise SettingError(f"cannot use {setting} {path}: {why}") from None


@contextmanager
def _naming(setting: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
    except UnicodeDecodeError:
        why = "is not text"
    except ValueError as error:
        why = str(error)
    else:
        return
    raise SettingError(f"cannot use {setting} {path}: {why}")
