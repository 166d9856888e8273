from tests.world.kubernetes_api import KubernetesControlPlane
from tests.world.kubernetes_load import KubernetesLoad


def test_an_api_without_nodes_holds_many_pods() -> None:
    with KubernetesControlPlane() as plane:
        load = KubernetesLoad(plane.api)
        load.add_pods(150)
        load.add_services(5)
        load.relabel(load.pods[0], "tier", "front")
        load.remove(load.pods[1])
        pods = plane.api.request("GET", "/api/v1/namespaces/default/pods")["items"]
        assert len(pods) == len(load.pods) == 149
        assert len({pod["status"]["podIP"] for pod in pods}) == 149
        assert sum("tier" in pod["metadata"]["labels"] for pod in pods) == 1
        nodes = plane.api.request("GET", "/api/v1/nodes")["items"]
        assert [node["metadata"]["name"] for node in nodes] == ["node-0", "node-1"]
