import os

import numpy as np
import pytest

from ebpf_net.collectors.kernel.cgroup_filter import CgroupFilter
from ebpf_net.collectors.kernel.cgroup_tree import CgroupTree
from ebpf_net.collectors.kernel.cgroups import CgroupTable
from ebpf_net.collectors.kernel.edges import EdgeTable
from ebpf_net.collectors.kernel.processes import ProcessTable
from ebpf_net.collectors.kernel.window import WindowBuilder
from ebpf_net.testing.kernel import tcp_records, udp_records

OPENED, ADOPTED, CLOSED = 1, 2, 4
CLIENT, SERVER, LISTENER = 1, 2, 3


@pytest.fixture
def make_builder(tmp_path):
    def make(exclude=(), **options):
        cgroups = CgroupTable(
            CgroupTree(tmp_path, proc=tmp_path / "no-proc"),
            CgroupFilter((), exclude),
            set_verdict=lambda number, include: None,
            forget_verdict=lambda number: None,
            ask_details=lambda question: None,
        )
        cgroups.start()
        return WindowBuilder(EdgeTable(1000), ProcessTable(), cgroups, **options)

    return make


def columns(tables, *names):
    edges = tables.edges.edges
    return sorted(zip(*(edges[name].tolist() for name in names), strict=True))


def test_adopted_sockets_get_the_role_that_a_later_listener_record_shows(make_builder):
    builder = make_builder()
    accepted = {"cookie": 1, "role": 0, "flags": ADOPTED, "local_port": 80}
    connected = {"cookie": 2, "role": 0, "flags": ADOPTED, "remote_port": 5432}
    builder.add_tcp(tcp_records(accepted, connected))
    listener = {"role": LISTENER, "flags": ADOPTED, "local_port": 80, "cookie": 3}
    builder.add_tcp(tcp_records(listener | {"local_address": "0.0.0.0"}))
    names = "role", "local_port", "remote_port", "open", "opened"
    assert columns(builder.finish(), *names) == [
        (CLIENT, 0, 5432, 1, 0),
        (SERVER, 80, 0, 1, 0),
    ]
    closed = {"flags": CLOSED, "bytes_sent": 9}
    builder.add_tcp(tcp_records(accepted | closed))
    assert columns(builder.finish(), "role", "open", "closed", "bytes_sent") == [
        (CLIENT, 1, 0, 0),
        (SERVER, 0, 1, 9),
    ]


def test_a_recount_takes_the_roles_that_were_decided(make_builder):
    builder = make_builder()
    listener = {"role": LISTENER, "flags": ADOPTED, "local_port": 80, "cookie": 3}
    builder.add_tcp(tcp_records(listener | {"local_address": "0.0.0.0"}))
    sockets = [
        {"cookie": cookie, "role": 0, "flags": ADOPTED, "local_port": 80}
        for cookie in (1, 2)
    ]
    builder.add_tcp(tcp_records(*sockets))
    builder.restart_open(tcp_records(sockets[0] | {"flags": 32}))
    assert columns(builder.finish(), "role", "open") == [(SERVER, 1)]


def test_half_open_requests_belong_to_the_server(make_builder):
    builder = make_builder()
    request = {"cookie": 0, "role": LISTENER, "flags": 16, "syn_timeouts": 2}
    builder.add_tcp(tcp_records(request | {"local_port": 80}))
    assert columns(builder.finish(), "role", "local_port", "syn_timeouts") == [
        (SERVER, 80, 2)
    ]


def test_unwanted_cgroups_and_loopback_are_left_out_and_counted(make_builder, tmp_path):
    (tmp_path / "no").mkdir()
    builder = make_builder(exclude=["/no"], leave_out_loopback=True)
    unwanted = {"cgroup_id": os.stat(tmp_path / "no").st_ino}
    loopback = {"local_address": "127.0.0.1", "remote_address": "127.0.0.1"}
    builder.add_tcp(tcp_records(unwanted, loopback, {"bytes_sent": 1}))
    builder.add_udp(*udp_records(unwanted, loopback, {"bytes_sent": 2}))
    assert columns(builder.finish(), "protocol", "bytes_sent") == [(6, 1), (17, 2)]
    assert builder.filtered_records == 4


def test_references_are_those_that_rows_speak_of(make_builder, tmp_path):
    (tmp_path / "a").mkdir()
    cgroup_id = os.stat(tmp_path / "a").st_ino
    builder = make_builder()
    builder.add_tcp(tcp_records({"cgroup_id": cgroup_id, "comm": b"nginx"}))
    builder.add_udp(*udp_records({"cgroup_id": cgroup_id, "pid": 5, "comm": b"dig"}))
    tables = builder.finish()
    assert tables.references["processes"]["comm"] == ["nginx", "dig"]
    assert tables.references["cgroups"]["path"] == ["/a"]
    assert builder.snapshot()["cgroups"]["path"] == ["/a"]
    assert builder.finish().references["processes"]["comm"] == []


def test_many_records_at_once_are_all_counted(make_builder):
    builder = make_builder()
    one = tcp_records({"bytes_sent": 3, "cookie": 0, "flags": OPENED | CLOSED})
    builder.add_tcp(np.repeat(one, 40_000))
    assert columns(builder.finish(), "bytes_sent", "opened", "open") == [
        (120_000, 40_000, 0)
    ]
