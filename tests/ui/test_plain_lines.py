# ruff: noqa: E501 - lines as they are
import os
import threading

from ebpf_net.schema import InternalPoint
from ebpf_net.testing.windows import make_large_level, make_level, make_window
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.plain_lines import HEADER, PlainLines, format_lines
from ebpf_net.ui.snapshot import take_snapshot

LINES = """\
2023-11-14T22:13:30Z    10 tcp          120000       98765432        1500       70000      400         60       3     100      12      0 shop-load (wrk) devbox 172.17.0.3 -> shop-web (nginx) devbox 172.17.0.2
2023-11-14T22:13:30Z    10 tcp            9000          90000          15          25      100         11       0       1       4      0 shop-web (nginx) devbox 172.17.0.2 -> postgres devbox 127.0.0.1
2023-11-14T22:13:30Z    10 udp              80            800           2           2        0          0       0       0       1      0 \\x1b[31mevil devbox 127.0.0.1 -> DNS 192.0.2.53
2023-11-14T22:13:30Z    10 tcp               0              0           6           0        0          0       0       0       0      3 \\x1b[31mevil devbox 127.0.0.1 -> 203.0.113.9
"""


def counts(success, failed, dropped):
    return [
        InternalPoint(
            "ebpf_net.export.windows", value, (("exporter", "plain"), ("result", name))
        )
        for name, value in (
            ("success", success),
            ("failed", failed),
            ("dropped", dropped),
        )
    ]


def test_one_line_for_each_pair(snapshot):
    assert format_lines(snapshot) == LINES


def test_header_names_the_columns():
    assert HEADER == (
        "#end                  secs prot      bytes_out       bytes_in packets_out"
        "  packets_in   rtt_us rtt_min_us retrans     new  active failed who -> whom"
    )


def test_a_window_without_traffic_has_no_lines():
    snapshot = take_snapshot([make_window({"id_id": make_level([], [])})], Directions())
    assert format_lines(snapshot) == ""


def test_columns_are_stable_however_large_the_window(snapshot):
    level = make_large_level(100, 2_000)
    lines = format_lines(
        take_snapshot([make_window({"id_id": level})], Directions())
    ).splitlines()
    assert {line.index(" main-") for line in lines} == {LINES.index(" shop-load")}
    assert sum(int(line.split()[3]) + int(line.split()[4]) for line in lines) == (
        level.edges["bytes"].to_numpy().sum()
    )


def test_windows_are_written_and_told(tmp_path, window):
    told = []
    with (tmp_path / "lines").open("w") as output:
        lines = PlainLines(lambda: None, output)
        lines.start()
        lines.export(window, told.append)
        lines.export(window, told.append)
        lines.export_internal([], 0)
        lines.close(10)
    assert told == [True, True]
    assert (tmp_path / "lines").read_text() == HEADER + "\n" + LINES + LINES
    assert lines.metrics() == counts(2.0, 0.0, 0.0)


def test_a_window_that_cannot_be_written_does_not_end_the_lines(
    tmp_path, window, caplog
):
    told = []
    broken = make_window({"id_id": make_level([], [{"dest": 7}])})
    with (tmp_path / "lines").open("w") as output:
        lines = PlainLines(lambda: None, output)
        lines.start()
        lines.export(broken, told.append)
        lines.export(window, told.append)
        lines.close(10)
    assert told == [False, True]
    assert (tmp_path / "lines").read_text() == HEADER + "\n" + LINES
    assert lines.metrics() == counts(1.0, 1.0, 0.0)
    assert caplog.messages == ["a window cannot be written as lines"]


def test_what_the_locale_cannot_write_is_escaped(tmp_path):
    nodes = [{"process.name": "größe", "ip": "1.1.1.1"}, {"ip": "2.2.2.2"}]
    level = make_level(nodes, [{"source": 0, "dest": 1}])
    with (tmp_path / "lines").open("w", encoding="ascii") as output:
        lines = PlainLines(lambda: None, output)
        lines.start()
        lines.export(make_window({"id_id": level}), lambda delivered: None)
        lines.close(10)
    text = (tmp_path / "lines").read_text("ascii")
    assert text.endswith(" gr\\xf6\\xdfe 1.1.1.1 -> 2.2.2.2\n")


def test_when_nobody_reads_any_more_it_quits(window):
    read, write = os.pipe()
    os.close(read)
    quit_asked, told = threading.Event(), []
    with os.fdopen(write, "w", buffering=1 << 20) as output:
        lines = PlainLines(quit_asked.set, output)
        lines.start()
        lines.export(window, told.append)
        lines.export(window, told.append)
        lines.close(10)
    assert quit_asked.is_set()
    assert told == [False, False]
    assert lines.metrics() == counts(0.0, 2.0, 0.0)


def test_windows_for_which_there_is_no_room_are_given_up(window):
    told = []
    lines = PlainLines(lambda: None)
    for _ in range(20):
        lines.export(window, told.append)
    assert told == [False] * 4
    assert lines.metrics() == counts(0.0, 0.0, 4.0)


def test_closing_does_not_wait_for_a_stuck_reader(window):
    read, write = os.pipe()
    output = os.fdopen(write, "w")
    lines = PlainLines(lambda: None, output)
    lines.start()
    big = make_window({"id_id": make_large_level(100, 2_000)})
    lines.export(big, lambda delivered: None)
    lines.close(0.05)
    os.close(read)
    lines._thread.join(10)
    output.close()


def test_what_was_never_started_can_be_closed():
    PlainLines(lambda: None).close(10)
