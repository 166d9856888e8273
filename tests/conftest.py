"""Fixtures of tests/world, for every test."""

import os

from hypothesis import settings

# Tests may run in a cloud: collectors that they start must not ask it.
os.environ.setdefault("EBPF_NET_CLOUD_METADATA", "none")

# A machine that does something else at the same time is no failure.
settings.register_profile("ebpf-net", deadline=None)
settings.load_profile("ebpf-net")

pytest_plugins = [
    "tests.world.hosts",
    "tests.world.kubernetes",
    "tests.world.otel_collector",
    "tests.world.kubernetes_system",
]
