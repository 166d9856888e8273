"""Both ends of connections, as columns."""

import numpy as np

from ebpf_net.collectors.kernel.connection_ends import ends_as_seen, true_ends
from ebpf_net.collectors.kernel.conntrack import TRANSLATION, Outcome
from ebpf_net.testing.kernel import address_bytes, tcp_records

MAPPED = 0xFFFF << 32


def test_as_seen() -> None:
    records = tcp_records({"local_address": "10.0.0.1", "remote_address": "fd00::2"})
    ends = ends_as_seen(records)
    assert [int(half[0]) for half in ends.local] == [0, MAPPED | 0x0A000001]
    assert [int(half[0]) for half in ends.remote] == [-3 << 56, 2]
    assert [int(ports[0]) for ports in ends.ports] == [40_000, 443]
    assert ends.translation_ids.tolist() == [0]


def test_true_ends_are_those_of_the_side_that_a_socket_is() -> None:
    records = tcp_records({}, {}, {})
    told = np.zeros(3, TRANSLATION)
    told["translation_id"] = 9
    told["client"] = address_bytes("10.0.0.7")
    told["server"] = address_bytes("10.0.0.8")
    told["client_port"], told["server_port"] = 1234, 8080
    outcomes = np.array([Outcome.CLIENT, Outcome.SERVER, Outcome.AMBIGUOUS], np.uint8)
    ends = true_ends(records, outcomes, told)
    assert (ends.local[1] & 0xFF).tolist() == [7, 8, 1]
    assert (ends.remote[1] & 0xFF).tolist() == [8, 7, 2]
    assert ends.ports[0].tolist() == [1234, 8080, 40_000]
    assert ends.ports[1].tolist() == [8080, 1234, 443]
    assert ends.translation_ids.tolist() == [9, 9, 0]
