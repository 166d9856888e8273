from ebpf_net.collectors.kubernetes.address_rows import (
    Holder,
    address_row,
    node_port_row,
)

HOLDER = Holder("pod", "u", 100)
KEY, ROW = address_row(HOLDER, "10.0.0.1")


def test_a_row_has_the_columns_of_the_schema():
    assert KEY == "u/10.0.0.1"
    assert ROW == (KEY, "pod", "u", 0, 0xFFFF0A000001, 100, 0, 0, 0)


def test_a_port_is_part_of_the_key():
    key, row = address_row(Holder("load_balancer", "u", 1), "::1", 80, 6)
    assert key == "u/::1/80/6"
    assert row == (key, "load_balancer", "u", 0, 1, 1, 0, 80, 6)


def test_a_node_port_is_any_nodes():
    key, row = node_port_row(Holder("node_port", "u", 1), 30080, 17)
    assert row == (key, "node_port", "u", 0, 0, 1, 0, 30080, 17)
