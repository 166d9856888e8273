from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.reducer.naming import Told

from ebpf_net.reducer.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture
def told(engine: Engine) -> Told:
    """Nothing told yet."""
    return Told(engine)
