"""The DuckDB connection: Arrow tables in, SQL text, Arrow tables out."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa


class Engine:
    """One connection with bounded memory and threads, and without access to files.

    What memory cannot hold goes to ``spill_directory``; without one the query fails.
    """

    def __init__(
        self,
        threads: int = 1,
        memory_limit: str = "512MiB",
        spill_directory: Path | None = None,
    ) -> None:
        self._connection = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                # Never the default, which is below the working directory.
                "temp_directory": str(spill_directory or ""),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        # Not above: the order is DuckDB's own there, and this locks temp_directory.
        self._connection.execute("SET enable_external_access = false")

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
