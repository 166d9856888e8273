import subprocess
import sys
from pathlib import Path

from tests.world.hosts import Network, cgroup_root


def test_hosts_reach_each_other_from_cgroups_of_their_own(network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    assert "1 received" in left.run("ping", "-c", "1", "-W", "5", right.address)
    assert "1 received" in right.run("ping", "-c", "1", "-W", "5", left.address6)
    assert f"0::{left.cgroup.path}\n" in left.run("cat", "/proc/self/cgroup")


def test_what_a_killed_run_left_is_removed_by_several_at_once(tmp_path: Path) -> None:
    imports = f"import os, pathlib, signal, sys\nsys.path[:] = {sys.path}\n"
    killed = tmp_path / "killed.py"
    killed.write_text(
        f"{imports}from tests.world.hosts import Network\n"
        f"network = Network(pathlib.Path({str(tmp_path)!r}))\n"
        "for number in range(10):\n"
        "    network.host(f'h{number}')\n"
        "print(network.name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    name = subprocess.run(
        [sys.executable, killed], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert (cgroup_root() / name).exists()
    remover = f"{imports}from tests.world.hosts import remove_leftovers\n"
    command = [sys.executable, "-c", f"{remover}remove_leftovers()"]
    removers = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in removers] == [0, 0, 0, 0]
    assert not (cgroup_root() / name).exists()
    assert not list(Path("/run/netns").glob(f"{name}*"))
