from __future__ import annotations

from ebpf_net.schema import TABLES, Protocol, Role
from ebpf_net.testing.tables import (
    START_NS,
    WINDOW_NS,
    client_row,
    make_batch,
    make_header,
    server_row,
    split_address,
)


def test_addresses_are_two_signed_halves():
    assert split_address("10.0.0.1") == (0, 0xFFFF_0A00_0001)
    assert split_address("ff00::") == (-(1 << 56), 0)


def test_rows_keep_the_servers_port_only():
    client, server = (
        make("10.0.0.1", "10.0.0.2", 80) for make in (client_row, server_row)
    )
    assert (client["role"], client["remote_port"]) == (Role.CLIENT, 80)
    assert (server["role"], server["local_port"]) == (Role.SERVER, 80)
    assert client["local_address_low"] == server["remote_address_low"]


def test_batch_has_all_tables_with_the_types_of_the_schema():
    batch = make_batch([client_row("10.0.0.1", "10.0.0.2", 80, bytes_sent=5)])
    assert set(batch.tables) == set(TABLES)
    assert batch.tables["edges"].to_pylist()[0]["bytes_sent"] == 5
    assert batch.tables["edges"].to_pylist()[0]["protocol"] == Protocol.TCP
    assert not any(field.nullable for field in batch.tables["edges"].schema)


def test_windows_follow_one_another():
    assert make_header(2).window_start_ns == START_NS + 2 * WINDOW_NS
    assert make_header(2).sequence == 3
