from __future__ import annotations

import numpy as np
import pytest

from ebpf_net.reducer.autonomous_systems import AutonomousSystems
from ebpf_net.testing.tables import split_address

ADDRESSES = ("8.8.8.8", "10.0.0.1", "2a00:1450::1", "9.9.9.9", "8.8.8.8")


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, **records: object) -> None:
        self.records = records
        self.asked: list[str] = []

    def get(self, ip_address: str, /) -> object:
        self.asked.append(ip_address)
        return self.records.get(ip_address)


def find(systems: AutonomousSystems, *addresses: str) -> list[tuple[str, str] | None]:
    high, low = np.array([split_address(text) for text in addresses], np.int64).T
    rows = systems.find(high, low).tolist()
    table = systems.table.to_pylist()
    return [tuple(table[row].values()) if row >= 0 else None for row in rows]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"autonomous_system_organization": "One"}, ("One", "")),
        ({"autonomous_system_number": 64_500}, ("AS64500", "")),
        ({"as_name": "One", "asn": "AS1", "country_code": "CH"}, ("One", "CH")),
        ({"asn": "AS1"}, ("AS1", "")),
        ({"country": {"iso_code": "CH"}}, ("", "CH")),
        ({"country": {}, "registered_country": {"iso_code": "AT"}}, ("", "AT")),
        ({"city": {}}, None),
        ("no record", None),
        (None, None),
    ],
)
def test_records_of_every_kind_of_file(record, told):
    systems = AutonomousSystems([Counting(**{"8.8.8.8": record})])
    assert find(systems, "8.8.8.8") == [told]


def test_public_addresses_are_asked_for_once():
    database = Counting(**{"2a00:1450::1": {"asn": "AS2"}, "8.8.8.8": {"asn": "AS1"}})
    systems = AutonomousSystems([database])
    expected = [("AS1", ""), None, ("AS2", ""), None, ("AS1", "")]
    assert find(systems, *ADDRESSES) == expected
    assert find(systems, *ADDRESSES) == expected
    assert sorted(database.asked) == ["2a00:1450::1", "8.8.8.8", "9.9.9.9"]


def test_what_is_remembered_has_a_bound():
    database = Counting(**{f"8.8.8.{last}": {"asn": f"AS{last}"} for last in range(9)})
    systems = AutonomousSystems([database], max_addresses=2)
    assert find(systems, "8.8.8.1", "8.8.8.2") == [("AS1", ""), ("AS2", "")]
    assert find(systems, "8.8.8.2", "8.8.8.3") == [("AS2", ""), ("AS3", "")]
    assert len(database.asked) == 4


def test_without_a_file_nothing_is_known():
    systems = AutonomousSystems()
    assert not systems
    assert find(systems, *ADDRESSES) == [None] * len(ADDRESSES)
