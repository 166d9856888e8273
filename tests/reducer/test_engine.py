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


def test_files_cannot_be_read():
    engine = Engine()
    with pytest.raises(duckdb.Error):
        engine.query("SELECT * FROM read_text('/etc/hostname')")
    engine.close()
