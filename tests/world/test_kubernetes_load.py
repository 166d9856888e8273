import contextlib
import subprocess
import sys
from pathlib import Path

from tests.world.kubernetes_api import KubernetesControlPlane, remove_left_directories
from tests.world.kubernetes_load import KubernetesLoad
from tests.world.waiting import wait_until


def test_a_killed_run_leaves_no_api_once_another_has_started(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:] = {sys.path}\n"
        "from tests.world.kubernetes_api import KubernetesControlPlane\n"
        "plane = KubernetesControlPlane()\n"
        "print(plane.directory.name, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as killed:
        assert killed.stdout
        name = killed.stdout.readline().strip()
        assert len(list_users(name)) == 2
        killed.kill()
        killed.wait()
    remove_left_directories()
    wait_until(lambda: not list_users(name), 20)
    assert not Path("/dev/shm", name).exists()


def list_users(name: str) -> list[Path]:
    """Return the processes that have it in their arguments."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if name.encode() in line.read_bytes():
                found.append(line)
    return found


def test_an_api_without_nodes_holds_many_pods() -> None:
    with KubernetesControlPlane() as plane:
        load = KubernetesLoad(plane.api)
        load.add_pods(150)
        load.add_services(5)
        load.relabel(load.pods[0], "tier", "front")
        load.remove(load.pods[1])
        pods = plane.api.request("GET", "/api/v1/namespaces/default/pods")["items"]
        assert len(pods) == len(load.pods) == 149
        assert len({pod["status"]["podIP"] for pod in pods}) == 149
        assert sum("tier" in pod["metadata"]["labels"] for pod in pods) == 1
        nodes = plane.api.request("GET", "/api/v1/nodes")["items"]
        assert [node["metadata"]["name"] for node in nodes] == ["node-0", "node-1"]
