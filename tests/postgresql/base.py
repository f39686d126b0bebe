"""PostgreSQL as Django has it, but tables are emptied between tests by DELETE.

They hold a few rows then, and TRUNCATE makes new files for each table and index: seconds, on a disk
that is busy.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base, operations


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(
        self,
        style: Any,
        tables: list[str],
        *,
        reset_sequences: bool = False,
        allow_cascade: bool = False,
    ) -> list[str]:
        if reset_sequences:
            again: list[str] = super().sql_flush(
                style, tables, reset_sequences=True, allow_cascade=allow_cascade
            )
            return again
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
