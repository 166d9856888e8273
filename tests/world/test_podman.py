from tests.world.hosts import Network
from tests.world.podman import Podman


def test_a_container_is_in_a_cgroup_of_its_id(network: Network) -> None:
    host = network.host("node")
    with Podman(host) as podman:
        web = podman.run("web", labels={"tier": "front"})
        assert web.cgroup == f"{host.cgroup.path}/libpod-{web.identity}"
