"""What is found in connection tracking for a socket."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.collectors.kernel.conntrack_messages import (
    IN_DUMP,
    TCP,
    UDP,
    Packet,
    end_of_dump,
    message,
)

from ebpf_net.collectors.kernel.conntrack import (
    NOT_FIRST,
    ConntrackTable,
    Listening,
    Outcome,
    Sockets,
    Translations,
)
from ebpf_net.schema import Role
from ebpf_net.testing.kernel import address_bytes

POD, HOST, OTHER, THIRD = 10, 1, 20, 30
CLIENT, VIP, OUTER, SERVER = "10.0.0.1", "10.96.0.1", "10.0.9.9", "10.0.0.2"
ASKED = Packet(f"{CLIENT} 40000", f"{VIP} 80")
MADE = Packet(f"{OUTER} 1234", f"{SERVER} 8080")
RETRIED = 9
Told = tuple[str, str, str, str]
TRANSLATION = (CLIENT, f"{VIP} 80", OUTER, f"{SERVER} 8080")


@pytest.fixture
def table() -> ConntrackTable:
    return ConntrackTable(64)


def hear(
    table: ConntrackTable,
    before: Packet,
    after: Packet,
    netns: int = HOST,
    flags: int = 0,
    times: tuple[int, int] = (0, 1),
    is_private: bool = False,
) -> None:
    listening = Listening(netns, *times, is_private)
    assert table.take(message(before, after, flags), listening) == 0


def lose_all(table: ConntrackTable, now_ns: int, netns: int = HOST) -> None:
    """Say that a dump showed nothing."""
    table.begin_dumps()
    table.end_dumps(netns, now_ns)


def ask(
    table: ConntrackTable,
    packet: Packet,
    role: int,
    netns: int = POD,
    time_ns: int = 100,
    cookie: int = 0,
    is_closing: bool = False,
) -> tuple[int, Told]:
    """Ask about the socket at the packet's source, or its destination if a server.

    Sockets with a cookie began at 1000 or later, if not asked about before. RETRIED is
    one that sent its first packet twice.
    """
    ends = [packet.source.split(), packet.dest.split()]
    if role == Role.SERVER:
        ends.reverse()
    (local, local_port), (remote, remote_port) = ends
    translations, outcomes = table.resolve(
        Sockets(
            local=np.array([address_bytes(local)], np.uint8),
            remote=np.array([address_bytes(remote)], np.uint8),
            local_ports=np.array([local_port], np.uint16),
            remote_ports=np.array([remote_port], np.uint16),
            netns=np.array([netns], np.uint32),
            from_ns=np.array([time_ns], np.uint64),
            until_ns=np.array([time_ns], np.uint64),
            fresh_ns=np.array([1000 if cookie else NOT_FIRST], np.uint64),
            cookies=np.array([cookie], np.uint64),
            roles=np.array([role], np.uint8),
            are_closing=np.array([is_closing]),
            are_retried=np.array([cookie == RETRIED]),
            protocol=packet.protocol,
        ),
        HOST,
    )
    return int(outcomes[0]), texts(translations)[0]


def texts(translations: Translations) -> list[Told]:
    return [
        (
            _text(row["client"]),
            f"{_text(row['service'])} {row['service_port']}",
            _text(row["outer"]),
            f"{_text(row['server'])} {row['server_port']}",
        )
        for row in translations
    ]


def _text(address: np.ndarray) -> str:
    parsed = ipaddress.IPv6Address(bytes(address))
    return str(parsed.ipv4_mapped or parsed)


def test_client_learns_who_serves_it(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE)
    assert ask(table, ASKED, Role.CLIENT) == (Outcome.CLIENT, TRANSLATION)


def test_server_learns_who_asks(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE)
    assert ask(table, MADE, Role.SERVER) == (Outcome.SERVER, TRANSLATION)


def test_ipv6_is_alike(table: ConntrackTable) -> None:
    asked = Packet("fd00::1 40000", "fd96::1 80")
    made = Packet("fd00::1 40000", "fd00::2 8080")
    hear(table, asked, made)
    told = ("fd00::1", "fd96::1 80", "fd00::1", "fd00::2 8080")
    assert ask(table, asked, Role.CLIENT) == (Outcome.CLIENT, told)
    assert ask(table, made, Role.SERVER) == (Outcome.SERVER, told)


def test_connection_that_nobody_translates_is_as_seen(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE)
    hear(table, MADE.reply(), MADE.reply(), OTHER)
    assert ask(table, MADE, Role.CLIENT)[0] == Outcome.AS_SEEN
    assert ask(table, ASKED, Role.SERVER)[0] == Outcome.AS_SEEN
    assert len(table) == 1


def test_protocols_are_kept_apart(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE)
    udp = Packet(ASKED.source, ASKED.dest, UDP)
    assert ask(table, udp, Role.CLIENT)[0] == Outcome.AS_SEEN


def test_several_namespaces_are_followed_both_ways(table: ConntrackTable) -> None:
    between = Packet(f"{CLIENT} 40000", "10.97.0.1 81")
    hear(table, ASKED, between, POD)
    hear(table, between, MADE, HOST)
    assert ask(table, ASKED, Role.CLIENT, POD) == (Outcome.CLIENT, TRANSLATION)
    assert ask(table, MADE, Role.SERVER, OTHER) == (Outcome.SERVER, TRANSLATION)


def test_four_namespaces_are_followed_and_no_fifth(table: ConntrackTable) -> None:
    places = [POD, OTHER, THIRD, 40, 50]
    packets = [Packet(f"{CLIENT} 40000", f"10.97.0.{n} 80") for n in range(6)]
    for netns, before, after in zip(places, packets[:-1], packets[1:], strict=True):
        hear(table, before, after, netns)
    _, told = ask(table, packets[0], Role.CLIENT)
    assert told[3] == "10.97.0.4 80"


def test_own_namespace_comes_before_the_hosts_and_that_before_others(
    table: ConntrackTable,
) -> None:
    for number, netns in enumerate((OTHER, HOST, POD), 1):
        after = Packet(ASKED.source, f"10.0.0.{number} 8080")
        hear(table, ASKED, after, netns)
        _, told = ask(table, ASKED, Role.CLIENT)
        assert told[3] == f"10.0.0.{number} 8080"


def test_others_that_disagree_are_believed_neither(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, OTHER)
    hear(table, ASKED, Packet(ASKED.source, "10.0.0.3 8080"), THIRD)
    assert ask(table, ASKED, Role.CLIENT)[0] == Outcome.AMBIGUOUS


def test_others_that_agree_are_believed(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, OTHER)
    hear(table, ASKED, MADE, THIRD)
    assert ask(table, ASKED, Role.CLIENT) == (Outcome.CLIENT, TRANSLATION)


def test_port_used_again_is_attributed_by_time(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, times=(0, 10))
    lose_all(table, 60)
    again = Packet(MADE.source, "10.0.0.3 8080")
    hear(table, ASKED, again, times=(70, 80))
    servers = {
        time_ns: ask(table, ASKED, Role.CLIENT, time_ns=time_ns)[1][3]
        for time_ns in (5, 60, 70, 1000)
    }
    assert servers == {
        5: "10.0.0.2 8080",
        60: "10.0.0.2 8080",
        70: "10.0.0.3 8080",
        1000: "10.0.0.3 8080",
    }


def test_next_owner_of_a_port_is_not_taken_for_the_last_one(
    table: ConntrackTable,
) -> None:
    hear(table, ASKED, MADE, times=(0, 10))
    lose_all(table, 60)
    assert ask(table, MADE, Role.SERVER, time_ns=61)[0] == Outcome.AS_SEEN


def test_socket_keeps_its_translation_when_the_entry_ends_first(
    table: ConntrackTable,
) -> None:
    hear(table, ASKED, MADE)
    ask(table, ASKED, Role.CLIENT, cookie=7)
    lose_all(table, 200)
    for cookie, outcome in ((7, Outcome.CLIENT), (8, Outcome.AS_SEEN)):
        assert ask(table, ASKED, Role.CLIENT, time_ns=900, cookie=cookie)[0] == outcome


@pytest.mark.parametrize("packet", [ASKED, MADE])
def test_udp_is_known_before_and_after_its_own_rules(
    table: ConntrackTable, packet: Packet
) -> None:
    before, after = (
        Packet(ASKED.source, ASKED.dest, UDP),
        Packet(MADE.source, MADE.dest, UDP),
    )
    hear(table, before, after, POD)
    seen = Packet(packet.source, packet.dest, UDP)
    assert ask(table, seen, Role.CLIENT, POD) == (Outcome.CLIENT, TRANSLATION)
    assert ask(table, seen, Role.SERVER, POD) == (Outcome.SERVER, TRANSLATION)


def test_udp_of_another_namespace_is_what_it_says(table: ConntrackTable) -> None:
    udp = [Packet(p.source, p.dest, UDP) for p in (ASKED, MADE)]
    hear(table, *udp, HOST)
    assert ask(table, udp[1], Role.CLIENT, POD)[0] == Outcome.AS_SEEN


def test_unknown_role_is_told_by_the_translation(table: ConntrackTable) -> None:
    udp = [Packet(p.source, p.dest, UDP) for p in (ASKED, MADE)]
    hear(table, *udp, HOST)
    assert ask(table, udp[0], Role.UNKNOWN)[0] == Outcome.CLIENT
    assert ask(table, udp[1].reply(), Role.UNKNOWN)[0] == Outcome.SERVER


def test_other_end_may_close_later_and_the_next_owner_much_later(
    table: ConntrackTable,
) -> None:
    hear(table, ASKED, MADE)
    closed_ns, minute_ns = 1000, 60 * 10**9
    ask(table, ASKED, Role.CLIENT, time_ns=closed_ns, cookie=7, is_closing=True)
    for time_ns, outcome in (
        (closed_ns + minute_ns, Outcome.SERVER),
        (closed_ns + minute_ns + 1, Outcome.AS_SEEN),
    ):
        assert ask(table, MADE, Role.SERVER, time_ns=time_ns)[0] == outcome


@pytest.mark.parametrize(
    ("flags", "outcome"), [(0, Outcome.SERVER), (IN_DUMP, Outcome.AS_SEEN)]
)
def test_closed_connection_begins_again_by_an_event_and_not_by_a_dump(
    table: ConntrackTable, flags: int, outcome: int
) -> None:
    hear(table, ASKED, MADE)
    ask(table, ASKED, Role.CLIENT, time_ns=1000, is_closing=True)
    hear(table, ASKED, MADE, flags=flags, times=(2000, 3000))
    assert len(table) == 1
    assert ask(table, MADE, Role.SERVER, time_ns=100 * 10**9)[0] == outcome


def reuse(table: ConntrackTable, servers: str, netns: int = HOST) -> None:
    """Hear of connections from one port, after another, to servers by their digits."""
    for digit in servers:
        hear(table, ASKED, to_server(digit), netns, times=(1000, 2000))


def to_server(digit: str) -> Packet:
    return Packet(ASKED.source, f"10.0.0.{digit} 8080")


def ask_each(table: ConntrackTable, count: int, **question: int) -> str:
    """Ask about sockets that came one after the other; return the servers' digits."""
    answers = [
        ask(table, ASKED, Role.CLIENT, time_ns=1500, cookie=77 + number, **question)
        for number in range(count)
    ]
    return "".join(told[3].removesuffix(" 8080")[-1] for _, told in answers)


