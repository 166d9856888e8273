# ruff: noqa: E501 - screens as they are
import io
from dataclasses import replace

import pytest
from rich.console import Console, Group

from ebpf_net.testing.windows import make_large_level, make_level, make_window
from ebpf_net.ui.columns import COLUMNS
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.health import Health
from ebpf_net.ui.snapshot import take_snapshot
from ebpf_net.ui.table_view import Screen, draw, draw_once
from ebpf_net.ui.view_state import ViewState

HEALTHY = Health(1, (), 0, ())
KEYS = "b bytes p packets r rtt t retrans n new a active f fails / find ? help q quit"

pytestmark = pytest.mark.usefixtures("utc")


def text_of(lines, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(Group(*lines))
    return console.export_text()


def screen_of(snapshot, width, height=9, **state):
    return Screen(snapshot, HEALTHY, ViewState(**state), width, height)


def drawn(screen):
    return text_of(draw(screen), screen.width).splitlines()


def test_eighty_columns(snapshot):
    assert drawn(screen_of(snapshot, 80)) == [
        "ebpf-net  22:13:30  9.90MB/s  7.16k pkt/s  4 pairs  101 new  17 active  3 failed",
        "collectors: 1  lost: 0  by bytes",
        "who               whom                   out/s  in/s pkt/s    rtt retr  new  act",
        "shop-load …17.0.3 shop-web …2.17.0.2 TCP 12.0k 9.88M 7.15k  400µs    3  100   12",
        "shop-web ….17.0.2 postgres 127.0.0.1 TCP   900 9.00k     4  100µs    0    1    4",
        "\\x1b[31me… …0.0.1 DNS 192.0.2.53     UDP     8    80   0.4      -    0    0    1",
        "\\x1b[31me… …0.0.1 203.0.113.9        TCP     0     0   0.6      -    0    0    0",
        "",
        KEYS,
    ]  # fmt: skip


def test_a_hundred_and_twenty_columns(snapshot):
    assert drawn(screen_of(snapshot, 120))[2:7] == [
        "who                         whom                             out/s   in/s  pkt/s     rtt     min  retr   new   act  fail",
        "shop-load (wrk) 172.17.0.3  shop-web 172.17.0.2         TCP  12.0k  9.88M  7.15k   400µs    60µs     3   100    12     0",
        "shop-web 172.17.0.2         postgres 127.0.0.1          TCP    900  9.00k      4   100µs    11µs     0     1     4     0",
        "\\x1b[31mevil 127.0.0.1      DNS 192.0.2.53              UDP      8     80    0.4       -       -     0     0     1     0",
        "\\x1b[31mevil 127.0.0.1      203.0.113.9                 TCP      0      0    0.6       -       -     0     0     0     3",
    ]


def test_a_hundred_and_sixty_columns(snapshot):
    assert drawn(screen_of(snapshot, 160))[2:4] == [
        "who                                   whom                                       out/s   in/s  pkt/s     rtt     min  retr   rst  synt   new   act  fail    conn",
        "shop-load (wrk) 172.17.0.3            shop-web (nginx) 172.17.0.2           TCP  12.0k  9.88M  7.15k   400µs    60µs     3     0     0   100    12     0    90µs",
    ]


def test_an_order_brings_its_column(snapshot):
    lines = drawn(screen_of(snapshot, 80, order="failures"))
    assert lines[1:4] == [
        "collectors: 1  lost: 0  by failures",
        "who                whom                   out/s  in/s    rtt retr  new  act fail",
        "\\x1b[31me… ….0.0.1 203.0.113.9        TCP     0     0      -    0    0    0    3",
    ]  # fmt: skip


def test_rows_beyond_the_height_are_told_with_their_share(snapshot):
    lines = drawn(screen_of(snapshot, 80, height=7))
    assert lines[3].startswith("shop-load")
    assert lines[4:] == ["shop-web ….17.0.2 postgres 127.0.0.1 TCP   900 9.00k     4  100µs    0    1    4",
        "… and 2 more (<0.1 % of bytes)", KEYS]  # fmt: skip
    lines = drawn(screen_of(snapshot, 80, height=6, order="failures"))
    assert lines[4] == "… and 3 more (100 % of bytes)"


def test_a_filter_leaves_the_rows_that_match(snapshot):
    lines = drawn(screen_of(snapshot, 80, filter="udp"))
    assert lines[1] == "collectors: 1  lost: 0  by bytes  find: udp"
    assert lines[3].startswith("\\x1b[31me… …0.0.1 DNS 192.0.2.53")
    assert lines[4] == ""
    lines = drawn(screen_of(snapshot, 80, filter="nobody", is_typing=True))
    assert lines[1] == "collectors: 1  lost: 0  by bytes  find: nobody▏"
    assert lines[3] == "no pair matches in this window"


def test_losses_are_told_by_reason(snapshot):
    health = Health(0, (("clock", 2), ("ring_full", 7)), 5, ("udp_drops",))
    screen = replace(screen_of(snapshot, 100, is_paused=True), health=health)
    assert drawn(screen)[1] == (
        "collectors: 0  lost: 9  by bytes  PAUSED  (clock 2, ring_full 7)  late: 5"
        "  missing: udp_drops"
    )


def test_before_the_first_window():
    screen = Screen(None, None, ViewState(), 80, 5)
    assert drawn(screen) == [
        "ebpf-net", "by bytes", "waiting for the first window …", "", KEYS,
    ]  # fmt: skip


def test_a_window_without_traffic():
    snapshot = take_snapshot([make_window({"id_id": make_level([], [])})], Directions())
    assert drawn(screen_of(snapshot, 80))[3] == "no traffic in this window"


def test_help_has_every_key_and_column(snapshot):
    text = "\n".join(drawn(screen_of(snapshot, 80, 40, shows_help=True)))
    for words in ("f      sort by failures", "/      find:", "conn   mean time"):
        assert words in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 33)])
