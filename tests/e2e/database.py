"""A database of PostgreSQL that a deployment has to itself for a while."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.services import skip_without
from tests.test_backends import POSTGRESQL, answers


@contextmanager
def own_database() -> Iterator[tuple[str, str]]:
    """Its name and its URL; it is dropped afterwards, whoever is connected."""
    if not answers(POSTGRESQL, port=5432):
        skip_without("PostgreSQL")
    name = f"signet_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRESQL, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    try:
        yield name, urlunsplit(urlsplit(POSTGRESQL)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(POSTGRESQL, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]
