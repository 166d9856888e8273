from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from ebpf_net.reducer.engine import Engine


def test_query_reads_tables_by_name_and_forgets_them():
    engine = Engine()
    numbers = pa.table({"n": [1, 2]})
    found = engine.query("SELECT max(n) AS most FROM numbers_", numbers_=numbers)
    assert found.to_pylist() == [{"most": 2}]
    with pytest.raises(duckdb.Error):
        engine.query("SELECT * FROM numbers_")
    engine.close()


def sort_three_million(engine):
    grouped = "SELECT hash(range) AS h FROM range(3000000) GROUP BY h ORDER BY h"
    return engine.query(f"SELECT count(*) AS n FROM ({grouped})").to_pylist()


def test_what_memory_cannot_hold_is_spilt(tmp_path):
    engine = Engine(memory_limit="40MiB", spill_directory=tmp_path / "spill")
    assert sort_three_million(engine) == [{"n": 3_000_000}]
    engine.close()


def test_nothing_is_spilt_without_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = Engine(memory_limit="40MiB")
    with pytest.raises(duckdb.OutOfMemoryException):
        sort_three_million(engine)
    engine.close()
    assert not list(tmp_path.iterdir())


def test_files_cannot_be_read():
    engine = Engine()
    with pytest.raises(duckdb.Error):
        engine.query("SELECT * FROM read_text('/etc/hostname')")
    engine.close()
