import contextlib

import pytest
from tests.intake.certificates import make_authority

from ebpf_net.intake.client import ClientOptions, IntakeClient, Spool, SpoolOptions
from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.testing.intake import MemorySink, make_snapshot


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def start_server():
    """Start a server on a free port, or on the given one."""
    with contextlib.ExitStack() as stack:

        def start(sink=None, **options):
            server = IntakeServer(
                ServerOptions(**{"port": 0, **options}),
                sink if sink is not None else MemorySink(),
            )
            server.start()
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def start_client(tmp_path):
    """Start a client with a spool on disk and short waits."""
    with contextlib.ExitStack() as stack:

        def start(port, snapshot=make_snapshot, spool=None, **options):
            quick = {"backoff_seconds": 0.01, "max_backoff_seconds": 0.05,
                     "poll_seconds": 0.02}  # fmt: skip
            client = IntakeClient(
                ClientOptions(port=port, **{**quick, **options}),
                spool or Spool(SpoolOptions(tmp_path / "spool")),
                snapshot,
            )
            stack.callback(client.close, 0)
            return client

        yield start
