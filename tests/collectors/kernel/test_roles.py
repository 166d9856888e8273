import numpy as np
import pytest

from ebpf_net.collectors.kernel.roles import SocketRoles
from ebpf_net.schema import Role
from ebpf_net.testing.kernel import tcp_records

LISTENER, CLOSED = 3, 4
WEB = {"cookie": 900, "role": LISTENER, "local_port": 80, "flags": 2}


def resolve(roles, records):
    return [Role(role) for role in roles.resolve(records, records["cookie"])]


@pytest.mark.parametrize(
    ("listens_at", "local_address", "role"),
    [
        ("0.0.0.0", "10.0.0.1", Role.SERVER),
        ("::", "10.0.0.1", Role.SERVER),
        ("::", "2001:db8::1", Role.SERVER),
        ("10.0.0.1", "10.0.0.1", Role.SERVER),
        ("10.0.0.9", "10.0.0.1", Role.CLIENT),
        ("0.0.0.0", "2001:db8::1", Role.CLIENT),
    ],
)
def test_a_socket_at_a_listening_address_was_accepted(listens_at, local_address, role):
    roles = SocketRoles()
    roles.observe_listeners(tcp_records(WEB | {"local_address": listens_at}))
    socket = {"local_port": 80, "local_address": local_address}
    assert resolve(roles, tcp_records(socket)) == [role]


def test_port_and_network_namespace_must_be_the_listeners():
    roles = SocketRoles()
    roles.observe_listeners(tcp_records(WEB | {"local_address": "::"}))
    sockets = tcp_records({"local_port": 81}, {"local_port": 80, "netns": 5})
    assert resolve(roles, sockets) == [Role.CLIENT, Role.CLIENT]


def test_a_decision_outlives_the_listener_until_the_socket_closes():
    roles = SocketRoles()
    roles.observe_listeners(tcp_records(WEB | {"local_address": "::"}))
    socket = {"local_port": 80, "cookie": 5}
    assert resolve(roles, tcp_records(socket)) == [Role.SERVER]
    roles.end_window()
    gone = WEB | {"local_address": "::", "flags": CLOSED}
    roles.observe_listeners(tcp_records(gone))
    assert resolve(roles, tcp_records(socket | {"flags": CLOSED})) == [Role.SERVER]
    assert resolve(roles, tcp_records(socket)) == [Role.SERVER]  # a late reset
    roles.end_window()
    assert resolve(roles, tcp_records(socket)) == [Role.CLIENT]


def test_a_client_stays_one_when_a_listener_comes_later():
    roles = SocketRoles()
    socket = {"local_port": 80, "cookie": 5}
    assert resolve(roles, tcp_records(socket)) == [Role.CLIENT]
    roles.observe_listeners(tcp_records(WEB | {"local_address": "::"}))
    other = {"local_port": 80, "cookie": 6}
    assert resolve(roles, tcp_records(socket, other)) == [Role.CLIENT, Role.SERVER]


def test_one_of_two_listeners_at_a_port_may_go():
    roles = SocketRoles()
    both = [WEB | {"cookie": 1}, WEB | {"cookie": 2}]
    roles.observe_listeners(tcp_records(*both))
    roles.observe_listeners(tcp_records(both[0] | {"flags": CLOSED}))
    assert resolve(roles, tcp_records({"local_port": 80})) == [Role.SERVER]


def test_what_an_mptcp_listener_accepts_has_the_listeners_owner():
    roles = SocketRoles()
    owner = {"pid": 7, "owner_start_ns": 70, "comm": b"go"}
    listener = WEB | owner | {"cookie": 0, "local_address": "::"}
    roles.observe_listeners(tcp_records(listener))
    accepted = tcp_records(
        {"local_port": 80, "pid": 0}, {"local_port": 81, "pid": 0}, {"pid": 9}
    )
    servers = np.full(3, Role.SERVER, np.int64)
    filled = roles.fill_owners(accepted, servers)
    assert filled["pid"].tolist() == [7, 0, 9]
    assert filled["comm"].tolist()[0] == b"go"
    assert filled["owner_start_ns"].tolist()[0] == 70
    clients = np.full(3, Role.CLIENT, np.int64)
    assert roles.fill_owners(accepted, clients)["pid"].tolist() == [0, 0, 9]
