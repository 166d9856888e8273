from ebpf_net.testing.windows import make_level
from ebpf_net.ui import directions
from ebpf_net.ui.directions import Directions
from ebpf_net.ui.pairs import join_directions

A, B, C = ({"process.name": name, "ip": f"10.0.0.{name}"} for name in "abc")


def left_of(remembered, nodes, edges):
    pairs = remembered.apply(join_directions([make_level(nodes, edges)]))
    names = pairs.nodes["process.name"].to_pylist()
    return [names[row] for row in pairs.left]


def test_a_client_stays_left_after_its_connects():
    remembered = Directions()
    connect = [{"source": 0, "dest": 1, "connect_count": 1}]
    assert left_of(remembered, [B, A], connect) == ["b"]
    later = [{"source": 0, "dest": 1, "bytes": 5}, {"source": 1, "dest": 0, "bytes": 9}]
    assert left_of(remembered, [A, B], later) == ["b"]
    assert left_of(remembered, [C, B, A], [{"source": 2, "dest": 1}]) == ["b"]


def test_other_pairs_and_protocols_are_not_touched():
    remembered = Directions()
    left_of(remembered, [B, A], [{"source": 0, "dest": 1, "connect_count": 1}])
    assert left_of(remembered, [B, C], [{"source": 1, "dest": 0}]) == ["b"]
    assert left_of(remembered, [A, B], [{"source": 1, "dest": 0, "protocol": 17}]) == [
        "a"
    ]


def test_the_newest_connect_decides():
    remembered = Directions()
    left_of(remembered, [A, B], [{"source": 0, "dest": 1, "connect_count": 1}])
    left_of(remembered, [A, B], [{"source": 1, "dest": 0, "connect_count": 1}])
    assert left_of(remembered, [A, B], [{"source": 0, "dest": 1}]) == ["b"]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(directions, "_MAX_PAIRS", 1)
    remembered = Directions()
    left_of(remembered, [B, A], [{"source": 0, "dest": 1, "connect_count": 1}])
    left_of(remembered, [C, A], [{"source": 0, "dest": 1, "connect_count": 1}])
    assert left_of(remembered, [A, C], [{"source": 0, "dest": 1}]) == ["c"]
    assert left_of(remembered, [A, B], [{"source": 0, "dest": 1}]) == ["a"]


def test_an_empty_window_changes_nothing():
    assert left_of(Directions(), [], []) == []
