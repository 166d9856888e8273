import numpy as np
import pytest

from ebpf_net.collectors.kernel.conntrack import BEFORE_ALL, NOT_FIRST
from ebpf_net.collectors.kernel.records import (
    TCP_RECORD,
    UDP_KEY,
    UDP_VALUE,
    TcpFlag,
)
from ebpf_net.collectors.kernel.translated_sockets import tcp_sockets, udp_sockets
from ebpf_net.schema import Role

SCANNED_NS = 5_000_000
SYN_SENT, ESTABLISHED = 2, 1


def ask(**values):
    records = np.zeros(1, TCP_RECORD)
    for name, value in values.items():
        records[name] = value
    return tcp_sockets(records, np.array([Role.CLIENT]), SCANNED_NS)


@pytest.mark.parametrize(
    ("record", "fresh_ns"),
    [
        ({"flags": TcpFlag.OPENED, "connect_us": 2000}, SCANNED_NS - 2_000_000),
        ({"flags": TcpFlag.OPENED, "connect_us": 9000}, 0),
        ({"flags": TcpFlag.FAILED, "segments_sent": 1}, SCANNED_NS),
        ({"flags": TcpFlag.FAILED}, NOT_FIRST),  # its port was in use: no SYN
        ({"state": SYN_SENT, "segments_sent": 1}, SCANNED_NS),
        ({"state": ESTABLISHED, "segments_sent": 9}, NOT_FIRST),
        ({"flags": TcpFlag.OPENED | TcpFlag.ADOPTED}, BEFORE_ALL),
    ],
)
def test_a_first_record_says_since_when_its_connection_is_new(record, fresh_ns):
    assert ask(**record).fresh_ns.tolist() == [fresh_ns]


def test_a_client_that_asked_again_may_have_several_entries():
    assert ask(syn_timeouts=1).are_retried.tolist() == [True]
    assert ask().are_retried.tolist() == [False]


def test_what_ended_is_closing():
    assert ask(flags=TcpFlag.CLOSED).are_closing.tolist() == [True]
    assert ask(flags=TcpFlag.OPENED).are_closing.tolist() == [False]


def test_datagrams_are_of_whoever_was_there_since():
    sockets = udp_sockets(np.zeros(2, UDP_KEY), np.zeros(2, UDP_VALUE), 7)
    assert sockets.from_ns.tolist() == [7, 7]
    assert sockets.until_ns.tolist() == [2**64 - 1] * 2
    assert sockets.fresh_ns.tolist() == [NOT_FIRST] * 2
