from __future__ import annotations

import pytest
from tests.reducer.naming import COARSE, FULL, Labels, Told

from ebpf_net.reducer.autonomous_systems import AutonomousSystems
from ebpf_net.reducer.networks import parse_networks
from ebpf_net.reducer.resolve import Detail
from ebpf_net.schema import NODE_LABELS
from ebpf_net.testing.kubernetes import Cluster, make_translation
from ebpf_net.testing.tables import client_row, server_row

HOST, OTHER_HOST, CLUSTER = 1, 2, 9
WEB, DATABASE = "10.244.1.5", "10.244.2.6"
SERVICE_ADDRESS = "10.96.0.10"


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add_node(
        "node-1", ["192.168.0.1"], boot_id="boot-node-1", zone="zone-a", region="r-1"
    )
    made.add_node(
        "node-2", ["192.168.0.2"], boot_id="boot-node-2", zone="zone-b", region="r-1"
    )
    made.add_pod("web-1", [WEB], workload="web", node_name="node-1")
    made.add_pod("database-0", [DATABASE], workload="database", node_name="node-2")
    database = made.add_service("database", [SERVICE_ADDRESS], [5432])
    made.add_node_port(database, 30_432)
    return made


@pytest.fixture
def node(told: Told, cluster: Cluster) -> Told:
    """A node's collector, and a process in the pod ``web-1``."""
    told.tell_host(HOST, "node-1")
    told.tell(
        HOST,
        processes=[{"process_id": 5, "cgroup_id": 7, "comm": "server"}],
        cgroups=[{"cgroup_id": 7, "pod_uid": "uid-main-web-1"}],
    )
    told.tell_cluster(CLUSTER, cluster)
    return told


def peer_of(told: Told, address: str, port: int = 80) -> Labels:
    """The labels of what the pod ``web-1`` connects to."""
    ((_, peer),) = told.name((HOST, client_row(WEB, address, port, process_id=5)))
    return peer


def short(labels: Labels) -> tuple[str, str]:
    return labels["workload.name"], labels["resolution_type"]


def test_pod_with_a_collector_has_every_label(node):
    ((own, _),) = node.name((HOST, client_row(WEB, DATABASE, 5432, process_id=5)))
    assert own == {
        "workload.name": "web",
        "workload.uid": "uid-main-web",
        "availability_zone": "zone-a",
        "id": "node-1",
        "ip": WEB,
        "resolution_type": "K8S_CONTAINER",
        "image_version": "1.0",
        "namespace.name": "default",
        "process.name": "server",
        "pod": "web-1",
        "node.name": "node-1",
        "region": "r-1",
        "k8s.cluster.name": "main",
        "k8s.cluster.uid": "uid-main",
    }


def test_container_is_found_by_its_id_where_the_cgroup_has_another_pod_uid(node):
    node.tell(
        HOST,
        cgroups=[
            {
                "cgroup_id": 7,
                "pod_uid": "hash-of-a-static-pod",
                "container_id": "container-of-uid-main-web-1",
            }
        ],
    )
    ((own, _),) = node.name((HOST, client_row(WEB, DATABASE, 5432, process_id=5)))
    assert (own["workload.name"], own["container.name"]) == ("web", "app")


def test_pod_without_a_collector_is_found_by_its_address(node):
    assert peer_of(node, DATABASE, 5432) == {
        "workload.name": "database",
        "workload.uid": "uid-main-database",
        "availability_zone": "zone-b",
        "id": "node-2",
        "ip": DATABASE,
        "resolution_type": "K8S_POD",
        "image_version": "1.0",
        "environment": "(no agent)",
        "namespace.name": "default",
        "pod": "database-0",
        "node.name": "node-2",
        "region": "r-1",
        "k8s.cluster.name": "main",
        "k8s.cluster.uid": "uid-main",
    }


def test_client_pod_without_a_collector_is_found_too(node):
    ((own, peer),) = node.name((HOST, server_row(DATABASE, WEB, 80, process_id=5)))
    assert short(own) == ("web", "K8S_CONTAINER")
    assert short(peer) == ("database", "K8S_POD")


