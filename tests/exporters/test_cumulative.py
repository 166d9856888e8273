import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_net.exporters.cumulative import CumulativeState
from ebpf_net.schema import Protocol, Sample
from ebpf_net.testing.windows import START_NS, WINDOW_NS, make_level, make_window

NAMES = ("checkout", "database", "cache", "mail")


def nodes(*names):
    return [{"workload.name": name} for name in names]


def window(number, node_names, edges, samples=()):
    level = make_level(nodes(*node_names), edges, samples)
    return make_window({"az_az": level}, START_NS + number * WINDOW_NS)


def totals_of(state, level_name="az_az"):
    """Return {(source, dest, protocol): (bytes, packets, start, overflow)}."""
    series = state.totals()[level_name]
    names = series.level.nodes.column("workload.name").to_pylist()
    return {
        (names[edge["source"]], names[edge["dest"]], edge["protocol"]): (
            edge["bytes"],
            edge["packets"],
            (int(start) - START_NS) // WINDOW_NS,
            bool(overflow),
        )
        for edge, start, overflow in zip(
            series.level.edges.to_pylist(),
            series.start_ns,
            series.overflow,
            strict=True,
        )
    }


def samples_of(state):
    series = state.totals()["az_az"]
    names = series.level.nodes.column("workload.name").to_pylist()
    edges = series.level.edges.to_pylist()
    return [
        (
            names[edges[row["edge"]]["source"]],
            row["kind"],
            row["bucket"],
            row["count"],
        )
        for row in series.level.samples.to_pylist()
    ]


def test_values_add_up_though_row_numbers_change():
    state = CumulativeState(100, 10)
    state.add(window(0, ["a", "b"], [{"source": 0, "dest": 1, "bytes": 5}]))
    state.add(
        window(
            1,
            ["b", "x", "a"],
            [
                {"source": 2, "dest": 0, "bytes": 7, "packets": 1},
                {"source": 1, "dest": 0, "bytes": 1},
                {"source": 2, "dest": 0, "bytes": 2, "protocol": 17},
            ],
        )
    )
    assert totals_of(state) == {
        ("a", "b", 6): (12, 1, 0, False),
        ("x", "b", 6): (1, 0, 1, False),
        ("a", "b", 17): (2, 0, 1, False),
    }


def test_samples_add_up():
    state = CumulativeState(100, 10)
    edges = [{"source": 0, "dest": 1}]
    state.add(window(0, "ab", edges, [(0, Sample.RTT, -50, 2)]))
    state.add(window(1, "ab", edges, [(0, Sample.RTT, -50, 3), (0, Sample.RTT, 7, 1)]))
    assert samples_of(state) == [("a", 1, -50, 5), ("a", 1, 7, 1)]


def test_limits_of_a_window_are_not_totals():
    state = CumulativeState(100, 10)
    edge = {"source": 0, "dest": 1, "rtt_min_us": 9, "rtt_max_us": 9}
    state.add(window(0, "ab", [edge]))
    (total,) = state.totals()["az_az"].level.edges.to_pylist()
    assert (total["rtt_min_us"], total["rtt_max_us"]) == (0, 0)


def test_unseen_series_ends_and_starts_anew():
    state = CumulativeState(100, stale_windows=2)
    lasting = {"source": 0, "dest": 1, "bytes": 1}
    first = window(
        0,
        "abc",
        [lasting, {"source": 2, "dest": 1, "bytes": 50}],
        [(0, Sample.RTT, 1, 1), (1, Sample.RTT, 2, 2)],
    )
    state.add(first)
    state.add(window(1, "ab", [lasting]))
    assert ("c", "b", 6) in totals_of(state)
    state.add(window(2, "ab", [lasting]))
    assert totals_of(state) == {("a", "b", 6): (3, 0, 0, False)}
    assert samples_of(state) == [("a", 1, 1, 1)]
    state.add(window(3, "cb", [{"source": 0, "dest": 1, "bytes": 4}]))
    assert totals_of(state)["c", "b", 6] == (4, 0, 3, False)


def test_series_over_the_limit_are_one():
    state = CumulativeState(series_limit=1, stale_windows=10)
    edges = [{"source": source, "dest": 0, "bytes": 10} for source in range(3)]
    state.add(window(0, "abc", edges))
    state.add(window(1, "abc", edges))
    assert totals_of(state) == {
        ("a", "a", 6): (20, 0, 0, False),
        ("", "", 6): (40, 0, 0, True),
    }
    assert state.overflowed == 4
    assert state.series == 2


