"""Two transactions in one another's way, on a database that locks rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

needs_row_locks = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one lock for everybody"
)
BLOCKED = "SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def held_up(work: Callable[[], Any], *, seconds: float = 30) -> Future[Any]:
    """`work`, begun in a thread and by now waiting for what the caller's transaction has locked."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    pool, until = ThreadPoolExecutor(1), time.monotonic() + seconds
    doing = pool.submit(run)
    pool.shutdown(wait=False)
    while not _is_somebody_blocked():
        assert not doing.done(), "It waited for nobody."
        assert time.monotonic() < until
        time.sleep(0.02)
    return doing


def _is_somebody_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED)
        return cursor.fetchone() is not None
