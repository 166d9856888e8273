from tests.reducer.naming import COARSE, Told

from ebpf_net.testing.kubernetes import Cluster
from ebpf_net.testing.tables import client_row

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def told_of_a_pod(engine, **more) -> Told:
    told, cluster = Told(engine, **more), Cluster()
    cluster.add_node("one", boot_id="boot-one")
    cluster.add_pod("client", [CLIENT], workload="shop")
    told.tell_cluster(9, cluster)
    told.tell_host(1, "one")
    return told


def test_end_of_an_unknown_process_is_the_pod_of_its_address(engine):
    for more in ({}, {"detail": COARSE}):
        told = told_of_a_pod(engine, **more)
        ((own, _),) = told.name((1, client_row(CLIENT, SERVER, 80)))
        assert own["workload.name"] == "shop"


def test_address_of_an_end_says_nothing_where_its_process_is_known(engine):
    told = told_of_a_pod(engine)
    told.tell(1, processes=[{"process_id": 7, "comm": "sshd"}])
    ((own, _),) = told.name((1, client_row(CLIENT, SERVER, 80, process_id=7)))
    assert (own["workload.name"], own["ip"]) == ("sshd", CLIENT)


def test_address_in_another_cluster_is_not_the_ends_own(engine):
    told = told_of_a_pod(engine)
    told.tell_host(2, "outside")
    ((own, _),) = told.name((2, client_row(CLIENT, SERVER, 80)))
    assert own["workload.name"] == "(unknown)"
