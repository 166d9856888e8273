from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reducer.naming import WINDOW, Labels, Told

from ebpf_net.reducer.claims import Span
from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import client_row

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def host_in(told: Told, source: int, cluster: Cluster) -> None:
    """Tell of a cluster and of a host that is its node."""
    name = f"node-of-{cluster.name}"
    cluster.add_node(name, boot_id=f"boot-{name}")
    told.tell_host(source, name)
    told.tell_cluster(100 + source, cluster)


def peers(told: Told, *sources: int, port: int = 80) -> list[Labels]:
    edges = [(source, client_row(CLIENT, SERVER, port)) for source in sources]
    return [peer for _, peer in told.name(*edges)]


def test_equal_addresses_of_two_clusters_are_different_pods(told):
    for source, name in ((1, "blue"), (2, "green")):
        cluster = Cluster(name)
        cluster.add_pod("server", [SERVER], workload=f"server-of-{name}")
        host_in(told, source, cluster)
    told.tell_host(3, "outside")
    names = [
        (peer["workload.name"], peer.get("k8s.cluster.name"))
        for peer in peers(told, 1, 2, 3)
    ]
    assert names == [
        ("server-of-blue", "blue"),
        ("server-of-green", "green"),
        ("(unknown)", None),
    ]


def test_address_is_its_owners_of_the_time(told):
    cluster = Cluster()
    cluster.add_pod("new", [SERVER], span=(WINDOW.start_ns + 6, 0))
    cluster.add_pod("old", [SERVER], span=(10, WINDOW.start_ns + 6))
    host_in(told, 1, cluster)
    found = []
    for start in (990, 1000, 1010):
        told.span = Span(start, start + 10)
        found += [peer["workload.name"] for peer in peers(told, 1)]
    assert found == ["old", "old", "new"]


def test_pod_is_found_by_each_of_its_addresses(told):
    cluster = Cluster()
    cluster.add_pod("both", [SERVER, "2001:db8::2"])
    host_in(told, 1, cluster)
    edges = [
        (1, client_row(CLIENT, SERVER, 80)),
        (1, client_row("2001:db8::1", "2001:db8::2", 80)),
    ]
    assert [peer["pod"] for _, peer in told.name(*edges)] == ["both", "both"]


def test_public_address_that_two_clusters_claim_is_nobodys(told):
    for source, name in ((1, "blue"), (2, "green")):
        cluster = Cluster(name)
        cluster.add_service("shop", ["203.0.113.9"], [443], "load_balancer")
        host_in(told, source, cluster)
    told.tell_host(3, "outside")
    edges = [(source, client_row(CLIENT, "203.0.113.9", 443)) for source in (1, 2, 3)]
    clusters = [peer.get("k8s.cluster.name") for _, peer in told.name(*edges)]
    assert clusters == ["blue", "green", None]


def test_service_without_ports_is_found_at_all_of_them(told):
    cluster = Cluster()
    uid = cluster.add_service("any", [SERVER], [443])
    cluster.add_address("service", uid, SERVER)
    cluster.add_service("exact", [SERVER], [80])
    host_in(told, 1, cluster)
    found = [
        peer["workload.name"]
        for port in (80, 443, 9)
        for peer in peers(told, 1, port=port)
    ]
    assert found == ["exact", "any", "any"]


operations = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(990, 1012), st.integers(0, 25)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(operations, st.data())
def test_order_in_which_tables_and_rows_arrive_does_not_matter(engine, pods, data):
    def names(*, shuffled: bool) -> list[tuple[Labels, Labels]]:
        told = Told(engine)
        for source, name in ((1, "blue"), (2, "green")):
            cluster = Cluster(name)
            for number, (workload, start, length) in enumerate(pods):
                span = (start, start + length)
                address = [SERVER, CLIENT][number % 2]
                cluster.add_pod(f"{number}", [address], workload=workload, span=span)
            cluster.add_service("service", ["10.96.0.1"])
            host_in(told, source, cluster)
        if shuffled:
            told.changes = data.draw(st.permutations(split(told)))
        edges = [
            (source, client_row(CLIENT, address, 80))
            for source in (1, 2)
            for address in (SERVER, "10.96.0.1", CLIENT)
        ]
        return told.name(*edges)

    assert names(shuffled=True) == names(shuffled=False)


def split(told: Told) -> list:
    """Every row by itself."""
    return [
        type(change)(change.source, {name: table.slice(row, 1)}, change.snapshot)
        for change in told.changes
        for name, table in change.tables.items()
        for row in range(table.num_rows)
    ]
