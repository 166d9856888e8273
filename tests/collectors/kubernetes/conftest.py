"""A real API server with nobody who acts on what is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.world.kubernetes_api import KubernetesControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[KubernetesControlPlane]:
    with KubernetesControlPlane() as plane:
        yield plane
