"""A real API server with nobody who acts on what is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.world.kubernetes_api import KubernetesControlPlane
from tests.world.kubernetes_programs import build_programs


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build Kubernetes, if a test uses it, before tests are timed."""
    used = any("control_plane" in getattr(i, "fixturenames", ()) for i in session.items)
    if used and not session.config.option.collectonly:
        build_programs()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[KubernetesControlPlane]:
    with KubernetesControlPlane() as plane:
        yield plane