@pytest.mark.parametrize("servers", ["2", "23", "232", "2223", "2332", "333322"])
def test_port_that_is_used_again_at_once_has_the_servers_in_their_order(
    table: ConntrackTable, servers: str
) -> None:
    reuse(table, servers)
    assert ask_each(table, len(servers)) == servers


def test_socket_that_was_asked_about_keeps_its_server(table: ConntrackTable) -> None:
    reuse(table, "2")
    assert ask_each(table, 1) == "2"
    hear(table, ASKED, to_server("3"), times=(1000, 3000))
    assert ask_each(table, 2) == "23"


def test_connections_from_before_are_not_those_of_new_sockets(
    table: ConntrackTable,
) -> None:
    hear(table, ASKED, to_server("4"), times=(0, 900))
    reuse(table, "23")
    assert ask_each(table, 2) == "23"


def test_dump_and_event_of_one_connection_are_one_use(table: ConntrackTable) -> None:
    hear(table, ASKED, to_server("2"), flags=IN_DUMP, times=(1000, 1100))
    reuse(table, "23")
    assert ask_each(table, 2) == "23"


def test_closing_does_not_end_the_connection_that_follows(
    table: ConntrackTable,
) -> None:
    reuse(table, "22")
    assert ask(
        table, ASKED, Role.CLIENT, time_ns=1500, cookie=77, is_closing=True
    ) == ask(table, ASKED, Role.CLIENT, time_ns=100 * 10**9, cookie=78)


