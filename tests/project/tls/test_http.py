"""HTTP through the real server, over raw sockets."""

from __future__ import annotations

import socket
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from project.tls import http
from tests.project.tls.conftest import at_rest, receive_all
from tests.services import require

HOST = b"Host: localhost\r\n"
BODY_BYTES = http.Limits().body_bytes


def test_scope_tells_scheme_endpoint_and_certificate(serving):
    answer = serving.get("/", "good")
    assert (answer["scheme"], answer["endpoint"], answer["name"]) == ("https", "main", "CN=alice")
    assert serving.get("/")["name"] is None


def test_plain_endpoint_serves_http(serving):
    with socket.create_connection(("127.0.0.1", serving.plain), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        answer = receive_all(client)
    assert b'"scheme": "http"' in answer
    assert b'"endpoint": "public"' in answer


def test_curl_is_content(serving, world):
    require("curl")
    command = ["curl", "-sS", "--cacert", world.directory / "root.pem", "--cert", world.pem("good")]
    urls = [f"https://localhost:{serving.secure}/"] * 2
    done = subprocess.run([*command, "-i", *urls], capture_output=True, timeout=60)
    assert done.stdout.count(b'"name": "CN=alice"') == 2
    assert b"erver:" not in done.stdout


def test_largest_upload_and_a_download_of_megabytes(serving):
    size = BODY_BYTES
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
    assert b'"body": %d' % size in serving.request(head + b"x" * size)
    get = b"GET /large?320 HTTP/1.0\r\n" + HOST + b"\r\n"
    assert len(serving.request(get)) > 320 * 65536


@pytest.mark.parametrize("path", [b"/short", b"/broken"])
def test_answer_that_is_cut_short_ends_the_connection(serving, path):
    """Nobody may take the next answer for the rest of it."""
    with serving.connect() as client:
        client.sendall((b"GET %s HTTP/1.1\r\n" % path + HOST + b"\r\n") * 2)
        answer = receive_all(client)
    assert answer.endswith(b"\r\n\r\nbegun")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("value", [b"/elsewhere", b"\xff", b"%2e%2e"])
def test_client_does_not_move_the_root_of_the_site(serving, value):
    head = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nDaphne-Root-Path: %s\r\n\r\n"
    assert b'"root_path": ""' in serving.request(head % value)


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_body_gets_413_before_it_is_read(serving, chunked):
    before = serving.get("/")["rss"]
    with serving.connect() as client:
        if chunked:
            client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
            piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
            try:
                for _ in range(BODY_BYTES // 0x100000 + 1):
                    client.sendall(piece)
            except OSError:
                pass
        else:
            length = b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1)
            client.sendall(b"POST / HTTP/1.1\r\n" + HOST + length)
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert serving.get("/")["rss"] < before + 40_000


def test_form_is_left_to_the_application(serving):
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 3\r\n"
    bad = b"Content-Type: multipart/form-data; boundary=x\r\n\r\nabc"
    assert b'"body": 3' in serving.request(head + bad)


def test_too_long_header_is_refused_at_once(serving):
    answer = serving.request(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
    assert answer.startswith(b"HTTP/1.1 431 ")  # and no 408


@pytest.mark.parametrize("many", [b"X: y\r\n" * 100, (b"X: " + b"x" * 4000 + b"\r\n") * 5])
def test_too_many_headers_are_refused(serving, many):
    answer = serving.request(b"GET / HTTP/1.1\r\n" + HOST + many + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_as_many_headers_as_there_may_be_are_served(serving):
    head = b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"X: y\r\n" * 97
    assert serving.request(head + b"\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"X: ",
        b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 900\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n384\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ",
    ],
    ids=["head", "nothing", "body", "chunks", "trailer"],
)
def test_request_that_dribbles_in_is_cut_although_it_goes_on(hasty, begin):
    with hasty.connect() as client:
        client.sendall(begin)
        client.settimeout(0.1)
        for _ in range(800):
            try:
                assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
                return
            except TimeoutError:
                client.sendall(b"x")
    raise AssertionError("it may dribble for ever")


@pytest.mark.parametrize("asked", [False, True], ids=["after TLS", "after an answer"])
def test_silent_connection_is_closed(hasty, asked):
    with hasty.connect() as client:
        client.settimeout(30)
        if asked:
            client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ") if asked else answer == b""


def test_size_of_a_body_is_a_setting(hasty):
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
    assert b'"body": 1000' in hasty.request(head % 1000 + b"x" * 1000)
    assert hasty.request(head % 1001).startswith(b"HTTP/1.1 413 ")


def test_crash_of_the_application_is_a_500(serving):
    answer = serving.request(b"GET /boom HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"aphne" not in answer


def test_response_waits_for_a_slow_reader(serving):
    before = serving.get("/")["seen"].get("sent", 0)
    with serving.connect() as client:
        client.sendall(b"GET /large?3200 HTTP/1.1\r\n" + HOST + b"\r\n")
        most = 20_000_000
        sent = at_rest(lambda: serving.get("/")["seen"].get("sent", 0) - before, most=most)
        assert sent < most  # of 210 MB: what buffers on the way hold


def test_half_closed_client_still_gets_its_answer(serving):
    with socket.create_connection(("127.0.0.1", serving.plain), timeout=30) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        assert b'"endpoint": "public"' in receive_all(client)


class Clock:
    """A channel between a transport that writes down and a loop that can be told to be late."""

    def __init__(self, monkeypatch):
        self.timers = []
        monkeypatch.setattr("asyncio.get_running_loop", lambda: self)

    def call_later(self, seconds, call):
        timer = Timer(seconds, call)
        self.timers.append(timer)
        return timer

    @property
    def running(self):
        return [timer for timer in self.timers if not timer.is_cancelled]


class Timer:
    def __init__(self, seconds, call):
        self.seconds, self.call, self.is_cancelled = seconds, call, False

    def cancel(self):
        self.is_cancelled = True


class Wire:
    disconnecting = False
    connection = SimpleNamespace(is_leaving=False)

    def __init__(self, protocol):
        self.protocol = protocol
        self.written, self.is_closed = b"", False

    def write(self, data):
        self.written += data

    def loseConnection(self):
        self.is_closed = self.disconnecting = True


class SilentRequest:
    """Stands where the request would be."""

    def __init__(self, channel, queued):
        from twisted.web.http_headers import Headers

        self.requestHeaders = self.responseHeaders = Headers()

    def parseCookies(self):
        pass

    def gotLength(self, length):
        pass

    def handleContentChunk(self, data):
        pass

    def requestReceived(self, command, path, version):
        pass


@pytest.fixture
def channel(monkeypatch):
    channel: Any = http.Channel()
    channel.clock = Clock(monkeypatch)
    channel.requestFactory = SilentRequest
    channel.callLater = lambda seconds, call: Timer(seconds, call)
    channel.makeConnection(Wire(channel))
    return channel


def test_head_that_dribbles_in_meets_a_deadline(channel):
    for byte in b"GET / HTT":
        channel.dataReceived(bytes([byte]))
    (timer,) = channel.clock.running
    assert timer.seconds == http.Limits().head_seconds
    timer.call()
    assert channel.transport.written.startswith(b"HTTP/1.1 408 ")
    assert channel.transport.is_closed


def test_body_that_dribbles_in_meets_a_deadline(channel):
    channel.dataReceived(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\nx")
    (timer,) = channel.clock.running
    assert timer.seconds == http.Limits().body_seconds
    channel.dataReceived(b"y")
    assert channel.clock.running == [timer]


def test_complete_request_has_no_deadline(channel):
    channel.dataReceived(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert channel.clock.running == []


def test_what_waits_behind_a_request_is_kept_in_one_piece(channel):
    """Many small ones would be counted anew for each that comes."""
    channel.dataReceived(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    for _ in range(100):
        channel.dataReceived(b"x")
    assert channel._dataBuffer == [b"x" * 100]
