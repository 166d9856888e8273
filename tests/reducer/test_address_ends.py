from tests.reducer.naming import Told

from ebpf_net.reducer.networks import parse_networks
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import client_row

CLIENT, PRIVATE, PUBLIC = "10.0.0.1", "10.0.0.2", "203.0.114.9"


def peers(told: Told, *edges) -> list[tuple[str, str | None]]:
    rows = [(source, client_row(CLIENT, address, 80)) for source, address in edges]
    return [
        (peer["workload.name"], peer.get("k8s.cluster.name"))
        for _, peer in told.name(*rows)
    ]


def test_the_own_place_goes_before_anywhere_and_that_before_networks(engine):
    told = Told(engine)
    for source, name in ((1, "blue"), (2, "green")):
        cluster = Cluster(name)
        cluster.add_node(f"node-{name}", boot_id=f"boot-{name}")
        if name == "blue":
            cluster.add_service("front", [PUBLIC], [80], "load_balancer")
        else:
            cluster.add_pod("mine", [PUBLIC])
        told.tell_cluster(10 + source, cluster)
        told.tell_host(source, name)
    told.tell_host(3, "outside")
    told.names.networks = parse_networks("10.0.0.0/8 office\n203.0.114.0/24 hosted")
    assert peers(told, (1, PUBLIC), (2, PUBLIC), (3, PUBLIC)) == [
        ("front", "blue"),
        ("mine", "green"),
        ("front", "blue"),
    ]
    assert peers(told, (1, PRIVATE), (3, "203.0.114.10")) == [
        ("office", None),
        ("hosted", None),
    ]


def test_addresses_without_any_name_are_one_end_unless_told_apart(engine):
    told = Told(engine)
    told.tell_host(1, "one")
    told.tell_host(2, "two")
    assert peers(told, (1, PUBLIC), (2, PUBLIC)) == [("(unknown)", None)] * 2
