import pytest

from ebpf_net.schema import Window
from ebpf_net.testing.windows import START_NS, WINDOW_NS
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.snapshot import take_snapshot


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 4),
        ("  ", 4),
        ("SHOP-load", 1),
        ("shop", 2),
        ("shop postgres", 1),
        ("udp", 1),
        ("tcp", 3),
        ("127.0.0.1 !udp", 2),
        ("nginx", 2),
        ("203.0.113.9", 1),
        ("!shop", 2),
        ("!", 0),
        (".*", 0),
        ("\\x1b[31m", 2),
    ],
)
def test_every_word_must_match_one_of_the_ends(snapshot, text, count):
    assert len(snapshot.select("bytes", text)) == count


def test_a_snapshot_has_the_times_and_totals_of_its_window(snapshot):
    assert (snapshot.start_ns, snapshot.seconds) == (START_NS, 10.0)
    assert snapshot.total_bytes == 98_985_312


def test_parts_of_a_window_add_up(window):
    late = Window(window.start_ns, window.start_ns + WINDOW_NS, window.levels)
    snapshot = take_snapshot([window, late], Directions())
    assert snapshot.total_bytes == 2 * 98_985_312
    assert len(snapshot.pairs) == 4
