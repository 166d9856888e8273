from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.udp import udp_facts
from ebpf_net.schema import Drop, Sample
from ebpf_net.testing.kernel import udp_records


def reduce(keys, values):
    table = EdgeTable(10_000)
    table.add(udp_facts(keys, values))
    return table.finish()


def test_one_socket_with_thousands_of_peers_has_an_edge_for_each_address():
    columns = reduce(
        *udp_records(
            *(
                {
                    "cookie": 9,
                    "role": 2,
                    "local_port": 53,
                    "remote_address": f"10.1.{peer // 250}.{peer % 250}",
                    "remote_port": 1000 + peer,
                    "bytes_received": peer,
                    "bytes_sent": 2 * peer,
                    "datagrams_received": 1,
                    "datagrams_sent": 2,
                }
                for peer in range(4000)
            )
        )
    )
    edges = columns.edges
    assert edges["open"].tolist() == [1] * 4000
    assert edges["bytes_received"].tolist() == list(range(4000))
    assert edges["bytes_sent"].tolist() == list(range(0, 8000, 2))
    assert edges["packets_received"].sum() == 4000
    assert edges["packets_sent"].sum() == 8000
    assert set(edges["remote_port"].tolist()) == {0}
    assert set(edges["local_port"].tolist()) == {53}
    assert set(edges["protocol"].tolist()) == {17}


def test_drops_are_counted_by_reason():
    columns = reduce(
        *udp_records(
            {"cookie": 1, "drops": [3, 0, 0, 1]},
            {"cookie": 2, "drops": [2, 0, 5, 0]},
        )
    )
    assert columns.edges["drops"].tolist() == [11]
    assert columns.samples["kind"].tolist() == [Sample.DROP] * 3
    assert columns.samples["bucket"].tolist() == [
        Drop.RECEIVE_BUFFER,
        Drop.CHECKSUM,
        Drop.OTHER,
    ]
    assert columns.samples["count"].tolist() == [5, 5, 1]


def test_of_two_equal_ports_the_lower_address_is_the_client():
    low, high, other = "10.0.0.1", "fd00::1", "10.0.0.2"
    both_sent_first = {"role": 1, "local_port": 8301, "remote_port": 8301}
    columns = reduce(
        *udp_records(
            both_sent_first | {"local_address": low, "remote_address": high},
            both_sent_first | {"local_address": high, "remote_address": low},
            both_sent_first | {"local_address": other, "remote_address": other},
            both_sent_first | {"local_address": high, "remote_port": 53},
        )
    )
    edges = columns.edges
    assert edges["role"].tolist() == [1, 2, 1, 1]
    assert edges["local_port"].tolist() == [0, 8301, 0, 0]
    assert edges["remote_port"].tolist() == [8301, 0, 8301, 53]
