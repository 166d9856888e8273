from __future__ import annotations

import ipaddress
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ebpf_net.cli.name_files import NameFiles, watched_names
from ebpf_net.errors import SettingError
from ebpf_net.reducer.costs import Tolls
from ebpf_net.reducer.known import Names
from ebpf_net.testing.maxmind import make_database
from ebpf_net.testing.tables import split_address


def system_of(names: Names, address: str) -> tuple[str, str]:
    high, low = (np.array([half]) for half in split_address(address))
    (row,) = names.systems.find(high, low)
    table = names.systems.table
    return (
        table["organisation"][row].as_py(),
        table["country"][row].as_py(),
    )


def network_of(names: Names, address: str) -> str:
    high, low = (np.array([half]) for half in split_address(address))
    return str(names.networks.names[names.networks.find(high, low)[0]].as_py())


def test_files_are_read_at_the_start(tmp_path: Path):
    systems, countries = tmp_path / "asn.mmdb", tmp_path / "country.mmdb"
    systems.write_bytes(
        make_database(
            {
                "8.8.0.0/16": {"autonomous_system_organization": "Example Net"},
                "2a00:1450::/32": {"autonomous_system_number": 64_500},
            }
        )
    )
    countries.write_bytes(make_database({"8.0.0.0/8": {"country": {"iso_code": "CH"}}}))
    networks = tmp_path / "networks"
    networks.write_text("10.0.0.0/8 inside\n")
    names = Names()
    with watched_names(names, networks, [str(systems), str(countries)]):
        assert network_of(names, "10.1.2.3") == "inside"
        assert system_of(names, "8.8.8.8") == ("Example Net", "CH")
        assert system_of(names, "2a00:1450::1") == ("AS64500", "")


@pytest.mark.parametrize("content", [b"", b"no database"])
def test_file_that_is_no_database_ends_the_start(tmp_path: Path, content: bytes):
    path = tmp_path / "asn.mmdb"
    path.write_bytes(content)
    with (
        pytest.raises(SettingError, match="not in MaxMind's format"),
        watched_names(Names(), None, [str(path)]),
    ):
        pass


def told_of(networks: Path | None, databases: list[Path]) -> str:
    paths = [str(path) for path in databases]
    with (
        pytest.raises(SettingError) as caught,
        watched_names(Names(), networks, paths),
    ):
        pass
    return str(caught.value)


def test_missing_file_ends_the_start_and_is_named_once(tmp_path: Path):
    path = tmp_path / "networks"
    assert told_of(path, []) == (
        f"cannot use --networks-file {path}: No such file or directory"
    )


def test_networks_that_are_no_text_are_told_of(tmp_path: Path):
    path = tmp_path / "networks"
    path.write_bytes(b"\xff\xfe")
    assert told_of(path, []) == f"cannot use --networks-file {path}: is not UTF-8 text"


def test_of_several_databases_only_the_bad_one_is_blamed(tmp_path: Path):
    good, bad = tmp_path / "good.mmdb", tmp_path / "bad.mmdb"
    good.write_bytes(make_database({"8.0.0.0/8": {"country": {"iso_code": "CH"}}}))
    bad.write_bytes(b"bad")
    assert told_of(None, [good, bad]) == (
        f"cannot use --geoip-path {bad}: is not in MaxMind's format"
    )


def test_changed_file_is_read_again_and_a_bad_one_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, read = tmp_path / "file", []

    def load(paths: object) -> None:
        number = path.read_text()
        ipaddress.ip_address(number)
        read.append(number)

    path.write_text("10.0.0.1")
    files = NameFiles("--networks-file", [path], load)
    files.start()
    path.write_text("nonsense")
    with caplog.at_level(logging.WARNING):
        files.refresh()
        files.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "what was read before stays" in caplog.text
    path.unlink()
    files.refresh()
    path.write_text("10.0.0.22")
    files.refresh()
    files.refresh()
    assert read == ["10.0.0.1", "10.0.0.22"]


def test_database_may_be_written_over_while_it_is_in_use(tmp_path: Path):
    path = tmp_path / "asn.mmdb"
    path.write_bytes(
        make_database({"8.0.0.0/8": {"autonomous_system_organization": "One"}})
    )
    names = Names()
    with watched_names(names, None, [str(path)]):
        os.truncate(path, 0)
        assert system_of(names, "8.8.8.8") == ("One", "")


def test_prices_are_read_at_the_start(tmp_path: Path):
    path = tmp_path / "prices.yaml"
    path.write_text("currency: CHF\nunit: GB\n")
    tolls = Tolls()
    with watched_names(Names(), None, [], tolls, path):
        assert tolls.currency == "CHF"


def test_price_file_that_cannot_be_right_ends_the_start(tmp_path: Path):
    path = tmp_path / "prices.yaml"
    path.write_text("currency: CHF\nunit: GB\negress: [{price: a}]\n")
    with (
        pytest.raises(SettingError) as raised,
        watched_names(Names(), None, [], Tolls(), path),
    ):
        pass
    told = str(raised.value)
    assert told == f"cannot use --price-file {path}: line 3: 'a' is no price"
