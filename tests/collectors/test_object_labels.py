import json

from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.collectors.object_labels import AllowList

LABELS = {"app": "web", "app.kubernetes.io/name": "n", "other": "o"}


def test_nothing_is_told_unless_allowed():
    assert AllowList().to_json(LABELS) == "{}"
    assert AllowList(("x",)).to_json(None) == "{}"


def test_names_and_patterns_are_allowed():
    allowed = AllowList(("app", "app.kubernetes.io/*"))
    assert allowed.to_json(LABELS) == '{"app":"web","app.kubernetes.io/name":"n"}'


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=6000), max_size=30))
def test_what_is_told_fits_into_a_row(labels):
    told = AllowList(("*",)).to_json(labels)
    assert len(told.encode()) <= 32_768
    assert json.loads(told).items() <= labels.items()


def test_a_value_that_is_too_long_pushes_no_other_out():
    labels = {"a": "x" * 5000, "b": "y"}
    assert AllowList(("*",)).to_json(labels) == '{"b":"y"}'
