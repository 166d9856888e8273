import pytest

from ebpf_net.collectors.kernel.source import KernelSource, SourceOptions
from tests.bpf.watch import Watch
from tests.world.hosts import Host, Network
from tests.world.tcp_traffic import make_short_connections, serve
from tests.world.udp_traffic import exchange_datagrams, repeat_datagrams, serve_udp
from tests.world.waiting import wait_until


def drive(left: Host, right: Host) -> None:
    server, client = right.worker(), left.worker()
    server.call(serve, right.address, 7401, 5, 6)
    server.call(serve_udp, right.address, 7401, 6)
    client.call(make_short_connections, right.address, 7401, 10, 5, 6)
    client.call(exchange_datagrams, [left.address], right.address, 7401, 10, 5)


@pytest.mark.parametrize("default_include", [True, False])
@pytest.mark.parametrize("whole_network", [True, False])
def test_verdict_of_a_cgroup_holds_for_those_below(
    network: Network, default_include: bool, whole_network: bool
) -> None:
    left, right = network.host("left"), network.host("right")
    named = network.cgroup if whole_network else left.cgroup
    options = SourceOptions(default_include=default_include)
    with KernelSource(options) as source:
        number = named.directory.stat().st_ino
        source.set_cgroup_verdict(number, not default_include)
        drive(left, right)
        watch = Watch(source)
        left_is_seen = not default_include
        right_is_seen = left_is_seen if whole_network else default_include
        wait_until(
            lambda: (
                watch.drain() is not None
                and watch.client(7401).closed == 10 * left_is_seen
                and watch.server(7401).closed == 10 * right_is_seen
            ),
            10,
        )
        keys, values = source.read_udp()
        at_client = values[keys["remote_port"] == 7401]
        at_server = values[keys["local_port"] == 7401]
        assert at_client["datagrams_sent"].sum() == 10 * left_is_seen
        assert at_server["datagrams_received"].sum() == 10 * right_is_seen


def test_nearest_verdict_wins_until_it_is_forgotten(network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    with KernelSource(SourceOptions(udp=False)) as source:
        watch = Watch(source)
        source.set_cgroup_verdict(network.cgroup.directory.stat().st_ino, False)
        number = left.cgroup.directory.stat().st_ino
        source.set_cgroup_verdict(number, True)
        drive(left, right)
        watch.drain()
        assert watch.client(7401).opened == 10
        assert watch.server(7401).opened == 0
        source.forget_cgroup(number)
        left.worker().call(make_short_connections, right.address, 7401, 10, 5, 6)
        watch.drain()
        assert watch.client(7401).opened == 10


def test_udp_socket_obeys_a_verdict_that_comes_later(network: Network) -> None:
    host = network.host("only")
    worker = host.worker()
    number = host.cgroup.directory.stat().st_ino

    def datagrams_sent(source: KernelSource) -> int:
        worker.call(repeat_datagrams, "127.0.0.1", 7403, 10)
        keys, values = source.read_udp()
        mine = (keys["remote_port"] == 7403) & (values["cgroup_id"] == number)
        return int(values["datagrams_sent"][mine].sum())

    with KernelSource(SourceOptions(tcp=False)) as source:
        assert datagrams_sent(source) == 10
        source.set_cgroup_verdict(number, False)
        assert datagrams_sent(source) == 0
        assert datagrams_sent(source) == 0
        source.set_cgroup_verdict(number, True)
        assert datagrams_sent(source) == 10
        source.set_cgroup_verdict(number, False)
        assert datagrams_sent(source) == 0
        source.forget_cgroup(number)
        assert datagrams_sent(source) == 0  # its cgroup may be gone
        source.set_cgroup_verdict(number, True)
        assert datagrams_sent(source) == 10


def test_adoption_obeys_the_filter(network: Network) -> None:
    right = network.host("right")
    right.worker().call(serve, right.address, 7402, 5, 6)
    with KernelSource(SourceOptions(udp=False)) as source:
        source.set_cgroup_verdict(right.cgroup.directory.stat().st_ino, False)
        adopted = source.adopt()
        assert not (adopted["local_port"] == 7402).any()
