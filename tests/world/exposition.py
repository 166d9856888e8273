"""What a Prometheus endpoint says, read with a reader of the tests' own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

_LINE = re.compile(r"(?P<name>[\w:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \S+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: float


def read_samples(text: str) -> list[Sample]:
    """Return the samples of the text format; a line that is none is an error."""
    samples = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        assert match, line
        labels = dict(_LABEL.findall(match["labels"] or ""))
        samples.append(Sample(match["name"], labels, float(match["value"])))
    return samples


def scrape(port: int, accept: str = "text/plain") -> str:
    """Return the text of the endpoint on loopback."""
    response = urllib3.request(
        "GET", f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}
    )
    assert response.status == 200
    return response.data.decode()


def sum_samples(port: int, name: str, labels: Mapping[str, str] | None = None) -> float:
    """Return the sum of the samples of that name whose labels include these."""
    return sum(
        sample.value
        for sample in read_samples(scrape(port))
        if sample.name == name and (labels or {}).items() <= sample.labels.items()
    )
