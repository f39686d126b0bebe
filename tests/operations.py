"""Long operations in tests: wait for their end."""

from __future__ import annotations

import time

from pki.models import Operation


def finished(operation: Operation, *, seconds: float = 60) -> Operation:
    """The row of an operation once it has ended; its test needs committed rows."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        operation.refresh_from_db()
        if operation.state != Operation.State.RUNNING:
            return operation
        time.sleep(0.02)
    raise AssertionError(f"{operation} has not ended: {operation.done} of {operation.total}")
