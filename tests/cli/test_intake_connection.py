from pathlib import Path

from ebpf_net.cli.intake_connection import (
    client_options,
    send_with_status,
    spool_options,
)
from ebpf_net.settings import K8S_COLLECTOR, load
from ebpf_net.testing.intake import make_batch


def settings(*arguments, **environment):
    return load(K8S_COLLECTOR, arguments, environment=environment)


def test_reducer_is_a_name_and_a_port():
    options = client_options(
        settings(EBPF_NET_INTAKE_HOST="reducer.svc", EBPF_NET_INTAKE_PORT="99")
    )
    assert (options.host, options.port, options.tls) == ("reducer.svc", 99, False)


def test_naming_an_authority_means_tls():
    options = client_options(settings("--intake-ca", "/ca.pem"))
    assert options.tls
    assert options.tls_ca == Path("/ca.pem")


def test_batches_wait_in_a_directory_within_bounds(tmp_path):
    options = spool_options(settings("--spool-disk-bytes", "1M"), tmp_path)
    assert (options.directory, options.disk_bytes) == (tmp_path, 1 << 20)


class Kept:
    """A client that keeps what it is handed."""

    def submit(self, batch):
        self.batch = batch

    def status(self):
        return {"client.sent": 5}


def test_the_clients_counters_go_with_a_batch():
    kept = Kept()
    send_with_status(kept, make_batch(status={"lost.ring_full": 1}))
    assert kept.batch.header.status == {"lost.ring_full": 1, "client.sent": 5}