def retry(table: ConntrackTable, *, is_closing: bool) -> tuple[int, Told]:
    return ask(
        *(table, ASKED, Role.CLIENT),
        time_ns=1500,
        cookie=RETRIED,
        is_closing=is_closing,
    )


def test_open_socket_that_tried_twice_has_its_last_try(table: ConntrackTable) -> None:
    reuse(table, "23")
    assert retry(table, is_closing=False)[1][3] == "10.0.0.3 8080"
    hear(table, ASKED, to_server("4"), times=(1000, 2000))
    assert ask_each(table, 1) == "4"


def test_closed_socket_that_tried_twice_leaves_the_next_one_uncertain(
    table: ConntrackTable,
) -> None:
    reuse(table, "223")
    assert retry(table, is_closing=True)[0] == Outcome.AMBIGUOUS
    again = ask(table, ASKED, Role.CLIENT, time_ns=1500, cookie=78)
    assert again[0] == Outcome.AMBIGUOUS
    hear(table, ASKED, to_server("4"), times=(2000, 3000))
    later = ask(table, ASKED, Role.CLIENT, time_ns=3500, cookie=79)
    assert later[1][3] == "10.0.0.4 8080"


def test_where_all_tries_have_one_server_it_is_certain(table: ConntrackTable) -> None:
    reuse(table, "22")
    assert retry(table, is_closing=True)[1][3] == "10.0.0.2 8080"