def test_pod_on_its_hosts_network_is_found_by_its_cgroup(node, cluster):
    cluster.add_pod("agent-1", workload="agent", host_network=True)
    node.tell_cluster(CLUSTER, cluster)
    node.tell(HOST, cgroups=[{"cgroup_id": 7, "pod_uid": "uid-main-agent-1"}])
    ((own, _),) = node.name((HOST, client_row("192.168.0.1", WEB, 80, process_id=5)))
    assert short(own) == ("agent", "K8S_CONTAINER")


def test_pod_on_its_hosts_network_is_found_by_the_port_it_answers_at(node, cluster):
    pod = cluster.add_pod("agent-2", workload="agent", host_network=True)
    service = cluster.add_service("agent", ["10.96.0.11"], [9100])
    cluster.add_endpoint(service, "192.168.0.2", 9100, pod)
    node.tell_cluster(CLUSTER, cluster)
    assert short(peer_of(node, "192.168.0.2", 9100)) == ("agent", "K8S_POD")
    assert short(peer_of(node, "192.168.0.2", 22)) == ("node-2", "K8S_NODE")


def test_service_is_found_by_address_and_port(node):
    assert peer_of(node, SERVICE_ADDRESS, 5432) == {
        "workload.name": "database",
        "workload.uid": "uid-main-database",
        "availability_zone": "(unknown)",
        "id": SERVICE_ADDRESS,
        "ip": SERVICE_ADDRESS,
        "resolution_type": "K8S_SERVICE",
        "environment": "(no agent)",
        "namespace.name": "default",
        "service.name": "database",
        "k8s.cluster.name": "main",
        "k8s.cluster.uid": "uid-main",
    }
    assert short(peer_of(node, SERVICE_ADDRESS, 80)) == ("(unknown)", "IP")


def test_two_services_share_a_load_balancers_address(node, cluster):
    for name, port in (("shop", 443), ("mail", 25)):
        cluster.add_service(name, ["203.0.113.9"], [port], "load_balancer")
    node.tell_cluster(CLUSTER, cluster)
    assert short(peer_of(node, "203.0.113.9", 443)) == ("shop", "K8S_SERVICE")
    assert short(peer_of(node, "203.0.113.9", 25)) == ("mail", "K8S_SERVICE")


def test_node_port_is_its_service_and_another_port_the_node(node):
    assert short(peer_of(node, "192.168.0.2", 30_432)) == ("database", "K8S_SERVICE")
    assert short(peer_of(node, "192.168.0.2", 22)) == ("node-2", "K8S_NODE")


def test_endpoint_outside_the_cluster_is_its_service(node, cluster):
    service = cluster.add_service("legacy", ["10.96.0.12"], [1521])
    cluster.add_endpoint(service, "172.20.0.9", 1521)
    node.tell_cluster(CLUSTER, cluster)
    assert short(peer_of(node, "172.20.0.9", 1521)) == ("legacy", "K8S_SERVICE")


def test_public_address_of_a_cluster_means_the_same_to_everybody(told, cluster):
    cluster.add_service("shop", ["203.0.113.9"], [443], "load_balancer")
    told.tell_cluster(CLUSTER, cluster)
    told.tell_host(HOST, "elsewhere")
    assert short(peer_of(told, "203.0.113.9", 443)) == ("shop", "K8S_SERVICE")
    assert short(peer_of(told, DATABASE, 5432)) == ("(unknown)", "IP")


