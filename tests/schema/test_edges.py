from ebpf_net.schema import EDGE_SAMPLES, EDGES, ConnectFailure, Drop, Role, Sample


def test_codes_leave_zero_to_what_is_unknown():
    assert Role.UNKNOWN == 0
    assert min(*Sample, *ConnectFailure, *Drop) == 1


def test_edges_have_numbers_only():
    kinds = {kind for _, kind in (*EDGES, *EDGE_SAMPLES)}
    assert kinds == {"int64", "int32", "int16", "int8"}