def test_full_table_forgets_and_counts_live_ones(table: ConntrackTable) -> None:
    for port in range(100):
        asked = Packet(f"{CLIENT} {port + 1}", f"{VIP} 80")
        hear(table, asked, Packet(asked.source, f"{SERVER} 8080"))
    assert len(table) == 64
    assert table.evicted == 36


def test_full_table_forgets_first_what_has_ended(table: ConntrackTable) -> None:
    packets = [Packet(f"{CLIENT} {port}", f"{VIP} 80") for port in range(1, 129)]
    for packet in packets[:64]:
        hear(table, packet, Packet(packet.source, f"{SERVER} 8080"))
    lose_all(table, 10)
    for packet in packets[64:]:
        hear(table, packet, Packet(packet.source, f"{SERVER} 8080"))
    assert table.evicted == 0
    assert all(
        ask(table, packet, Role.CLIENT)[0] == Outcome.CLIENT for packet in packets[64:]
    )


def test_dump_ends_what_it_does_not_show(table: ConntrackTable) -> None:
    gone = Packet(f"{CLIENT} 40001", f"{VIP} 80")
    hear(table, ASKED, MADE)
    hear(table, gone, Packet(gone.source, f"{SERVER} 8080"))
    hear(table, gone, Packet(gone.source, f"{SERVER} 8080"), OTHER)
    table.begin_dumps()
    hear(table, ASKED, MADE, times=(0, 500))
    assert table.take(end_of_dump(), Listening(HOST, 0, 500)) == 1
    table.end_dumps(HOST, 500)
    assert (table.count_live(HOST), table.count_live(OTHER)) == (1, 1)
    table.forget_ended(501)
    assert len(table) == 2


def test_what_is_told_is_distinct_whole_and_told_once(table: ConntrackTable) -> None:
    between = Packet(f"{CLIENT} 40000", "10.97.0.1 81")
    hear(table, ASKED, between, POD)
    hear(table, between, MADE, HOST)
    for port in (50000, 50001):
        asked = Packet(f"{CLIENT} {port}", f"{VIP} 80")
        hear(table, asked, Packet(f"{OUTER} {port}", f"{SERVER} 8080"), HOST)
    assert texts(table.tell(HOST, 10, every=False)) == [TRANSLATION]
    assert table.tell(HOST, 10, every=False).size == 0
    assert texts(table.tell(HOST, 10, every=True)) == [TRANSLATION]


