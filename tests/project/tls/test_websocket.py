"""WebSockets through the real server, as the `websockets` library and raw bytes see them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from project.tls.websocket import WebSocket
from tests.project.tls.conftest import at_rest, receive_all
from tests.project.tls.test_connection import until


def open_socket(serving, path="/", who=None, **options) -> Any:
    url = f"wss://localhost:{serving.secure}{path}"
    options = {"compression": None, "open_timeout": 30, **options}
    return connect(url, ssl=serving.world.client(who), **options)


async def closing(socket) -> Any:
    while True:
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            return closed


async def test_echo_with_scheme_header_and_subprotocol(serving):
    async with open_socket(serving, subprotocols=["signet.v1.json"]) as socket:
        assert socket.response.headers["X-Scheme"] == "wss"
        assert "Server" not in socket.response.headers
        assert socket.subprotocol == "signet.v1.json"
        for message in ("héllo", b"\x00\xff", "x" * 65536):
            await socket.send(message)
            assert await socket.recv() == message


async def test_what_the_server_sends_may_be_larger_than_what_it_takes(serving):
    async with open_socket(serving) as socket:
        for size in (65_537, 500_000):
            await socket.send(f"large {size}")
            assert len(await socket.recv()) == size
        await socket.send("x" * 65_537)
        closed = await closing(socket)
    assert closed.rcvd.code == 1009


async def test_flood_of_pongs_ends_the_connection_and_a_few_do_not(serving):
    async with open_socket(serving) as socket:
        for _ in range(900):
            await socket.pong()
        await socket.send("still here")
        assert await socket.recv() == "still here"
        try:
            for _ in range(20_000):
                await socket.pong()
        except ConnectionClosed:
            pass
        closed = await closing(socket)
    assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "too many frames")


def test_subprotocol_that_is_not_ascii_is_a_bad_request(serving):
    answer = serving.request(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: \xe9\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("message", ["", b""])
async def test_empty_messages_pass_both_ways(serving, message):
    async with open_socket(serving) as socket:
        await socket.send(message)
        assert await asyncio.wait_for(socket.recv(), 30) == message


async def test_plain_endpoint_has_ws(serving):
    async with connect(f"ws://localhost:{serving.plain}/", compression=None) as socket:
        assert socket.response
        assert socket.response.headers["X-Scheme"] == "ws"


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4501])
async def test_close_reaches_the_peer_with_code_and_reason(serving, code):
    async with open_socket(serving) as socket:
        await socket.send(f"close {code} certificate revoked ünd more")
        closed = await closing(socket)
    assert (closed.rcvd.code, closed.rcvd.reason) == (code, "certificate revoked ünd more")
    assert closed.sent.code == code  # a complete close handshake


async def test_peers_close_code_is_answered_and_told_to_the_application(serving):
    async with open_socket(serving) as socket:
        await socket.close(4321, "enough")
        assert socket.close_code == 4321
    await asyncio.to_thread(until, lambda: serving.get("/")["seen"].get("code") == 4321)


@pytest.mark.parametrize("fragments", [1, 3])
async def test_too_large_message_is_1009(serving, fragments):
    async with open_socket(serving) as socket:
        whole = "x" * 65537
        size = len(whole) // fragments + 1
        parts = [whole[i : i + size] for i in range(0, len(whole), size)]
        await socket.send(parts if fragments > 1 else whole)
        closed = await closing(socket)
    assert closed.rcvd.code == 1009


async def test_huge_frame_is_1009_too(serving):
    async with open_socket(serving) as socket:
        sending = asyncio.create_task(socket.send(b"x" * 20_000_000))
        closed = await closing(socket)
        sending.cancel()
    assert closed.rcvd.code == 1009


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xf1\x80abcd", 1002),  # reserved bits
        (b"\x83\x80abcd", 1002),  # unknown opcode
        (b"\x81\x01x", 1002),  # not masked
        (b"\x81\x82\x00\x00\x00\x00\xc3\x28", 1007),  # no UTF-8
    ],
)
def test_what_the_peer_does_wrong_is_answered_by_a_close_frame(serving, frame, code):
    with serving.connect() as client:
        client.sendall(upgrade())
        assert read_head(client).startswith(b"HTTP/1.1 101 ")
        client.sendall(frame)
        answer = client.recv(200)
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4]) == code


async def test_denial_response_reaches_the_peer(serving):
    with pytest.raises(InvalidStatus) as refusal:
        await open_socket(serving, "/deny")
    response = refusal.value.response
    assert (response.status_code, response.body) == (401, b"no certificate")
    assert response.headers["X-Why"] == "because"
    assert response.headers["Content-Length"] == "14"


@pytest.mark.parametrize(("path", "status"), [("/refuse", 403), ("/boom", 500)])
async def test_refused_and_crashed_handshakes_are_answered(serving, path, status):
    with pytest.raises(InvalidStatus) as refusal:
        await asyncio.wait_for(open_socket(serving, path), 30)
    assert refusal.value.response.status_code == status


async def test_crash_after_accept_is_1011(serving):
    async with open_socket(serving) as socket:
        await socket.send("crash")
        assert (await closing(socket)).rcvd.code == 1011


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, b"426"),
        ({"Sec-WebSocket-Version": "99"}, b"426"),
        ({"Sec-WebSocket-Key": "short"}, b"400"),
        ({"Origin": "null"}, b"403"),
        ({"Connection": "keep-alive"}, b"400"),
    ],
)
def test_bad_handshakes_are_told_what_is_wrong(serving, change, status):
    with serving.connect() as client:
        client.sendall(upgrade(**change))
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close\r\n" in answer
    assert (b"Sec-WebSocket-Version: 13\r\n" in answer) is (status == b"426")


def test_clean_end_of_tcp_after_the_close_handshake(serving):
    """A reset here makes browsers report wasClean=false."""
    with serving.connect() as client:
        client.sendall(upgrade())
        read_head(client)
        client.sendall(masked(0x81, b"close 4501 x"))
        assert client.recv(200)[:4] == b"\x88\x03\x11\x95"
        client.sendall(masked(0x88, b"\x11\x95"))
        assert client.recv(10) == b""
        client.unwrap()


def test_peer_that_never_closes_is_left_behind(serving):
    with serving.connect() as client:
        client.settimeout(30)  # it is idle for too long after 60
        client.sendall(upgrade())
        read_head(client)
        client.sendall(masked(0x81, b"close 4501 x"))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while client.recv(200):
                pass


async def test_flood_to_a_busy_application_stops_the_sender(serving):
    before = await asyncio.to_thread(lambda: serving.get("/")["rss"])
    socket = await open_socket(serving, "/sleepy", ping_interval=None)
    sent = 0
    try:
        async with asyncio.timeout(3):
            while True:
                await socket.send(b"x" * 60_000)
                sent += 1
    except TimeoutError:
        pass
    after = await asyncio.to_thread(lambda: serving.get("/")["rss"])
    assert sent < 500  # of what would have been thousands
    assert after < before + 30_000
    socket.transport.abort()


def test_application_waits_for_a_peer_that_reads_nothing(serving):
    before = serving.get("/")["rss"]
    with serving.connect() as client:
        client.sendall(upgrade("/flood"))
        assert at_rest(lambda: serving.get("/")["seen"].get("flooded", 0), most=999) < 1000
        answer = serving.get("/")
        assert answer["rss"] < before + 30_000


class Pongs(WebSocket):
    """Stands on a wire that is full or not, and writes down what it would answer."""

    def __init__(self, *, is_congested: bool) -> None:
        super().__init__()
        self.transport = SimpleNamespace(connection=SimpleNamespace(is_congested=is_congested))
        self.sent: list[bytes] = []

    def sendPong(self, payload=None):
        self.sent.append(payload)


def test_pings_to_a_peer_that_reads_nothing_leave_one_pong():
    full, free = Pongs(is_congested=True), Pongs(is_congested=False)
    for number in range(1000):
        full.onPing(b"%d" % number)
        free.onPing(b"%d" % number)
    assert (len(full.sent), len(free.sent)) == (0, 1000)
    full.resumeProducing()
    full.resumeProducing()
    assert full.sent == [b"999"]


def test_pong_that_is_owed_comes_once_the_peer_reads(serving):
    with serving.connect() as client:
        client.sendall(upgrade())
        read_head(client)
        client.sendall(masked(0x81, b"large 30000000"))
        head = client.recv(10)
        assert head[:2] == b"\x81\x7f"
        for number in range(900):
            client.sendall(masked(0x89, b"%03d" % number))
        data = head
        while not data.endswith(b"\x8a\x03899"):
            data = data[-10:] + client.recv(1 << 20)


def test_nothing_is_read_after_a_failure(serving):
    """Not even pings: each would cost work for as long as the peer does not hang up."""
    with serving.connect() as client:
        client.sendall(upgrade())
        read_head(client)
        client.sendall(masked(0x83, b"") + masked(0x89, b"p") * 100)
        answer = receive_all(client)
        client.unwrap()  # an orderly end, without waiting for a close frame
    assert (answer[0], int.from_bytes(answer[2:4])) == (0x88, 1002)
    assert len(answer) == 2 + answer[1]


def upgrade(path="/", **change: str) -> bytes:
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    } | change
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    return head


def masked(first: int, payload: bytes) -> bytes:
    return bytes([first, 0x80 | len(payload)]) + b"\x00" * 4 + payload
