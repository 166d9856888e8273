"""The price file: what a byte costs, by where it goes.

It is read node by node, so that a price stays the number that was written and an error
names its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TypeVar

import yaml

from ebpf_net.schema import COST_PARTS, ZoneRelation

UNITS: Mapping[str, int] = {"GB": 10**9, "GiB": 2**30}
CONDITIONS = ("provider", "account", "region", "zone", "vpc", "network")
"""What a rule can ask of an end."""
MAX_PRICE = 100
MAX_DECIMALS = 6
MAX_RULES = 1000
_MAX_BYTES = 1 << 20
_CURRENCY = re.compile(r"[A-Za-z]{1,16}")
_RELATIONS = {one.name.lower(): one for one in ZoneRelation}

Patterns = tuple[str, ...]
_Choice = TypeVar("_Choice")


@dataclass(frozen=True)
class Rule:
    """A price, and what traffic must be for it.

    ``relations`` is empty for any. ``source`` and ``dest`` have patterns by CONDITIONS,
    of which one must fit.
    """

    parts_per_byte: Fraction
    relations: frozenset[ZoneRelation]
    source: Mapping[str, Patterns]
    dest: Mapping[str, Patterns]


@dataclass(frozen=True)
class Prices:
    """The first rule that fits counts: of ``egress`` for what the source's side pays,
    and of ``ingress`` for what the dest's pays.
    """

    currency: str
    egress: tuple[Rule, ...]
    ingress: tuple[Rule, ...]


def parse_prices(text: str) -> Prices:
    """Read a price file; raises ValueError with the line and what is wrong there."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"has more than {_MAX_BYTES} characters")
    try:
        document = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or 'is not YAML'}") from None
    except (yaml.YAMLError, RecursionError):
        raise ValueError("is not YAML") from None
    if document is None:
        raise ValueError("is empty")
    entries = _mapping(document, ("currency", "unit", "egress", "ingress"))
    for name in ("currency", "unit"):
        if name not in entries:
            raise ValueError(f"has no {name}")
    currency = _text(entries["currency"])
    if not _CURRENCY.fullmatch(currency):
        raise _wrong(entries["currency"], f"{currency!r} is no currency, such as USD")
    unit = _choice(entries["unit"], UNITS)
    return Prices(
        currency,
        tuple(_rules(entries.get("egress"), unit)),
        tuple(_rules(entries.get("ingress"), unit)),
    )


def _rules(node: yaml.Node | None, unit: int) -> Iterator[Rule]:
    if node is None:
        return
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(node, "expected a list of rules")
    if len(node.value) > MAX_RULES:
        raise _wrong(node, f"more than {MAX_RULES} rules")
    for rule in node.value:
        yield _rule(rule, unit)


def _rule(node: yaml.Node, unit: int) -> Rule:
    entries = _mapping(node, ("relation", "source", "dest", "price"))
    if "price" not in entries:
        raise _wrong(node, "the rule has no price")
    relations = _list(entries["relation"]) if "relation" in entries else []
    return Rule(
        _price(entries["price"]) * COST_PARTS / unit,
        frozenset(_choice(one, _RELATIONS) for one in relations),
        _conditions(entries.get("source")),
        _conditions(entries.get("dest")),
    )


def _price(node: yaml.Node) -> Fraction:
    text = _text(node)
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise _wrong(node, f"{text!r} is no price") from None
    if not price.is_finite() or not 0 <= price <= MAX_PRICE:
        raise _wrong(node, f"the price {text} is not between 0 and {MAX_PRICE}")
    exact = Fraction(price)
    if (exact * 10**MAX_DECIMALS).denominator != 1:
        raise _wrong(node, f"the price {text} has more than {MAX_DECIMALS} decimals")
    return exact


def _conditions(node: yaml.Node | None) -> Mapping[str, Patterns]:
    if node is None:
        return {}
    entries = _mapping(node, CONDITIONS)
    return {name: tuple(map(_text, _list(value))) for name, value in entries.items()}


def _mapping(node: yaml.Node, names: Sequence[str]) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, f"expected names and values, of {', '.join(names)}")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key)
        if name not in names:
            raise _wrong(key, f"{name!r} is none of {', '.join(names)}")
        if name in entries:
            raise _wrong(key, f"{name} is there twice")
        entries[name] = value
    return entries


def _list(node: yaml.Node) -> list[yaml.Node]:
    """Return the values of a list, or the one value that is there instead."""
    if not isinstance(node, yaml.SequenceNode):
        return [node]
    if not node.value:
        raise _wrong(node, "the list is empty")
    return list(node.value)


def _choice(node: yaml.Node, choices: Mapping[str, _Choice]) -> _Choice:
    text = _text(node)
    if text not in choices:
        raise _wrong(node, f"{text!r} is none of {', '.join(choices)}")
    return choices[text]


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(node, "expected one value")
    return str(node.value)


def _wrong(node: yaml.Node, what: str) -> ValueError:
    return ValueError(f"line {node.start_mark.line + 1}: {what}")
