from tests.world.containerd import Containerd
from tests.world.hosts import Network

UID = "5b2c1d3e-4f50-6172-8394-a5b6c7d8e9f0"


def test_containers_are_in_the_cgroups_that_containerd_gives_them(
    network: Network,
) -> None:
    host = network.host("node")
    with Containerd(host) as containerd:
        web = containerd.run("web", labels={"tier": "front"})
        assert web.cgroup == f"/{containerd.namespace}/web"
        pod = containerd.run_pod("web-0", UID, "app")
        parent = f"{host.cgroup.path}/kubepods/besteffort/pod{UID}"
        assert pod.cgroup == f"{parent}/{pod.identity}"