def test_help_is_whole_on_a_usual_terminal(snapshot, width, height):
    lines = drawn(screen_of(snapshot, width, height, shows_help=True))
    text = "\n".join(lines)
    for column in COLUMNS:
        assert f"  {column.title:<6} {column.help}" in text
    for words in ("f      sort by failures", "/      find:", "?      this page"):
        assert words in text
    assert "more lines" not in text
    assert "…" not in "".join(lines[2:]) or width < 80


def test_help_without_room_says_so(snapshot):
    lines = drawn(screen_of(snapshot, 80, 12, shows_help=True))
    assert lines[-2] == "… and 10 more lines, where there is room"
    assert lines[-1] == KEYS


def test_all_totals_fit_eighty_columns():
    edge = {"source": 0, "dest": 1, "opened": 2_000_000, "open": 9_999}
    edge |= {"bytes": 123_456_789_000, "packets": 987_654_321}
    edge["connect_failures"] = 8_888
    level = make_level([{"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}], [edge])
    snapshot = take_snapshot([make_window({"id_id": level})], Directions())
    assert drawn(screen_of(snapshot, 80))[0] == (
        "22:13:30  12.3GB/s  98.8M pkt/s  1 pairs  2.0M new  9999 active  8888 failed"
    )


def test_hosts_are_named_where_there_are_several():
    nodes = [
        {"process.name": "a", "id": "h1", "ip": "10.0.0.1"},
        {"process.name": "b", "id": "h2", "ip": "10.0.0.2"},
    ]
    level = make_level(nodes, [{"source": 0, "dest": 1, "bytes": 1}])
    snapshot = take_snapshot([make_window({"id_id": level})], Directions())
    assert drawn(screen_of(snapshot, 80))[3].startswith(
        "a h1 10.0.0.1     b h2 10.0.0.2"
    )
    assert drawn(screen_of(snapshot, 60))[3].startswith("a h1         b h2 10.0.0.2 ")


@pytest.mark.parametrize("width", [1, 7, 33, 80, 199])
@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 24])
def test_no_line_is_wider_than_the_terminal(snapshot, width, height):
    for state in (ViewState(), ViewState(shows_help=True)):
        screen = Screen(snapshot, HEALTHY, state, width, height)
        lines = draw(screen)
        assert len(lines) == height
        assert max(line.cell_len for line in lines) <= width


def test_no_byte_of_a_name_reaches_the_terminal_as_control(snapshot):
    lines = draw(screen_of(snapshot, 160))
    assert all(line.plain.isprintable() for line in lines)


def test_colours_only_mark_what_is_bad(snapshot):
    lines = draw(screen_of(snapshot, 120))
    bad = [line.plain[span.start : span.end].strip() for line in lines
           for span in line.spans if "red" in str(span.style)]  # fmt: skip
    assert bad == ["3", "3"]


def test_what_stays_after_the_end_has_no_keys(snapshot):
    lines = [line.plain for line in draw_once(screen_of(snapshot, 80, height=30))]
    assert len(lines) == 7
    assert KEYS not in lines


def test_a_large_window_shows_its_first_rows():
    level = make_large_level(1_000, 20_000)
    snapshot = take_snapshot([make_window({"id_id": level})], Directions())
    lines = drawn(screen_of(snapshot, 80, height=24))
    assert len(lines) == 24
    assert lines[-2].startswith(f"… and {len(snapshot.pairs) - 19} more (")
