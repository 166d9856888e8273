"""Whether the settings of TLS fit together, at either side of the intake."""

from __future__ import annotations

from ebpf_net.errors import SettingError
from ebpf_net.settings import Settings


def check_certificate(settings: Settings) -> None:
    """Raise SettingError for a certificate without its key, or the other way round."""
    pair = {
        "--intake-certificate": settings.intake_certificate,
        "--intake-key": settings.intake_key,
    }
    missing = [flag for flag, path in pair.items() if path is None]
    if len(missing) == 1:
        (given,) = pair.keys() - set(missing)
        raise SettingError(f"{given} needs {missing[0]}", "give both or neither")
