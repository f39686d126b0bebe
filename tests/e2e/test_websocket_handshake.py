"""Opening handshakes (RFC 6455, section 4) at the real server."""

from __future__ import annotations

import pytest

from tests.wsfuzz import ACCEPT, CLOSE, TEXT, Client, Frame, close, close_code, frame, request

ECHO, CHAT = "/ws/echo/", "/ws/chat/"
JSON, PACK = "signet.v1.json", "signet.v1.msgpack"


@pytest.fixture(scope="module")
def context(signet):
    return signet.client_context(signet.issue("shaker"))


def ask(signet, context, head: bytes):
    with Client(signet.main, context) as client:
        return client.ask(head)


@pytest.mark.parametrize(
    "head",
    [
        request(ECHO),
        request(ECHO, Upgrade="WebSocket"),
        request(ECHO, Upgrade="h2c, WEBSOCKET"),
        request(ECHO, "Upgrade: websocket", Upgrade="h2c"),
        request(ECHO, Connection="keep-alive, UPGRADE"),
        request(ECHO, "Connection: Upgrade", Connection="keep-alive"),
        request(ECHO + "?a=b"),
        request(ECHO).replace(b": ", b":").lower().replace(b"get", b"GET").replace(b"http", b"HTTP")
        .replace(b"sec-websocket-key:dghlihnhbxbszsbub25jzq==",
                 b"sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ=="),
        request(ECHO, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
        request(ECHO, Sec_WebSocket_Extensions="permessage-deflate; nonsense=1, x-new; a; b=2"),
        request(ECHO, "Sec-WebSocket-Extensions: b", Sec_WebSocket_Extensions="a"),
        request(ECHO, Sec_WebSocket_Extensions="=;="),
    ],
    ids=["plain", "case", "list", "headers", "connection", "connections", "query", "blanks",
         "deflate", "extensions", "more extensions", "no extension"],
)  # fmt: skip
def test_good_handshake_is_accepted_without_extensions(signet, context, head):
    with Client(signet.main, context) as client:
        answer = client.ask(head)
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == ACCEPT
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in answer.headers
        assert "sec-websocket-protocol" not in answer.headers
        client.send(frame(TEXT, b"here"))
        assert client.receive() == Frame(TEXT, b"here")


REFUSALS = {
    "version 8": (426, request(ECHO, Sec_WebSocket_Version="8")),
    "version 14": (426, request(ECHO, Sec_WebSocket_Version="14")),
    "two versions": (400, request(ECHO, "Sec-WebSocket-Version: 13")),
    "no version": (400, request(ECHO, Sec_WebSocket_Version=None)),
    "version x": (400, request(ECHO, Sec_WebSocket_Version="x")),
    "no key": (400, request(ECHO, Sec_WebSocket_Key=None)),
    "short key": (400, request(ECHO, Sec_WebSocket_Key="c2hvcnQ=")),
    "key not base64": (400, request(ECHO, Sec_WebSocket_Key="!" * 22 + "==")),
    "two keys": (400, request(ECHO, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
    "no Connection": (400, request(ECHO, Connection=None)),
    "Connection without Upgrade": (400, request(ECHO, Connection="keep-alive")),
    "no Host": (400, request(ECHO, Host=None)),
    "two Hosts": (400, request(ECHO, "Host: localhost")),
    "another Host": (400, request(ECHO, Host="localhost:x")),
    "POST": (405, request(ECHO).replace(b"GET", b"POST", 1)),
    "HEAD": (405, request(ECHO).replace(b"GET", b"HEAD", 1)),
    "with a body": (400, request(ECHO, "Content-Length: 6") + frame(TEXT)),
    "with chunks": (400, request(ECHO, "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n"),
    "fragment": (400, request(ECHO + "#x")),
    "wrong path": (404, request("/ws/nothing/")),
    "root": (404, request("/")),
    "path above": (404, request(ECHO + "more/")),
    "HTTP/1.0": (404, request(ECHO).replace(b"HTTP/1.1", b"HTTP/1.0")),
    "no Upgrade": (404, request(ECHO, Upgrade=None, Connection="close")),
    "other protocol": (404, request(ECHO, Upgrade="h2c", Connection="close")),
    "null origin": (403, request(ECHO, Origin="null")),
    "other origin": (403, request(ECHO, Origin="https://evil.example")),
    "other port": (403, request(ECHO, Origin="https://localhost:1")),
    "other scheme": (403, request(ECHO, Origin="http://localhost")),
    "origin with a user": (403, request(ECHO, Origin="https://localhost@evil.example")),
    "two origins": (403, request(ECHO, "Origin: https://b.example", Origin="https://a.example")),
    "chat without subprotocol": (400, request(CHAT)),
    "unknown subprotocol": (400, request(CHAT, Sec_WebSocket_Protocol="signet.v2.json")),
    "subprotocol twice": (400, request(CHAT, Sec_WebSocket_Protocol=f"{JSON}, {JSON}")),
    "subprotocol twice in two": (
        400, request(CHAT, f"Sec-WebSocket-Protocol: {JSON}", Sec_WebSocket_Protocol=JSON)),
    "subprotocol no token": (400, request(CHAT, Sec_WebSocket_Protocol=f"{JSON}, a b")),
    "subprotocol in code": (400, request(CHAT, Sec_WebSocket_Protocol="signet.v1%2Ejson")),
    "subprotocol in case": (400, request(CHAT, Sec_WebSocket_Protocol=JSON.upper())),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_handshake_is_refused_with_a_reason(signet, context, name):
    status, head = REFUSALS[name]
    answer = ask(signet, context, head)
    assert answer.status == status
    assert answer.headers.get("connection") == (None if b"HTTP/1.0" in head else "close")
    assert (answer.headers.get("sec-websocket-version") == "13") is (status == 426)
    assert (answer.headers.get("allow") == "GET") is (status == 405)
    if head.startswith(b"GET"):
        assert answer.body


def test_own_origin_may_open_a_socket(signet, context):
    head = request(ECHO, Origin=f"https://localhost:{signet.main}")
    with Client(signet.main, context) as client:
        assert client.ask(head).status == 101


def test_without_origin_and_without_certificate_nothing_is_open_but_a_reason(signet):
    with Client(signet.main, signet.client_context()) as client:
        assert client.ask(request(ECHO)).status == 101
        end = client.receive()
        assert end is not None
        assert (end.opcode, close_code(end.payload)) == (CLOSE, 4504)
        client.send(close(4504))
        assert client.receive_all() == []


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ([JSON], JSON),
        ([f"{PACK},{JSON}"], PACK),
        ([f"other.protocol, {JSON} ,{PACK}"], JSON),
        ([PACK, JSON], PACK),
    ],
)
def test_first_known_subprotocol_of_the_client_is_chosen(signet, context, offer, chosen):
    first, *more = offer
    lines = [f"Sec-WebSocket-Protocol: {each}" for each in more]
    with Client(signet.main, context) as client:
        answer = client.ask(request(CHAT, *lines, Sec_WebSocket_Protocol=first))
        assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, chosen)


@pytest.mark.parametrize("early", [frame(TEXT, b"early"), b"\r\n\r\n" + request(ECHO), b"x" * 9000])
def test_what_comes_before_the_answer_ends_the_connection(signet, context, early):
    """Autobahn would take it for a second handshake, and keep as much of it as comes."""
    answer = ask(signet, context, request(ECHO) + early)
    assert (answer.status, answer.body) == (400, b"Wait for the answer before you send.")


def test_endpoints_that_are_not_main_have_no_sockets(signet):
    with Client(signet.enrol, signet.client_context()) as client:
        assert client.ask(request(ECHO)).status == 404


def test_close_code_and_reason_come_back(signet, context):
    with Client(signet.main, context) as client:
        assert client.ask(request(ECHO)).status == 101
        client.send(close(4321, b"enough"))
        (end,) = client.receive_all()
        assert (close_code(end.payload), end.payload[2:]) == (4321, b"enough")
