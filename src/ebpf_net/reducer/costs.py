"""Bytes by where they go, and what they cost: samples of the edges of a window.

Costs are integers, COST_PARTS of the currency. What rounding leaves of a price is
carried to the next edge and window, so that the sum over all is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from fractions import Fraction

import numpy as np
import pyarrow as pa

from ebpf_net.reducer.ends import encode
from ebpf_net.reducer.keys import Bool, Int64, combine
from ebpf_net.reducer.prices import Patterns, Prices, Rule
from ebpf_net.reducer.rows import int64_column
from ebpf_net.reducer.zones import USER_NETWORK, EndPlaces
from ebpf_net.schema import Derived
from ebpf_net.zones import distinct_texts

_NO_RULE = -1
_MAX_COST = 10**17  # of an edge in a window, so that sums stay in 64 bits
_MAX_VOLUME = 1 << 61  # of a window; no network has that

_LABELS: Mapping[str, tuple[str, ...]] = {
    "provider": ("cloud.provider",),
    "account": ("cloud.account.id",),
    "region": ("region",),
    "zone": ("availability_zone", "cloud.zone.id"),
    "vpc": ("cloud.vpc.id",),
    "network": ("workload.name",),
}
"""Labels that a condition of a rule is about; one of them must fit."""


@dataclass(frozen=True)
class Traffic:
    """Bytes from node to node, one row for each direction."""

    source: Int64
    dest: Int64
    protocol: Int64
    bytes: Int64
    source_internet: Bool
    dest_internet: Bool

    def take(self, chosen: Int64) -> Traffic:
        """Return the chosen rows."""
        return Traffic(**{name: values[chosen] for name, values in vars(self).items()})


class Tolls:
    """Makes samples of zones and costs. Prices may be replaced at any time."""

    def __init__(self) -> None:
        self._prices: Prices | None = None
        self._knows_zones = False
        self._carried: dict[Fraction, int] = {}

    @property
    def currency(self) -> str:
        """The currency of the prices, "" without any."""
        return self._prices.currency if self._prices else ""

    def use(self, prices: Prices) -> None:
        """Take prices. Raises ValueError for another currency: sums would mix."""
        if self.currency not in ("", prices.currency):
            raise ValueError(
                f"the currency is {prices.currency} now, and was {self.currency}: "
                "that needs a restart"
            )
        self._prices = prices

    def places(self, nodes: pa.Table) -> EndPlaces | None:
        """Return where the ends are; None if there is nothing to tell of it.

        Once a zone has been known it goes on, so that no window is left out.
        """
        if not nodes.num_rows:
            return None
        places = EndPlaces(nodes)
        self._knows_zones |= places.knows_zones
        return places if self._knows_zones or self._prices else None

    def samples(
        self, traffic: Traffic, nodes: pa.Table, places: EndPlaces
    ) -> Iterator[dict[str, Int64]]:
        """Yield columns of samples: bytes by ZoneRelation, and costs."""
        traffic = traffic.take(np.flatnonzero(traffic.bytes > 0))
        internet = traffic.source_internet | traffic.dest_internet
        relation = places.relate(traffic.source, traffic.dest, internet)
        yield _columns(traffic, relation, Derived.ZONE_BYTES, traffic.bytes)
        prices = self._prices
        if prices is not None and len(relation):
            cost = self._price(prices, traffic, relation, nodes, places)
            paid = np.flatnonzero(cost > 0)
            yield _columns(
                traffic.take(paid), relation[paid], Derived.ZONE_COST, cost[paid]
            )

    def _price(
        self,
        prices: Prices,
        traffic: Traffic,
        relation: Int64,
        nodes: pa.Table,
        places: EndPlaces,
    ) -> Int64:
        fits = _Fits(nodes, places)
        cost = np.zeros(len(relation), np.int64)
        for rules, free in (
            (prices.egress, traffic.source_internet),
            (prices.ingress, traffic.dest_internet),
        ):
            rule = fits.first_rule(rules, traffic, relation)
            rule[free] = _NO_RULE  # nobody of ours pays there
            rates = [one.parts_per_byte for one in rules]
            for rate in dict.fromkeys(rates):
                same = [number for number, one in enumerate(rates) if one == rate]
                chosen = np.flatnonzero(np.isin(rule, same))
                if rate and len(chosen):
                    cost[chosen] += self._charge(rate, traffic.bytes[chosen])
        return np.minimum(cost, _MAX_COST)

    def _charge(self, rate: Fraction, volume: Int64) -> Int64:
        """Return what each volume costs; their sum is exact but for what is carried."""
        if float(volume.sum(dtype=np.float64)) > _MAX_VOLUME:
            volume = np.minimum(volume, _MAX_VOLUME // len(volume))
        per_byte, rest = divmod(rate.numerator, rate.denominator)
        below = rate.denominator
        cost = np.full(len(volume), _MAX_COST)
        some = np.flatnonzero(volume <= _MAX_COST // max(per_byte, 1))
        cost[some] = per_byte * volume[some]
        if not rest:
            return cost
        # floor((carried + rest * sum) / below), without a product above 64 bits
        whole, part = np.divmod(np.cumsum(volume), below)
        so_far, left = np.divmod(rest * part + self._carried.get(rate, 0), below)
        so_far += rest * whole
        self._carried[rate] = int(left[-1])
        return cost + np.diff(so_far, prepend=0)


class _Fits:
    """Which rule fits which ends, by what rules can ask of them."""

    def __init__(self, nodes: pa.Table, places: EndPlaces) -> None:
        kind, kinds = distinct_texts(nodes.column("resolution_type"))
        named = [one == USER_NETWORK for one in kinds.to_pylist()]
        is_network = np.array(named, np.bool_)
        codes, self._texts = {}, {}
        for label in (label for labels in _LABELS.values() for label in labels):
            texts = places.regions if label == "region" else nodes.column(label)
            codes[label], values = distinct_texts(texts)
            self._texts[label] = values.to_pylist()
        network = codes["workload.name"]
        codes["workload.name"] = np.where(is_network[kind], network, -1)
        self._alike, first = encode(combine(*codes.values()))
        self._codes = {label: one[first] for label, one in codes.items()}
        self._known: dict[tuple[str, Patterns], Bool] = {}

    def first_rule(
        self, rules: Sequence[Rule], traffic: Traffic, relation: Int64
    ) -> Int64:
        """Return the number of the first rule that fits each row, or -1."""
        source, dest = self._alike[traffic.source], self._alike[traffic.dest]
        count = len(next(iter(self._codes.values())))
        code, first = encode((relation * count + source) * count + dest)
        source, dest, relation = source[first], dest[first], relation[first]
        found = np.full(len(first), _NO_RULE)
        for number, rule in enumerate(rules):
            fits = found == _NO_RULE
            if rule.relations:
                fits &= np.isin(relation, [int(one) for one in rule.relations])
            for end, conditions in ((source, rule.source), (dest, rule.dest)):
                for name, patterns in conditions.items():
                    fits &= self._fit(name, patterns)[end]
            found[fits] = number
        return found[code]

    def _fit(self, name: str, patterns: Patterns) -> Bool:
        """Tell which ends fulfil a condition; what is not known never does."""
        key = (name, patterns)
        if key not in self._known:
            expression = re.compile("|".join(map(translate, patterns)))
            fits = np.zeros(len(next(iter(self._codes.values()))), np.bool_)
            for label in _LABELS[name]:
                matched = [
                    bool(text) and expression.match(text) is not None
                    for text in self._texts[label]
                ]
                codes = self._codes[label]
                fits |= np.array([*matched, False], np.bool_)[codes]
            self._known[key] = fits
        return self._known[key]


def directions(groups: pa.Table, volume: Bool, internet: Bool) -> Traffic:
    """Return the traffic of groups of rows in both directions, as far as it counts."""
    chosen = np.flatnonzero(volume)
    own, peer, protocol, sent, received = (
        int64_column(groups, name)[chosen]
        for name in ("own", "peer", "protocol", "bytes_sent", "bytes_received")
    )
    far, near = internet[chosen], np.zeros(len(chosen), np.bool_)
    return Traffic(
        np.concatenate([own, peer]),
        np.concatenate([peer, own]),
        np.concatenate([protocol, protocol]),
        np.concatenate([sent, received]),
        np.concatenate([near, far]),
        np.concatenate([far, near]),
    )


def _columns(
    traffic: Traffic, relation: Int64, kind: Derived, count: Int64
) -> dict[str, Int64]:
    return {
        "source": traffic.source,
        "dest": traffic.dest,
        "protocol": traffic.protocol,
        "kind": np.full(len(relation), int(kind)),
        "bucket": relation,
        "count": count,
    }
