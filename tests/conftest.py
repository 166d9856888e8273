"""Fixtures of tests/world, for every test."""

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
