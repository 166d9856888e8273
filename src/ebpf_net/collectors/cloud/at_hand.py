"""Which clouds there are credentials of, by where their SDKs look for them.

Nothing is asked: a machine outside the clouds must not look for their metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

AWS, GCP, AZURE = "aws", "gcp", "azure"


@dataclass(frozen=True)
class _Marks:
    variables: tuple[str, ...]
    files: tuple[str, ...]
    """Below the home directory."""


_MARKS: Mapping[str, _Marks] = {
    AWS: _Marks(
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_CONFIG_FILE",
        ),
        (".aws/credentials", ".aws/config"),
    ),
    GCP: _Marks(
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        (".config/gcloud/application_default_credentials.json",),
    ),
    AZURE: _Marks(
        (
            "AZURE_CLIENT_ID",
            "AZURE_TENANT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "IDENTITY_ENDPOINT",
        ),
        (".azure/azureProfile.json",),
    ),
}


def clouds_at_hand(environment: Mapping[str, str], here: str) -> tuple[str, ...]:
    """Return the providers in question; ``here`` is the one whose machine this is."""
    home = Path(environment.get("HOME") or "/nonexistent")
    return tuple(
        provider
        for provider, marks in _MARKS.items()
        if provider == here
        or any(environment.get(variable) for variable in marks.variables)
        or any((home / file).exists() for file in marks.files)
    )