@pytest.mark.parametrize("told_by", [HOST, OTHER_HOST])
def test_service_that_was_asked_for_is_a_label_of_the_server(node, told_by):
    node.tell_host(OTHER_HOST, "node-2")
    node.tell(
        OTHER_HOST,
        processes=[{"process_id": 6, "cgroup_id": 8, "comm": "postgres"}],
        cgroups=[{"cgroup_id": 8, "pod_uid": "uid-main-database-0"}],
    )
    translation = make_translation(77, WEB, SERVICE_ADDRESS, DATABASE, (5432, 5432))
    node.tell(told_by, translations=[translation])
    number = {HOST: (77, 0), OTHER_HOST: (0, 77)}[told_by]
    client = client_row(WEB, DATABASE, 5432, process_id=5, translation_id=number[0])
    server = server_row(WEB, DATABASE, 5432, process_id=6, translation_id=number[1])
    ends = node.name((HOST, client), (OTHER_HOST, server))
    assert ends[0] == (ends[1][1], ends[1][0])
    own, peer = ends[0]
    assert "service.name" not in own
    assert short(peer) == ("database", "K8S_CONTAINER")
    assert (peer["service.name"], peer["pod"]) == ("database", "database-0")


def test_service_behind_a_node_port_is_a_label_of_the_server(node):
    row = make_translation(77, "198.51.100.7", "192.168.0.1", WEB, (30_432, 80))
    node.tell(HOST, translations=[row])
    edge = server_row("198.51.100.7", WEB, 80, process_id=5, translation_id=77)
    ((own, peer),) = node.name((HOST, edge))
    assert (own["workload.name"], own["service.name"]) == ("web", "database")
    assert "service.name" not in peer


def test_translation_without_a_service_leaves_no_label(node):
    row = make_translation(77, WEB, "172.17.0.1", DATABASE, (8080, 5432))
    node.tell(HOST, translations=[row])
    edge = client_row(WEB, DATABASE, 5432, process_id=5, translation_id=77)
    ((_, peer),) = node.name((HOST, edge))
    assert "service.name" not in peer


def test_same_server_through_two_services_is_two_ends(node, cluster):
    cluster.add_service("other", ["10.96.0.13"], [5432])
    node.tell_cluster(CLUSTER, cluster)
    node.detail = COARSE
    numbers = {77: SERVICE_ADDRESS, 78: "10.96.0.13", 0: ""}
    node.tell(
        HOST,
        translations=[
            make_translation(number, WEB, address, DATABASE, (5432, 5432))
            for number, address in numbers.items()
            if number
        ],
    )
    edges = [
        (HOST, client_row(WEB, DATABASE, 5432, process_id=5, translation_id=number))
        for number in numbers
    ]
    services = [peer.get("service.name") for _, peer in node.name(*edges)]
    assert services == ["database", "other", None]


def test_process_on_a_node_has_the_cluster_and_the_nodes_zone(node):
    node.tell(HOST, processes=[{"process_id": 6, "comm": "sshd"}])
    ((own, _),) = node.name(
        (HOST, client_row("192.168.0.1", "10.0.0.9", 22, process_id=6))
    )
    assert own == {
        "workload.name": "sshd",
        "availability_zone": "zone-a",
        "id": "node-1",
        "ip": "192.168.0.1",
        "resolution_type": "PROCESS",
        "process.name": "sshd",
        "node.name": "node-1",
        "region": "r-1",
        "k8s.cluster.name": "main",
        "k8s.cluster.uid": "uid-main",
    }


def test_users_zone_beats_the_nodes(node):
    node.tell_host(HOST, "node-1", zone="rack-7")
    ((own, _),) = node.name((HOST, client_row(WEB, DATABASE, 5432, process_id=5)))
    assert (own["availability_zone"], own["region"]) == ("rack-7", "r-1")


def test_network_of_the_user_names_what_is_nobody_elses(node):
    node.names.networks = parse_networks(
        "10.0.0.0/8 inside\n172.30.1.0/24 office\n8.8.8.8/32 resolver\n"
    )
    assert peer_of(node, "172.30.1.4") == {
        "workload.name": "office",
        "availability_zone": "(unknown)",
        "id": "172.30.1.4",
        "ip": "172.30.1.4",
        "resolution_type": "NETWORK",
        "environment": "(no agent)",
    }
    assert short(peer_of(node, "10.9.9.9")) == ("inside", "NETWORK")
    assert short(peer_of(node, "8.8.8.8", 53)) == ("resolver", "NETWORK")
    assert short(peer_of(node, DATABASE)) == ("database", "K8S_POD")
    assert short(peer_of(node, "8.8.4.4", 53)) == ("DNS", "IP")


