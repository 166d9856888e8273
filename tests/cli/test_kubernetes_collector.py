import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.world.kubernetes_api import KubernetesControlPlane

from ebpf_net.cli.kubernetes_collector import collector_options, places, run
from ebpf_net.collectors.kubernetes.access import Access, Places
from ebpf_net.errors import SettingError
from ebpf_net.intake.server import IntakeServer, ServerOptions
from ebpf_net.settings import K8S_COLLECTOR, load
from ebpf_net.testing.intake import MemorySink

PROGRAM = "import sys; from ebpf_net.cli import main; sys.exit(main())"


def settings(*arguments, **environment):
    return load(K8S_COLLECTOR, arguments, environment=environment)


def test_needs_none_of_what_only_the_reducer_needs():
    script = (
        "import sys, ebpf_net.cli.kubernetes_collector; "
        "print(sorted({'pyarrow', 'duckdb', 'grpc', 'rich', 'uvicorn', 'starlette',"
        " 'ebpf_net.collectors.kernel.libbpf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_references_settings_are_what_they_were():
    options = collector_options(
        settings(
            K8S_COLLECTOR_DELETE_TTL_SECS="5",
            K8S_COLLECTOR_DELETE_CAPACITY="7",
            K8S_COLLECTOR_HOSTNAME="me",
        ),
        Access("https://k", cluster_name="kind", namespace="monitoring"),
    )
    assert (options.delete_ttl_seconds, options.delete_capacity) == (5.0, 7)
    assert (options.host, options.cluster_name) == ("me", "kind")
    assert options.lease is not None
    assert options.lease.namespace == "monitoring"
    assert options.lease.identity.startswith("me_")


def test_flags_go_before_variables():
    options = collector_options(
        settings(
            *("--delete-ttl-secs", "6", "--cluster-name", "prod"),
            *("--lease-namespace", "n", "--allow-label", "app", "--allow-label", "x/*"),
            K8S_COLLECTOR_DELETE_TTL_SECS="5",
        ),
        Access("https://k", cluster_name="kind"),
    )
    assert (options.delete_ttl_seconds, options.cluster_name) == (6.0, "prod")
    assert options.labels == ("app", "x/*")
    assert options.lease is not None
    assert options.lease.namespace == "n"


def test_a_single_replica_needs_no_lease():
    options = collector_options(
        settings("--disable-leader-election"), Access("https://k")
    )
    assert options.lease is None


def test_a_cluster_is_looked_for_where_the_variables_say():
    assert places(
        settings(
            KUBECONFIG="/a:/b", KUBERNETES_SERVICE_HOST="h", KUBERNETES_SERVICE_PORT="1"
        )
    ) == Places((Path("/a"), Path("/b")), service_host="h", service_port=1)


def test_a_kubeconfig_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SettingError, match="there is no kubeconfig"):
        run(settings(KUBECONFIG=str(tmp_path / "none")))


def test_a_missing_authority_is_named_before_anything_is_asked(tmp_path):
    (tmp_path / "config").write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1',"
        " certificate-authority: ca.pem}}]\n"
    )
    with pytest.raises(SettingError) as caught:
        run(settings(KUBECONFIG=str(tmp_path / "config")))
    assert str(caught.value) == (
        f"cannot use certificate-authority {tmp_path / 'ca.pem'}: "
        "No such file or directory"
    )


def start(tmp_path, *arguments, **environment):
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-c", PROGRAM, "k8s-collector"),
            *("--data-dir", str(tmp_path / "data"), "--no-log-file", *arguments),
        ],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_bad_kubeconfig_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "config").write_text("clusters: []")
    started = start(tmp_path, KUBECONFIG=str(tmp_path / "config"))
    _, said = started.communicate(timeout=30)
    assert started.returncode == 1
    assert said == (
        f"error: the kubeconfig {tmp_path / 'config'} has no current context\n"
        "hint: name one with --context\n"
    )


def test_a_cluster_reaches_an_intake_by_name_and_an_end_is_orderly(tmp_path):
    sink = MemorySink()
    server = IntakeServer(ServerOptions(port=0), sink)
    server.start()
    with KubernetesControlPlane() as plane:
        started = start(
            tmp_path,
            *("--intake-host", "localhost", "--intake-port", str(server.port)),
            *("--interval-seconds", "0.5"),
            KUBECONFIG=str(plane.kubeconfig),
        )
        try:
            with sink.changed:
                assert sink.changed.wait_for(lambda: len(sink.batches) >= 2, 60)
            started.send_signal(signal.SIGTERM)
            _, said = started.communicate(timeout=30)
        finally:
            started.kill()
        spec = plane.api.request(
            "GET",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases/"
            "ebpf-net-k8s-collector",
        )["spec"]
    server.close()
    assert (started.returncode, said) == (0, "")
    assert spec["holderIdentity"] == ""
    (snapshot,) = sink.snapshots
    names = snapshot.tables["kubernetes_namespaces"]["name"].to_pylist()
    assert "kube-system" in names
    assert snapshot.tables["kubernetes_clusters"]["name"].to_pylist() == ["test"]
    sequences = [batch.header.sequence for batch in sink.batches]
    assert sequences == list(range(1, len(sequences) + 1))


def test_an_api_server_that_is_away_ends_nothing(tmp_path):
    config = (
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    (tmp_path / "config").write_text(config)
    started = start(tmp_path, "--log-console", KUBECONFIG=str(tmp_path / "config"))
    assert started.stderr is not None
    lines = iter(started.stderr.readline, "")
    assert any(
        "cannot ask the API server at http://127.0.0.1:1" in one for one in lines
    )
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=30)
    assert started.returncode == 0