def test_what_began_just_now_is_told_later(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, times=(50, 60))
    assert table.tell(HOST, 49, every=False).size == 0
    assert texts(table.tell(HOST, 50, every=False)) == [TRANSLATION]


def test_private_namespace_helps_and_is_not_told(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, HOST, is_private=True)
    assert table.tell(HOST, 10, every=False).size == 0
    assert ask(table, ASKED, Role.CLIENT)[0] == Outcome.CLIENT


def test_namespace_that_is_wanted_later_is_told_later(table: ConntrackTable) -> None:
    hear(table, ASKED, MADE, OTHER, is_private=True)
    hear(table, ASKED, MADE, OTHER, flags=IN_DUMP)
    assert texts(table.tell(HOST, 10, every=False)) == [TRANSLATION]


def test_what_a_wanted_namespace_says_counts_more_than_others(
    table: ConntrackTable,
) -> None:
    hear(table, ASKED, Packet(ASKED.source, "10.0.0.3 8080"), OTHER, is_private=True)
    hear(table, ASKED, MADE, THIRD)
    assert ask(table, ASKED, Role.CLIENT) == (Outcome.CLIENT, TRANSLATION)


def test_full_table_forgets_first_what_nobody_wants(table: ConntrackTable) -> None:
    packets = [Packet(f"{CLIENT} {port}", f"{VIP} 80") for port in range(1, 129)]
    for packet in packets:
        made = Packet(packet.source, f"{SERVER} 8080")
        hear(table, packet, made, OTHER, is_private=packet not in packets[:32])
    assert table.evicted == 64
    assert all(
        ask(table, packet, Role.CLIENT)[0] == Outcome.CLIENT for packet in packets[:32]
    )


def test_id_is_positive_and_the_same_in_every_table(table: ConntrackTable) -> None:
    ids = set()
    for other in (table, ConntrackTable(64)):
        hear(other, ASKED, MADE)
        ids.add(int(other.tell(HOST, 10, every=True)["translation_id"][0]))
    assert len(ids) == 1
    assert min(ids) > 0


def test_other_protocols_are_left_out(table: ConntrackTable) -> None:
    hear(table, Packet("1.1.1.1 1", "2.2.2.2 2", 132), Packet("1.1.1.1 1", "3.3.3.3 3"))
    assert len(table) == 0


@given(st.binary(max_size=300))
@example(b"\x10\0\0\0" + bytes(12))
@example(bytes(16))
def test_random_bytes_do_no_harm(data: bytes) -> None:
    table = ConntrackTable(16)
    assert table.take(data, Listening(HOST, 0, 1)) <= 1


@given(
    st.integers(0, 200),
    st.integers(0, 255),
    st.sampled_from([ASKED, Packet("fd00::1 1", "fd00::2 2")]),
)
def test_broken_messages_do_no_harm(place: int, value: int, packet: Packet) -> None:
    table = ConntrackTable(16)
    data = bytearray(message(packet, Packet("9.9.9.9 9", "8.8.8.8 8", TCP)))
    data[place % len(data)] = value
    table.take(bytes(data), Listening(HOST, 0, 1))
    table.take(bytes(data[: place % len(data)]), Listening(HOST, 0, 1))
    assert len(table) <= 2


def test_many_connections_are_found_again() -> None:
    table = ConntrackTable(1 << 13)
    packets = [
        Packet(f"10.1.{n % 7}.{n % 250} {n + 1}", f"{VIP} 80") for n in range(5000)
    ]
    for n, packet in enumerate(packets):
        hear(table, packet, Packet(packet.source, f"10.2.0.{n % 250} 8080"))
    for n in range(0, 5000, 499):
        _, told = ask(table, packets[n], Role.CLIENT)
        assert told[3] == f"10.2.0.{n % 250} 8080"
