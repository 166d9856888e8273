import numpy as np
import pytest

from ebpf_net.collectors.kernel.edge_facts import count32, pack_ends, unpack_ends
from ebpf_net.schema import Protocol, Role


@pytest.mark.parametrize(
    ("role", "keep", "local_port", "remote_port"),
    [
        (Role.CLIENT, False, 0, 65_535),
        (Role.SERVER, False, 65_534, 0),
        (Role.UNKNOWN, False, 65_534, 65_535),
        (Role.CLIENT, True, 65_534, 65_535),
        (Role.SERVER, True, 65_534, 65_535),
    ],
)
def test_the_client_port_is_dropped_where_it_is_known(
    role, keep, local_port, remote_port
):
    ports = np.array([65_534], np.uint16), np.array([65_535], np.uint16)
    ends = unpack_ends(pack_ends(ports, Protocol.UDP, np.array([role]), keep))
    assert {name: column.tolist() for name, column in ends.items()} == {
        "local_port": [local_port],
        "remote_port": [remote_port],
        "protocol": [17],
        "role": [role],
    }


@pytest.mark.parametrize("kind", ["u2", "u4", "u8"])
def test_counts_fit_or_stay_at_the_largest_value(kind):
    largest = np.iinfo(kind).max
    counts = count32(np.array([7, largest], kind))
    assert counts.dtype == np.int32
    assert counts.tolist() == [7, min(int(largest), 2**31 - 1)]
