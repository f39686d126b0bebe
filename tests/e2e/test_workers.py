"""Several processes on one port, on PostgreSQL and Redis: nobody is cut, whoever comes or goes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.database import own_database
from tests.e2e.server import REPOSITORY, Signet, free_ports
from tests.e2e.test_delivery import Client, bodies
from tests.services import require, skip_without
from tests.test_backends import REDIS, answers

PATIENCE = 120  # a worker starts in two seconds, or in thirty on a machine that is busy


class Company(Signet):
    """A deployment that is served by two workers."""

    def serve(self) -> None:
        if self.process is None:
            printed = self.log.stat().st_size if self.log.exists() else 0
            self.start(sys.executable, "manage.py", "serve", "--workers", "2")
            until(lambda: b"Workers: " in self.log.read_bytes()[printed:], self.log.read_text)
        until(lambda: len(self.workers()) == 2, self.log.read_text)

    def workers(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def counted(self, line: str) -> int:
        return self.log.read_text().count(line)

    def says_again(self, line: str, before: int) -> None:
        until(lambda: self.counted(line) > before, self.log.read_text)

    def whoami(self, identity: Path | None = None) -> int:
        """The status of a request on a connection of its own; never tried twice."""
        asking = http.client.HTTPSConnection(
            "localhost", self.main, context=self.client_context(identity), timeout=PATIENCE
        )
        with contextlib.closing(asking):
            asking.request("GET", "/whoami")
            return asking.getresponse().status

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """The other workers stand still meanwhile, so this one accepts."""
        others = [pid for pid in self.workers() if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    if not answers(REDIS, port=6379):
        skip_without("Redis")
    with own_database() as (name, url):
        services = {"DATABASE_URL": url, "REDIS_URL": REDIS, "SIGNET_REDIS_PREFIX": name}
        extra = {**services, "SIGNET_DRAIN_SECONDS": "60"}
        company = Company(tmp_path_factory.mktemp("workers") / "var", extra=extra)
        company.set_up()
        yield company
        if company.process:
            company.stop(timeout=90)


@pytest.fixture
def company(deployment: Company) -> Company:
    deployment.serve()
    return deployment


def until(condition: Callable[[], object], what: Callable[[], str] = str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_post_and_revocation_reach_the_sockets_of_the_other_worker(company: Company) -> None:
    first, second = company.workers()
    alice = Client(company, company.issue("alice"))
    bob = Client(company, company.issue("bob"))
    with company.only(first):
        await alice.connect()
    with company.only(second):
        await bob.connect()
    assert (await alice.post("from the one"))["ok"]
    assert (await bob.post("from the other"))["ok"]
    async with asyncio.timeout(PATIENCE):
        while not all(
            bodies(one.log)[-2:] == ["from the one", "from the other"] for one in (alice, bob)
        ):
            await asyncio.sleep(0.05)

    company.manage("revoke_certificate", "--user", "bob", "--reason", "keyCompromise")
    done = time.monotonic()
    await bob.socket.wait_closed()
    await asyncio.gather(bob.reader, return_exceptions=True)
    assert bob.socket.close_code == 4501
    assert time.monotonic() - done < 10  # sooner than the next heartbeat would find out
    assert (await alice.post("still here"))["ok"]
    await alice.close()


def test_killed_worker_is_replaced_and_the_other_serves_on(company: Company) -> None:
    dead, other = company.workers()
    os.kill(dead, signal.SIGKILL)
    until(lambda: not is_alive(dead))
    assert [company.whoami() for _ in range(10)] == [200] * 10
    until(lambda: len(company.workers()) == 2)
    (new,) = set(company.workers()) - {other}
    company.says_again(f"Worker {new} serves.", 0)
    with company.only(new):
        assert company.whoami() == 200


def test_rolling_restart_under_load_cuts_no_request(company: Company) -> None:
    old, relieved = set(company.workers()), company.counted("Every worker is new.")
    identity = company.issue("carol")
    ends, failures, served = threading.Event(), list[str](), {"new": 0, "kept": 0, "upload": 0}
    context = company.client_context(identity)

    def load(kind: str, ask: Callable[[], int]) -> None:
        while not ends.is_set():
            try:
                status = ask()
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{kind}: {error!r}")
            else:
                served[kind] += 1
                if status != 200:
                    failures.append(f"{kind}: {status}")
            time.sleep(0.02)

    # It opens a new connection only where the last answer said that this one ends.
    kept = http.client.HTTPSConnection("localhost", company.main, context=context, timeout=PATIENCE)

    def on_the_kept_one() -> int:
        kept.request("GET", "/whoami")
        answer = kept.getresponse()
        answer.read()
        return answer.status

    def slow_upload() -> int:
        asking = http.client.HTTPSConnection(
            "localhost", company.main, context=context, timeout=PATIENCE
        )
        with contextlib.closing(asking):
            asking.putrequest("GET", "/whoami")
            asking.putheader("Content-Length", "30")
            asking.endheaders()
            for _ in range(3):
                asking.send(b"x" * 10)
                time.sleep(0.5)
            return asking.getresponse().status

    async def sockets() -> list[int | None]:
        clients = [Client(company, identity) for _ in range(6)]
        for client in clients:
            await client.connect()
        company.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        await asyncio.gather(*(client.reader for client in clients), return_exceptions=True)
        return [client.socket.close_code for client in clients]

    asks = {"new": lambda: company.whoami(identity), "kept": on_the_kept_one, "upload": slow_upload}
    threads = [threading.Thread(target=load, args=pair) for pair in asks.items()]
    for thread in threads:
        thread.start()
    try:
        codes = asyncio.run(sockets())
        company.says_again("Every worker is new.", relieved)
        for pid in old:
            company.says_again(f"Worker {pid} takes no new connections", 0)
        assert company.counted("No longer listening: main") == 0
    finally:
        ends.set()
        for thread in threads:
            thread.join()
        kept.close()
    assert failures == []
    assert all(served.values()), served
    assert set(codes) == {1001}
    assert len(company.workers()) == 2
    assert not old & set(company.workers())


ENDPOINT = """
from pki.changes import announce_change
from pki.models import Endpoint
{}
announce_change()
"""


def test_endpoint_of_a_moment_ago_is_served_by_every_worker(company: Company) -> None:
    (port,) = free_ports(1)

    def is_open() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return True
        return False

    def change(what: str, log: str) -> None:
        before = company.counted(log)
        company.shell(ENDPOINT.format(what))
        until(lambda: company.counted(log) == before + 2, company.log.read_text)

    def every_worker_serves() -> None:
        for pid in company.workers():
            asking = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            with company.only(pid), contextlib.closing(asking):
                asking.request("GET", "/nowhere", headers={"Host": "localhost"})
                assert asking.getresponse().status in (301, 302, 308, 404)

    row = f'name="late", address="127.0.0.1", port={port}, tls=False, serves="public"'
    change(f"Endpoint.objects.create({row})", f"Listening: late http://127.0.0.1:{port}")
    every_worker_serves()
    wide = 'Endpoint.objects.filter(name="late").update(address="0.0.0.0")'
    change(wide, f"Listening: late http://0.0.0.0:{port}")
    every_worker_serves()
    gone = 'Endpoint.objects.filter(name="late").delete()'
    change(gone, f"No longer listening: late http://0.0.0.0:{port}")
    until(lambda: not is_open())


def test_killed_parent_leaves_nobody_behind(company: Company) -> None:
    pids = company.workers()
    company.kill()
    until(lambda: not any(map(is_alive, pids)), company.log.read_text)


SHORT = """
import sys
import manage
from project import workers
workers.SILENT_SECONDS = 10.0
sys.argv[0] = "manage.py"
manage.main()
"""


async def test_hung_worker_is_replaced_and_clients_of_the_other_stay(deployment: Company) -> None:
    if deployment.process:
        deployment.stop(timeout=90)
    identity = deployment.issue("alice")
    deployment.start(sys.executable, "-c", SHORT, "serve", "--workers", "2")
    try:
        until(lambda: deployment.counted("Worker") and len(deployment.workers()) == 2)
        hung, other = deployment.workers()
        for pid in (hung, other):
            deployment.says_again(f"Worker {pid} serves.", 0)
        os.kill(hung, signal.SIGSTOP)
        alice = Client(deployment, identity)
        await alice.connect()
        silence = f"Worker {hung} has given no sign of life for 10 s and is ended."
        await asyncio.to_thread(deployment.says_again, silence, 0)
        loss = f"Worker {hung} ended by signal 9. Another takes its place now."
        await asyncio.to_thread(deployment.says_again, loss, 0)
        await asyncio.to_thread(until, lambda: len(deployment.workers()) == 2)
        (new,) = set(deployment.workers()) - {other}
        await asyncio.to_thread(deployment.says_again, f"Worker {new} serves.", 0)
        assert (await alice.post("still here"))["ok"]
        await alice.close()

        os.kill(new, signal.SIGUSR1)  # what a worker is sent that hangs; this one goes on
        deployment.says_again("in run_forever", 0)
        assert [deployment.whoami() for _ in range(10)] == [200] * 10
        assert set(deployment.workers()) == {new, other}
    finally:
        deployment.stop(timeout=90)


def test_sockets_that_systemd_has_opened_are_served(deployment: Company) -> None:
    """systemd's own program opens the ports; to open them again would fail with "taken"."""
    require("systemd-socket-activate")
    if deployment.process:
        deployment.stop(timeout=90)
    (extra,) = free_ports(1)
    passed = [f"--setenv={name}" for name in deployment.environment]
    ports = (deployment.main, deployment.enrol, deployment.public, extra)
    listen = [f"--listen=127.0.0.1:{port}" for port in ports]
    before = deployment.counted("Listening on")
    with deployment.log.open("a") as log:
        process = subprocess.Popen(
            ["systemd-socket-activate", *passed, *listen, sys.executable, "manage.py", "serve"],
            cwd=REPOSITORY,
            env=deployment.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deployment.says_again("Listening on", before)
        first = http.client.HTTPSConnection(
            "localhost", deployment.main, context=deployment.client_context(), timeout=PATIENCE
        )
        with contextlib.closing(first):  # it waits in the queue until somebody serves
            first.request("GET", "/whoami")
            assert json.loads(first.getresponse().read())["user"] is None
        unused = f"systemd has opened 127.0.0.1:{extra}, which no endpoint uses."
        assert unused in deployment.log.read_text()
    finally:
        process.terminate()
        assert process.wait(90) == 0
