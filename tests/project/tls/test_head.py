"""Heads that two programs could read differently are refused, by the rules and by the server."""

from __future__ import annotations

import socket

import pytest
from twisted.web.http_headers import Headers

from project.tls import head
from tests.project.tls.conftest import receive_all

GOOD = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
BAD = {
    "no Host": GOOD.replace(b"Host: localhost\r\n", b"") + b"\r\n",
    "two Hosts": GOOD + b"Host: other\r\n\r\n",
    "same Host twice": GOOD + b"Host: localhost\r\n\r\n",
    "blank before the colon": GOOD.replace(b"Host:", b"Host :") + b"\r\n",
    "absolute target": GOOD.replace(b" / ", b" https://localhost/ ") + b"\r\n",
    "authority target": GOOD.replace(b"GET /", b"CONNECT localhost:443") + b"\r\n",
    "relative target": GOOD.replace(b" / ", b" index.html ") + b"\r\n",
    "two blanks": GOOD.replace(b" / ", b"  / ") + b"\r\n",
    "tab": GOOD.replace(b" / ", b"\t/ ") + b"\r\n",
    "no version": GOOD.replace(b" HTTP/1.1", b"") + b"\r\n",
    "version 2": GOOD.replace(b"/1.1", b"/2.0") + b"\r\n",
    "blank first": b" " + GOOD + b"\r\n",
    "folded header": GOOD + b"X: a\r\n b\r\n\r\n",
    "folded by a tab": GOOD + b"X: a\r\n\tContent-Length: 5\r\n\r\n",
    "bare LF": GOOD.replace(b"\r\n", b"\n") + b"\n",
    "one bare LF": GOOD + b"X: a\nContent-Length: 5\r\n\r\n",
    "bare LF at the end": GOOD + b"X: a\n\n",
    "bare CR": GOOD + b"X: a\rContent-Length: 5\r\n\r\n",
    "NUL in a value": GOOD + b"X: a\x00b\r\n\r\n",
    "NUL in a name": GOOD + b"X\x00: a\r\n\r\n",
    "no colon": GOOD + b"X\r\n\r\n",
    "no name": GOOD + b": a\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "length in hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "empty length": POST + b"Content-Length:\r\n\r\nabc",
    "length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + CHUNKS,
    "identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNKS,
    "chunked, identity":
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKS,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked by tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS,
    "chunks in 1.0":
        POST.replace(b"/1.1", b"/1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "signed chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk in 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk ends in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n\r\n\r\n",
    "chunk too long": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_ambiguous_request_is_a_bad_one_and_the_last(serving, name):
    with socket.create_connection(("127.0.0.1", serving.plain), timeout=30) as client:
        client.sendall(BAD[name] + GOOD + b"\r\n")
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b".\n")


def test_head_of_bare_line_feeds_is_refused_at_once(serving):
    answer = serving.request(GOOD.replace(b"\r\n", b"\n") + b"\n")
    assert answer.startswith(b"HTTP/1.1 400 ")  # not 408, after the time for a head


@pytest.mark.parametrize(
    "good",
    [
        GOOD + b"\r\n",
        b"\r\n" + GOOD + b"\r\n",
        GOOD.replace(b"/1.1", b"/1.0") + b"\r\n",
        GOOD.replace(b"/1.1", b"/1.0").replace(b"Host: localhost\r\n", b"") + b"\r\n",
        GOOD.replace(b"Host: ", b"hOST:") + b"\r\n",
        POST + b"Content-Length: 003\r\n\r\nabc",
        POST + b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_good_request_is_served(serving, good):
    assert serving.request(good)[8:].startswith(b" 200 ")


def test_pipelined_requests_are_answered_in_order(serving):
    slow = GOOD.replace(b"GET / ", b"GET /slow ").replace(b"close", b"keep-alive")
    large = GOOD.replace(b"GET / ", b"GET /large?1 ")
    answer = serving.request(slow + b"\r\n" + large + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"endpoint"') < answer.index(b"xxxx")


def test_rules_name_what_is_wrong():
    one = Headers({b"host": [b"a"]})
    assert head.fault(target=b"/", version=b"HTTP/1.1", headers=one) is None
    assert head.fault(target=b"/", version=b"HTTP/1.0", headers=Headers()) is None
    for target, version, headers in [
        (b"/", b"HTTP/1.1", Headers()),
        (b"/", b"HTTP/1.0", Headers({b"host": [b"a", b"b"]})),
        (b"*", b"HTTP/1.1", one),
        (b"/", b"HTTP/1.1", Headers({b"host": [b"a"], b"transfer-encoding": [b"identity"]})),
    ]:
        assert head.fault(target=target, version=version, headers=headers)


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ([b"websocket"], True),
        ([b"h2c", b"a, WebSocket"], True),
        ([b"websocket/2"], False),
        ([], False),
    ],
)
def test_upgrade_is_a_list_without_case(values, asks):
    assert head.asks_for_websocket(Headers({b"upgrade": values})) is asks
