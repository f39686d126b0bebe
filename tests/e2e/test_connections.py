"""Live connections of two serving processes: seen from either, ended from anywhere, gone with theirs."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.server import REPOSITORY, Signet, free_ports
from tests.e2e.test_delivery import Client

END_ONE = """
from django.utils import timezone
from project.live import connections
row = connections.alive().get(kind="socket", process__pid={pid})
connections.end_connection(actor="shell", connection=row, at=timezone.now())
"""
END_ALL = """
from django.utils import timezone
from pki.models import User
from project.live import connections
user = User.objects.get(username="lena")
print(connections.end_all_of(actor="shell", user=user, at=timezone.now()))
"""
ROWS = """
SELECT kind, username, tls_version, pid FROM project_liveconnection AS held
JOIN project_process AS process ON process.id = process_id
LEFT JOIN pki_user AS person ON person.id = user_id WHERE NOT is_to_end ORDER BY kind, pid
"""


@pytest.fixture
def second(own_signet: Signet) -> Iterator[SimpleNamespace]:
    """The second process, in the shape that a chat client wants."""
    own_signet.extra = {"SIGNET_IDLE_SECONDS": "600"}
    own_signet.start()
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.second", str(port)],
        cwd=REPOSITORY,
        env=own_signet.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield SimpleNamespace(
        main=port, client_context=own_signet.client_context, pid=process.pid, process=process
    )
    process.kill()
    process.wait(60)


def scrape(signet: Signet, port: int | None = None) -> dict[tuple[str, ...], float]:
    url = signet.url("/metrics", port=port)
    with urlopen(url, context=signet.client_context(), timeout=30) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


def kept_alive(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A connection of a browser that has had one answer and waits for the next click."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    client = context.wrap_socket(plain, server_hostname="localhost")
    client.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while b'"lena"' not in answer:
        part = client.recv(65536)
        assert part, answer
        answer += part
    return client


def rows(signet: Signet) -> list[tuple[str, str, str, int]]:
    with closing(sqlite3.connect(signet.home / "signet.sqlite3")) as database:
        return database.execute(ROWS).fetchall()


def processes(signet: Signet) -> int:
    with closing(sqlite3.connect(signet.home / "signet.sqlite3")) as database:
        return database.execute("SELECT count(*) FROM project_process").fetchone()[0]


def sockets_on(signet: Signet, count: int, port: int | None = None) -> Callable[[], bool]:
    key = ("signet_connections", "main", "socket")
    return lambda: scrape(signet, port).get(key, 0) == count


async def test_either_process_ends_what_it_is_told_to_and_takes_its_rows_along(
    own_signet: Signet, second: SimpleNamespace
) -> None:
    identity = own_signet.issue("lena")
    here, there = Client(own_signet, identity), Client(second, identity)
    await here.connect()
    await there.connect()
    page = kept_alive(own_signet.client_context(identity), own_signet.main)
    await until(sockets_on(own_signet, 2))
    await until(sockets_on(own_signet, 2, second.main))

    # One of them, from a third process: it learns why, the other goes on.
    await until(lambda: len(rows(own_signet)) == 3)
    first = own_signet.process.pid
    assert set(rows(own_signet)) == {
        ("socket", "lena", "TLSv1.3", first),
        ("socket", "lena", "TLSv1.3", second.pid),
        ("web", "lena", "TLSv1.3", first),
    }
    own_signet.shell(END_ONE.format(pid=second.pid))
    await asyncio.wait_for(there.socket.wait_closed(), 60)
    assert there.socket.close_code == 4506
    assert there.socket.close_reason == "This device has been signed out."
    assert (await here.post("still here"))["ok"]

    await asyncio.gather(there.reader, return_exceptions=True)

    # All of a person, in both processes.
    await there.connect()
    await until(sockets_on(own_signet, 2))
    await until(lambda: len(rows(own_signet)) == 3)
    assert own_signet.shell(END_ALL).strip() == "3"
    for client in (here, there):
        await asyncio.wait_for(client.socket.wait_closed(), 60)
        assert client.socket.close_code == 4506
    assert await asyncio.to_thread(page.recv, 1) == b""
    page.close()

    await asyncio.gather(here.reader, there.reader, return_exceptions=True)

    # A process that is killed takes its connections off the page, but not off the sums.
    await here.connect()
    await there.connect()
    await until(sockets_on(own_signet, 2))
    before = scrape(own_signet)
    second.process.kill()
    await until(sockets_on(own_signet, 1))
    await until(lambda: processes(own_signet) == 1)
    after = scrape(own_signet)
    fallen = [
        key
        for key, value in before.items()
        if key[0].endswith("_total") and after.get(key, 0) < value
    ]
    assert fallen == []
    assert after["signet_handshakes_total", "main", "ok"] > 6
    assert rows(own_signet) == [("socket", "lena", "TLSv1.3", first)]

    # One that ends in order leaves nothing.
    await asyncio.gather(there.reader, return_exceptions=True)
    await here.close()
    assert own_signet.stop() == 0
    assert rows(own_signet) == []
    assert processes(own_signet) == 0
