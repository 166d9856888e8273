from tests.world.hosts import Network


def test_hosts_reach_each_other_from_cgroups_of_their_own(network: Network) -> None:
    left, right = network.host("left"), network.host("right")
    assert "1 received" in left.run("ping", "-c", "1", "-W", "5", right.address)
    assert "1 received" in right.run("ping", "-c", "1", "-W", "5", left.address6)
    assert f"0::{left.cgroup.path}\n" in left.run("cat", "/proc/self/cgroup")
