from ebpf_net.cli.preflight import table
from ebpf_net.collectors.kernel.probes import Signal

SIGNALS = (
    Signal("tcp.state", "tp_btf/inet_sock_set_state", "TCP altogether"),
    Signal("udp.drops", "", "UDP drops", "EPERM", "give it CAP_PERFMON"),
)


def test_missing_signal_says_what_is_lost_and_what_to_do():
    assert table(SIGNALS, 80, colour=False).splitlines() == [
        "signal     state    how",
        "tcp.state  ok       tp_btf/inet_sock_set_state",
        "udp.drops  missing  EPERM",
        "                    lost: UDP drops",
        "                    hint: give it CAP_PERFMON",
    ]


def test_colours_only_where_asked():
    assert "\x1b[" not in table(SIGNALS, 80, colour=False)
    assert "\x1b[32mok     \x1b[0m" in table(SIGNALS, 80, colour=True)
