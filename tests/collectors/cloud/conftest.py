from collections.abc import Iterator

import pytest
from tests.world.moto_world import MotoWorld, moto_world


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoWorld]:
    """An AWS on loopback; the SDK is told of it by its variables."""
    with moto_world() as world:
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world
