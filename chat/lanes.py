"""Lanes: the threads in which the sockets of this process use the database.

asgiref has one thread for all of it: there one slow search, or one post that waits for a lock, would
hold up everybody's sockets and the look at who may still be here. A lane waits for nothing but itself.
That one thread is left to the handshake's question of who somebody is (pki), and to the lines.

All lanes together have far fewer threads than a process may have connections to PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.db import connection

from chat.requests import (
    Certificates,
    History,
    Members,
    People,
    Pins,
    Presence,
    Request,
    Rooms,
    Search,
    Sync,
    Thread,
    Typing,
)

P = ParamSpec("P")
R = TypeVar("R")


class Lane:
    def __init__(self, name: str, *, threads: int) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the work in a thread of this lane, once one is free."""
        call = database_sync_to_async(work, thread_sensitive=False, executor=self.executor)
        result: R = await call(*args, **kwargs)
        return result


IS_SQLITE = connection.vendor == "sqlite"
RECHECK = Lane("recheck", threads=1)  # who may still be here, and how certificates stand
HUB = Lane("hub", threads=2)  # what is delivered, and to whom
READING = Lane("reading", threads=2)  # also what `ready` says
WRITING = Lane("writing", threads=1 if IS_SQLITE else 4)  # SQLite lets one write at a time
SEARCHING = Lane("searching", threads=1 if IS_SQLITE else 2)  # SQLite searches on our processors
LANES = (RECHECK, HUB, READING, WRITING, SEARCHING)


def lane_of(request: Request) -> Lane:
    """Where a request is answered: what may write, or is not known here, goes with the writers."""
    match request:
        case Search():
            return SEARCHING
        case Sync() | History() | Thread() | Pins() | Certificates():
            return READING
        case Members() | Rooms() | People() | Typing() | Presence():
            return READING
        case _:
            return WRITING
