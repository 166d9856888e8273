"""Fixtures of tests/world, for every test, and which tests may run side by side."""

from pathlib import Path

import pytest
from hypothesis import settings

# A machine that does something else at the same time is no failure.
settings.register_profile("ebpf-net", deadline=None)
settings.load_profile("ebpf-net")

pytest_plugins = [
    "tests.world.hosts",
    "tests.world.kubernetes",
    "tests.world.otel_collector",
    "tests.world.kubernetes_system",
]

_OF_THE_KERNEL = tuple(
    Path(__file__).parent / name for name in ("bpf", "end_to_end", "world")
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Name the group whose tests run one after the other, in one process.

    There is one cluster, and one kernel whose programs and sockets are counted. Those
    of translation are many, and keep to their own hosts. All others run wherever there
    is room.
    """
    if "kubernetes" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("kubernetes"))
    elif item.path.name.startswith("test_nat_"):
        item.add_marker(pytest.mark.xdist_group("translation"))
    elif any(item.path.is_relative_to(one) for one in _OF_THE_KERNEL):
        item.add_marker(pytest.mark.xdist_group("kernel"))
