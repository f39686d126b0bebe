"""The same tests once more where production runs: on PostgreSQL, with the channel layer on Redis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.services import skip_without

REPOSITORY = Path(__file__).resolve().parents[1]
POSTGRESQL = os.environ.get(
    "SIGNET_TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres"
)
REDIS = os.environ.get("SIGNET_TEST_REDIS_URL", "redis://127.0.0.1:6379/15")


def answers(url: str, *, port: int) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or port), 2).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="this is the run on other backends")
@pytest.mark.parametrize("package", ["pki", "chat"])
def test_everything_holds_on_postgresql_and_redis(package):
    if not answers(POSTGRESQL, port=5432):
        skip_without("PostgreSQL")
    if not answers(REDIS, port=6379):
        skip_without("Redis")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "tests.only_database", f"tests/{package}"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "DATABASE_URL": POSTGRESQL, "REDIS_URL": REDIS},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