def test_labels_that_join_alike_are_two_nodes():
    state = CumulativeState(10, 10)
    level = make_level(
        [
            {"workload.name": "a", "workload.uid": "b"},
            {"workload.name": "ab", "workload.uid": ""},
        ],
        [{"source": 0, "dest": 0, "bytes": 1}, {"source": 1, "dest": 1, "bytes": 2}],
    )
    state.add(make_window({"id_id": level}))
    assert state.totals()["id_id"].level.edges.column("bytes").to_pylist() == [1, 2]


def test_missing_level_grows_stale():
    state = CumulativeState(10, stale_windows=1)
    state.add(window(0, "ab", [{"source": 0, "dest": 1}]))
    state.add(make_window({}, START_NS + WINDOW_NS))
    assert state.series == 0


def test_late_windows_make_no_series_stale():
    state = CumulativeState(10, stale_windows=2)
    state.add(window(1, "ab", [{"source": 0, "dest": 1, "bytes": 1}]))
    for _ in range(5):
        state.add(window(0, "ba", [{"source": 0, "dest": 1, "bytes": 1}]))
    assert totals_of(state) == {
        ("a", "b", 6): (1, 0, 1, False),
        ("b", "a", 6): (5, 0, 0, False),
    }


edges = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(Protocol),
        st.integers(0, 1000),
    ),
    unique_by=lambda edge: edge[:3],
    max_size=8,
)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.permutations(NAMES), edges), max_size=6), st.integers(0, 12)
)
def test_sum_is_exact_whatever_the_limit(windows, limit):
    state = CumulativeState(limit, stale_windows=100)
    expected = np.zeros(2, np.int64)
    for number, (names, rows) in enumerate(windows):
        state.add(
            window(
                number,
                names,
                [
                    {
                        "source": source,
                        "dest": dest,
                        "protocol": int(protocol),
                        "bytes": value,
                        "packets": 1,
                    }
                    for source, dest, protocol, value in rows
                ],
            )
        )
        expected += [sum(row[3] for row in rows), len(rows)]
    values = totals_of(state).values() if windows else []
    assert sum(value[0] for value in values) == expected[0]
    assert sum(value[1] for value in values) == expected[1]
    assert state.series <= limit + 2


class Model:
    """The same as CumulativeState without a limit, one edge after another."""

    def __init__(self, stale_windows):
        self.stale_windows = stale_windows
        self.totals = {}
        self.samples = {}
        self.seen = {}

    def add(self, number, names, rows, sample_rows):
        keys = [
            (names[source], names[dest], int(protocol))
            for source, dest, protocol, _ in rows
        ]
        for key, row in zip(keys, rows, strict=True):
            value, packets, start, _ = self.totals.get(key, (0, 0, number, False))
            self.totals[key] = (value + row[3], packets + 1, start, False)
            self.seen[key] = number
        for edge, kind, bucket, count in sample_rows:
            key = (*keys[edge], kind, bucket)
            self.samples[key] = self.samples.get(key, 0) + count
        for key in list(self.totals):
            if self.seen[key] <= number - self.stale_windows:
                del self.totals[key]
        self.samples = {
            key: count for key, count in self.samples.items() if key[:3] in self.totals
        }


def keyed_samples(state):
    series = state.totals()["az_az"]
    names = series.level.nodes.column("workload.name").to_pylist()
    edges = series.level.edges.to_pylist()
    return {
        (
            names[edges[row["edge"]]["source"]],
            names[edges[row["edge"]]["dest"]],
            edges[row["edge"]]["protocol"],
            row["kind"],
            row["bucket"],
        ): row["count"]
        for row in series.level.samples.to_pylist()
    }


@st.composite
def model_windows(draw):
    rows = draw(edges)
    keys = st.tuples(
        st.integers(0, max(len(rows) - 1, 0)), st.integers(1, 4), st.integers(-90, 40)
    )
    chosen = draw(st.sets(keys, max_size=6)) if rows else set()
    samples = [(*key, draw(st.integers(1, 100))) for key in chosen]
    return draw(st.permutations(NAMES)), rows, samples


@settings(deadline=None, max_examples=100)
@given(st.lists(model_windows(), min_size=1, max_size=6), st.integers(1, 3))
def test_totals_equal_those_of_one_edge_after_another(windows, stale_windows):
    state, model = CumulativeState(1000, stale_windows), Model(stale_windows)
    for number, (names, rows, samples) in enumerate(windows):
        columns = [
            {
                "source": source,
                "dest": dest,
                "protocol": int(protocol),
                "bytes": value,
                "packets": 1,
            }
            for source, dest, protocol, value in rows
        ]
        state.add(window(number, names, columns, samples))
        model.add(number, names, rows, samples)
        assert totals_of(state) == model.totals
        assert keyed_samples(state) == model.samples
