from tests.reducer.naming import Told

from ebpf_net.testing.kubernetes import Cluster, make_translation
from ebpf_net.testing.tables import client_row

CLIENT, SERVICE, SERVER = "10.0.0.1", "10.96.0.1", "10.0.0.2"


def service_names(told: Told, *sources: int) -> list[str | None]:
    row = client_row(CLIENT, SERVER, 8080, translation_id=5)
    names = told.name(*((source, row) for source in sources))
    return [peer.get("service.name") for _, peer in names]


def test_service_is_the_one_of_the_translating_hosts_cluster(engine):
    told = Told(engine)
    for source, name in ((1, "blue"), (2, "green")):
        cluster = Cluster(name)
        cluster.add_node(f"node-{name}", boot_id=f"boot-{name}")
        cluster.add_service(f"shop-{name}", [SERVICE])
        told.tell_cluster(10 + source, cluster)
        told.tell_host(source, name)
        asked = make_translation(5, CLIENT, SERVICE, SERVER, (80, 8080))
        told.tell(source, translations=[asked])
    assert service_names(told, 1, 2) == ["shop-blue", "shop-green"]


def test_nobody_asks_for_a_service_without_a_cluster(engine):
    told = Told(engine)
    told.tell_host(1, "one")
    asked = make_translation(5, CLIENT, SERVICE, SERVER, (80, 8080))
    told.tell(1, translations=[asked])
    assert service_names(told, 1) == [None]
