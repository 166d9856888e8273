from tests.world import tcp_traffic
from tests.world.docker import Docker
from tests.world.hosts import Network


def test_a_published_port_of_a_container_is_reached_from_another_host(
    network: Network,
) -> None:
    host, client = network.host("engine"), network.host("client")
    with Docker(host) as docker:
        container = docker.run("web", publish="8080:5000", labels={"tier": "front"})
        serving, calling = container.worker(), client.worker()
        serving.call(tcp_traffic.serve, "0.0.0.0", 5000, 10, 20)
        calling.call(tcp_traffic.make_short_connections, host.address, 8080, 5, 10, 20)
        assert serving.call(tcp_traffic.read_served).connections == 5
        serving.close()
