from tests.collectors.kubernetes.shapes import STARTED_NS, make_metadata, make_node

from ebpf_net.collectors.kubernetes.node_rows import (
    namespace_row,
    node_address_rows,
    node_row,
)
from ebpf_net.collectors.object_labels import AllowList


def test_a_node_tells_where_it_is():
    assert node_row(make_node(), AllowList()) == (
        *("node-uid", "node-1", "0a1b2c", "1f9e-55", "aws:///eu-1a/i-1"),
        *("m5.large", "eu-1a", "eu-1", "{}"),
    )


def test_old_names_of_labels_are_read():
    node = make_node()
    node.metadata.labels = {
        "failure-domain.beta.kubernetes.io/zone": "z",
        "failure-domain.beta.kubernetes.io/region": "r",
        "beta.kubernetes.io/instance-type": "i",
    }
    assert node_row(node, AllowList())[5:8] == ("i", "z", "r")


def test_addresses_are_those_that_are_addresses():
    node = make_node(
        addresses=[
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "fd00::1"},
            {"type": "ExternalIP", "address": "198.51.100.1"},
            {"type": "Hostname", "address": "192.0.2.9"},
        ]
    )
    rows = dict(node_address_rows(node))
    assert list(rows) == [
        "node-uid/192.0.2.1",
        "node-uid/fd00::1",
        "node-uid/198.51.100.1",
    ]
    assert rows["node-uid/192.0.2.1"][1:] == (
        *("node", "node-uid", 0, 0xFFFFC0000201, STARTED_NS, 0, 0, 0),
    )


def test_a_namespace_has_a_name_and_labels():
    row = namespace_row(
        make_metadata("n", "u", labels={"team": "t"}), AllowList(("*",))
    )
    assert row == ("u", "n", '{"team":"t"}')
