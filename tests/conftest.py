"""Fixtures of tests/world, for every test."""

pytest_plugins = [
    "tests.world.hosts",
    "tests.world.kubernetes",
    "tests.world.otel_collector",
    "tests.world.kubernetes_system",
]
