"""The DuckDB connection: Arrow tables in, SQL text, Arrow tables out."""

from __future__ import annotations

import duckdb
import pyarrow as pa


class Engine:
    """One connection with bounded memory and threads, and without access to files."""

    def __init__(self, threads: int = 1, memory_limit: str = "512MB") -> None:
        self._connection = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "enable_external_access": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )

    def query(self, sql: str, **tables: pa.Table) -> pa.Table:
        """Run one statement over the named tables, which are not copied."""
        for name, table in tables.items():
            self._connection.register(name, table)
        try:
            result: pa.Table = self._connection.sql(sql).to_arrow_table()
            return result
        finally:
            for name in tables:
                self._connection.unregister(name)

    def close(self) -> None:
        """Free the engine's memory."""
        self._connection.close()
