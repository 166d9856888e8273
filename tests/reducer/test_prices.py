import re
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.reducer.prices import parse_prices
from ebpf_net.schema import COST_PARTS, ZoneRelation

HEAD = "currency: USD\nunit: GB\n"
EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "prices"


def test_rules_are_read_in_order():
    prices = parse_prices(
        HEAD + "egress:\n"
        "  - relation: [cross_zone, cross_region]\n"
        "    source: {region: us-*, provider: [aws, gcp]}\n"
        "    price: 0.01\n"
        "  - price: 0\n"
        "ingress:\n"
        "  - {dest: {network: office}, price: 0.0125}\n"
    )
    first, second = prices.egress
    assert prices.currency == "USD"
    assert first.relations == {ZoneRelation.CROSS_ZONE, ZoneRelation.CROSS_REGION}
    assert first.source == {"region": ("us-*",), "provider": ("aws", "gcp")}
    assert first.dest == {}
    assert first.parts_per_byte == 10
    assert (second.relations, second.parts_per_byte) == (frozenset(), 0)
    assert prices.ingress[0].parts_per_byte == Fraction(25, 2)


@pytest.mark.parametrize(("unit", "size"), [("GB", 10**9), ("GiB", 2**30)])
def test_price_is_of_the_unit_of_the_file(unit, size):
    text = f"currency: EUR\nunit: {unit}\negress: [{{price: 0.07}}]\n"
    (rule,) = parse_prices(text).egress
    assert rule.parts_per_byte * size == Fraction(7, 100) * COST_PARTS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("[1, 2]", "line 1: expected names and values, of currency, unit,"),
        ("unit: GB", "has no currency"),
        ("currency: USD", "has no unit"),
        ("currency: 7\nunit: GB", "line 1: '7' is no currency, such as USD"),
        ("currency: USD\nunit: TB", "line 2: 'TB' is none of GB, GiB"),
        (HEAD + "egres: []", "line 3: 'egres' is none of currency, unit, egress, ing"),
        (HEAD + "egress: {}", "line 3: expected a list of rules"),
        (HEAD + "egress:\n - relation: internet", "line 4: the rule has no price"),
        (HEAD + "egress:\n - price: cheap", "line 4: 'cheap' is no price"),
        (HEAD + "egress:\n - price: NaN", "line 4: the price NaN is not between"),
        (HEAD + "egress:\n - price: -1", "line 4: the price -1 is not between"),
        (HEAD + "egress:\n - price: 101", "line 4: the price 101 is not between"),
        (HEAD + "egress:\n - price: 0.0000001", "has more than 6 decimals"),
        (HEAD + "egress:\n - price: [1]", "line 4: expected one value"),
        (HEAD + "egress:\n - {price: 1, price: 2}", "line 4: price is there twice"),
        (
            HEAD + "egress:\n - price: 1\n   relation: near",
            "line 5: 'near' is none of same_zone, cross_zone, cross_region, internet, ",
        ),
        (HEAD + "egress:\n - {price: 1, relation: []}", "line 4: the list is empty"),
        (
            HEAD + "egress:\n - {price: 1, source: {town: x}}",
            "line 4: 'town' is none of provider, account, region, zone, vpc, network",
        ),
        (HEAD + "egress: [", "line 3: expected the node content"),
        (HEAD + "egress: !!python/object x", "line 3: expected a list of rules"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("\x00", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, told):
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        parse_prices(text)
    assert "\n" not in str(raised.value)


def test_file_that_is_far_too_long_is_refused():
    with pytest.raises(ValueError, match="has more than"):
        parse_prices(HEAD + "#" * (1 << 20))


def test_too_many_rules_are_refused():
    with pytest.raises(ValueError, match="line 3: more than 1000 rules"):
        parse_prices(HEAD + "egress: [" + "{price: 1}," * 1001 + "]")


def test_deep_nesting_is_refused():
    with pytest.raises(ValueError, match=r"is not YAML|expected"):
        parse_prices(HEAD + "egress: " + "[" * 20_000)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text):
    with suppress(ValueError):
        parse_prices(text)


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=5))
def test_no_document_raises_anything_else(value):
    text = yaml.safe_dump({"currency": "USD", "unit": "GB", "egress": [value]})
    with suppress(ValueError):
        parse_prices(text)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_examples_are_valid(path):
    text = path.read_text()
    prices = parse_prices(text)
    assert prices.egress
    assert "heck your contract" in text


def test_there_is_an_example_for_each_provider():
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {"aws", "azure", "gcp"}