class Records(dict[str, object]):
    """A database of some addresses."""


AS_AND_COUNTRY = AutonomousSystems(
    [
        Records({"8.8.4.4": {"autonomous_system_organization": "Example Net"}}),
        Records({"8.8.4.4": {"country": {"iso_code": "CH"}}}),
    ]
)


def test_autonomous_system_is_the_zone_of_an_address(node):
    node.names.systems = AS_AND_COUNTRY
    assert peer_of(node, "8.8.4.4") == {
        "workload.name": "(internet)",
        "availability_zone": "Example Net",
        "id": "AS",
        "ip": "AS",
        "resolution_type": "IP",
        "environment": "(no agent)",
        "geo.country.iso_code": "CH",
    }


def test_address_in_an_autonomous_system_is_shown_where_it_is_wanted(node):
    node.names.systems = AS_AND_COUNTRY
    node.detail = Detail(addresses=True, system_ip=True)
    peer = peer_of(node, "8.8.4.4", 53)
    assert (peer["id"], peer["ip"], short(peer)) == (
        "8.8.4.4",
        "8.8.4.4",
        ("DNS", "IP"),
    )


def test_coarse_names_are_those_of_the_full_ones(node):
    full = peer_of(node, "192.168.0.2", 22), peer_of(node, DATABASE)
    node.detail = COARSE
    coarse = peer_of(node, "192.168.0.2", 22), peer_of(node, DATABASE)
    fine = {"id", "ip", "pod", "workload.uid", "node.name"}
    assert coarse == tuple(
        {label: labels[label] for label in labels if label not in fine}
        for labels in full
    )
    assert fine < set(NODE_LABELS)


def test_long_names_stay_whole(node, cluster):
    name = "x" * 1000
    cluster.add_pod("p", ["10.244.3.3"], workload=name)
    node.tell_cluster(CLUSTER, cluster)
    assert peer_of(node, "10.244.3.3")["workload.name"] == name


def test_translation_of_a_third_host_names_the_service_too(node):
    row = make_translation(77, WEB, SERVICE_ADDRESS, DATABASE, (5432, 5432))
    node.tell(OTHER_HOST, translations=[row])
    edge = client_row(WEB, DATABASE, 5432, process_id=5, translation_id=77)
    ((_, peer),) = node.name((HOST, edge))
    assert peer["service.name"] == "database"


def test_service_is_told_to_the_right_row_where_others_were_left_out(node):
    translation = make_translation(77, WEB, SERVICE_ADDRESS, DATABASE, (5432, 5432))
    node.tell(HOST, translations=[translation])
    edges = [
        (HOST, client_row(WEB, "10.0.0.9", 80, process_id=5)),
        (HOST, client_row(WEB, DATABASE, 5432, process_id=5, translation_id=77)),
        (OTHER_HOST, server_row(WEB, DATABASE, 5432, process_id=6)),
    ]
    node.tell_host(OTHER_HOST, "node-2")
    all_rows = node.name(*edges)
    some_rows = node.name(*edges, kept=[False, True, True])
    assert some_rows == all_rows[1:]
    assert some_rows[1][0]["service.name"] == "database"


@pytest.mark.parametrize("detail", [FULL, COARSE])
def test_pod_of_an_unknown_process_is_found_by_its_own_address(node, detail):
    node.detail = detail
    edges = [
        (HOST, client_row(own, DATABASE, 5432))
        for own in (WEB, DATABASE, "192.168.0.1")
    ]
    names = [short(own) for own, _ in node.name(*edges)]
    assert names == [
        ("web", "K8S_CONTAINER"),
        ("database", "K8S_CONTAINER"),
        ("(unknown)", "PROCESS"),
    ]
