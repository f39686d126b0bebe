"""Workers borrow listening sockets: both ends in one event loop, with real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from project.tls import lending
from project.tls.binding import ListenError, OwnSockets
from project.tls.lending import Borrower, Lender, Link, pair
from tests.project.tls.conftest import free_port


class Scene:
    def __init__(self) -> None:
        self.lender = Lender(OwnSockets())
        self.links: list[Link] = []
        self.lost = 0

    def worker(self) -> Borrower:
        ours, its = pair()
        self.links.append(Link(ours, self.lender))
        return Borrower(its, on_lost=self._lose)

    def _lose(self) -> None:
        self.lost += 1


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    for link in scene.links:
        link.close()
    scene.lender.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def place() -> tuple[str, int]:
    return "127.0.0.1", free_port()


async def test_two_workers_get_the_same_socket(scene):
    first, second = scene.worker(), scene.worker()
    where = place()
    with await first.take("main", where) as one, await second.take("main", where) as other:
        assert os.fstat(one.fileno()).st_ino == os.fstat(other.fileno()).st_ino


async def test_connection_that_waits_is_served_by_the_next_worker(scene):
    first, second = scene.worker(), scene.worker()
    where = place()
    (await first.take("main", where)).close()  # it dies without having accepted
    with socket.create_connection(where, timeout=30) as client:
        scene.links[0].close()
        with await second.take("main", where) as listener:
            listener.settimeout(30)
            accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
            accepted.sendall(b"here I am")
            assert client.recv(20) == b"here I am"
            accepted.close()


async def test_socket_is_closed_once_no_worker_wants_it(scene):
    first, second = scene.worker(), scene.worker()
    where = place()
    for worker in (first, second):
        (await worker.take("main", where)).close()
    first.give_back(where)
    with await first.take("other", place()):  # so the parent has heard of it
        assert listens(where[1])
        second.give_back(where)
        await until(lambda: not listens(where[1]))


async def test_what_a_dead_worker_had_is_closed_when_another_is_ready_without_it(scene):
    first = scene.worker()
    where = place()
    (await first.take("main", where)).close()
    scene.links[0].close()
    assert listens(where[1])
    scene.worker().ready(["Listening: nowhere"])
    assert await scene.links[1].ready == ["Listening: nowhere"]
    assert not listens(where[1])


async def test_other_address_on_the_same_port_waits_for_the_other_workers(scene, monkeypatch):
    monkeypatch.setattr(lending, "OTHERS_SECONDS", 30)
    first, second = scene.worker(), scene.worker()
    port = free_port()
    held = {worker: await worker.take("main", ("127.0.0.1", port)) for worker in (first, second)}
    held[first].close()
    first.give_back(("127.0.0.1", port))
    moving = asyncio.create_task(first.take("main", ("0.0.0.0", port)))
    await asyncio.sleep(0.2)
    assert not moving.done()
    held[second].close()
    second.give_back(("127.0.0.1", port))
    with await moving as moved:
        assert moved.getsockname() == ("0.0.0.0", port)


async def test_own_socket_that_stays_in_the_way_is_a_refusal(scene, monkeypatch):
    monkeypatch.setattr(lending, "OTHERS_SECONDS", 0.1)
    worker = scene.worker()
    port = free_port()
    with (
        await worker.take("main", ("127.0.0.1", port)),
        pytest.raises(ListenError, match="is taken"),
    ):
        await worker.take("other", ("0.0.0.0", port))


async def test_taken_port_is_refused_with_the_sentence_of_the_parent(scene):
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ListenError, match=r"on 127\.0\.0\.1 \(endpoint main\) is taken by another"),
    ):
        await scene.worker().take("main", other.getsockname())


async def test_parent_that_stumbles_refuses_and_says_why_in_its_log(scene, monkeypatch, caplog):
    async def fail(*_):
        raise RuntimeError("never thought of")

    monkeypatch.setattr(scene.lender, "lend", fail)
    async with asyncio.timeout(5):
        with pytest.raises(ListenError, match=r"have 127\.0\.0\.1:443\. The parent's log says"):
            await scene.worker().take("main", ("127.0.0.1", 443))
    assert "never thought of" in caplog.text


async def test_answer_that_does_not_come_is_a_refusal(monkeypatch):
    monkeypatch.setattr(lending, "ANSWER_SECONDS", 0.1)
    ours, its = pair()
    worker = Borrower(its, on_lost=lambda: None)
    where = place()
    async with asyncio.timeout(5):
        with ours, pytest.raises(ListenError, match=r"did not answer within 0\.1 seconds"):
            await worker.take("main", where)


async def test_socket_that_is_lost_on_its_way_is_a_refusal():
    """Linux hands over the message without it, where the worker has too many open files."""
    ours, its = pair()
    worker, where = Borrower(its, on_lost=lambda: None), place()
    with ours:
        ours.send(json.dumps({"place": where}).encode())
        with pytest.raises(ListenError, match="this worker has too many open files"):
            await worker.take("main", where)


async def test_two_late_answers_to_two_questions_are_one_socket(scene, monkeypatch, caplog):
    worker, other = scene.worker(), scene.worker()
    where = place()
    lend = scene.lender.lend
    is_slow = asyncio.Event()

    async def lend_late(*asked):
        await is_slow.wait()
        return await lend(*asked)

    monkeypatch.setattr(scene.lender, "lend", lend_late)
    monkeypatch.setattr(lending, "ANSWER_SECONDS", 0.1)
    async with asyncio.timeout(5):
        with pytest.raises(ListenError):
            await worker.take("main", where)
    monkeypatch.setattr(lending, "ANSWER_SECONDS", 30)
    again = asyncio.create_task(worker.take("main", where))
    await asyncio.sleep(0.05)
    is_slow.set()
    with await again:
        (await other.take("main", where)).close()
        other.give_back(where)
        await asyncio.sleep(0.05)
        assert listens(where[1])
    worker.give_back(where)
    await until(lambda: not listens(where[1]))
    assert caplog.messages == []


async def test_worker_whose_parent_has_gone_is_told_once(scene):
    worker = scene.worker()
    with await worker.take("main", place()):
        scene.links[0].close()
        await until(lambda: scene.lost)
        await asyncio.sleep(0.05)
    assert scene.lost == 1


async def test_worker_that_ends_before_it_is_ready_never_becomes_so(scene):
    scene.worker()
    scene.links[0].close()
    assert await scene.links[0].ready is None


async def test_worker_gives_signs_of_life_from_the_moment_it_is_ready(scene, monkeypatch):
    monkeypatch.setattr(lending, "SIGN_SECONDS", 0.01)
    worker = scene.worker()
    (await worker.take("main", place())).close()
    (link,) = scene.links
    assert link.silence is None
    worker.ready(["Listening: nowhere"])
    for _ in range(3):
        await until(lambda: link.silence == 0)
        link.silence += 1


async def test_signs_that_nobody_reads_leave_room_for_what_must_be_told(monkeypatch):
    monkeypatch.setattr(lending, "SIGN_SECONDS", 0)
    parent, its = pair()
    parent.setblocking(False)
    worker = Borrower(its, on_lost=pytest.fail)
    worker.ready(["Listening: nowhere"])
    await asyncio.sleep(1)
    worker.give_back(place())
    with parent:
        heard = b""
        while b"give_back" not in heard:
            heard = parent.recv(1000)


async def test_signs_stop_without_a_word_once_the_parent_has_gone(monkeypatch, caplog):
    monkeypatch.setattr(lending, "SIGN_SECONDS", 0)
    parent, its = pair()
    worker = Borrower(its, on_lost=lambda: None)
    worker.ready(["Listening: nowhere"])
    parent.close()
    await asyncio.sleep(0.1)
    assert caplog.messages == []
