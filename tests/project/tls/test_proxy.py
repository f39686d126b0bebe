"""PROXY headers: as bytes, and on real endpoints before TLS and before HTTP."""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import socket
import ssl
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.tls import proxy
from project.tls.listeners import Wanted
from project.tls.proxy import Header, ProxyHeaderError, parse

V4, V6 = 0x11, 0x21
ALICE, FRONT = ("203.0.113.7", 51234), ("192.0.2.1", 443)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ports = st.integers(0, 65535)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def binary(family: int, body: bytes, *, command: int = 0x21, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return proxy.SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + body


def body(client: tuple[str, int], server: tuple[str, int], extras: bytes = b"") -> bytes:
    hosts = (ipaddress.ip_address(each[0]).packed for each in (client, server))
    numbers = (each[1].to_bytes(2, "big") for each in (client, server))
    return b"".join([*hosts, *numbers, extras])


def with_checksum(extras: bytes) -> bytes:
    blank = binary(V4, body(ALICE, FRONT, extras + tlv(proxy.CRC32C, bytes(4))))
    return blank[:-4] + proxy.crc32c(blank).to_bytes(4, "big")


GOOD = binary(V4, body(ALICE, FRONT))
GOOD_LINE = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"


# --- bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "client", "server"),
    [
        (GOOD, ALICE, FRONT),
        (GOOD_LINE, ALICE, FRONT),
        (binary(V6, body(("2001:db8::7", 1), ("::1", 2))), ("2001:db8::7", 1), ("::1", 2)),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", ("2001:db8::7", 1), ("::1", 2)),
        (binary(V6, body(("::ffff:203.0.113.7", 1), ("::1", 2))), ("203.0.113.7", 1), ("::1", 2)),
        (binary(V4, body(ALICE, FRONT, tlv(0x20, b"x" * 300) + tlv(4, b""))), ALICE, FRONT),
        (with_checksum(tlv(0x05, b"id")), ALICE, FRONT),
        (binary(0, b"", command=0x20), None, None),
        (binary(V4, body(ALICE, FRONT), command=0x20), None, None),
        (binary(0xFF, b"anything", command=0x20), None, None),
    ],
)
def test_header_tells_both_ends(data, client, server):
    assert parse(data + b"\x16\x03\x01") == Header(len(data), client, server)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01", "does not begin with"),
        (b"GET / HTTP/1.1\r\n", "does not begin with"),
        (b"PROXYTCP4 ", "does not begin with"),
        (proxy.SIGNATURE[:-1] + b"X", "does not begin with"),
        (binary(V4, body(ALICE, FRONT), command=0x11), "version or command"),
        (binary(V4, body(ALICE, FRONT), command=0x22), "version or command"),
        (binary(V4, b"", length=proxy.MAX_HEADER), "longer than"),
        (binary(0x12, body(ALICE, FRONT)), "not about TCP"),
        (binary(0x31, bytes(216)), "not about TCP"),
        (binary(0x00, b""), "not about TCP"),
        (binary(0x00, body(ALICE, FRONT)), "not about TCP"),
        (b"PROXY UNKNOWN\r\n", "malformed"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "malformed"),
        (binary(V4, body(ALICE, FRONT)[:-1]), "too short"),
        (binary(V6, body(ALICE, FRONT)), "too short"),
        (binary(V4, body(ALICE, FRONT, b"\x04\x00")), "beyond its end"),
        (binary(V4, body(ALICE, FRONT, b"\x04\x00\x02x")), "beyond its end"),
        (with_checksum(b"")[:-1] + b"!", "checksum"),
        (binary(V4, body(ALICE, FRONT, tlv(proxy.CRC32C, b"1"))), "checksum"),
        (b"PROXY " + b"x" * 101, "longer than"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 1\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.7  192.0.2.1 51234 443\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 051234 443\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 443\r\n", "malformed"),
        (b"PROXY TCP4 ::1 192.0.2.1 1 443\r\n", "malformed"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.\xb7 192.0.2.1 1 443\r\n", "malformed"),
        (b"PROXY UDP4 203.0.113.7 192.0.2.1 1 443\r\n", "malformed"),
    ],
)
def test_what_is_no_header_is_refused_with_the_reason(data, reason):
    with pytest.raises(ProxyHeaderError, match=reason):
        parse(data)


@pytest.mark.parametrize("data", [GOOD, GOOD_LINE, with_checksum(b"")])
def test_header_in_pieces_is_waited_for(data):
    for end in range(len(data)):
        assert parse(data[:end]) is None
    assert parse(data) == Header(len(data), ALICE, FRONT)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", proxy.SIGNATURE, GOOD[:14]]))
def test_whatever_comes_is_a_header_or_not_yet_or_refused(rest, start):
    try:
        header = parse(start + rest)
    except ProxyHeaderError:
        return
    if header is not None:
        assert header.size <= len(start + rest)
        assert parse((start + rest)[: header.size]) == header


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), ports, ports)
def test_both_versions_say_the_same(theirs, ours, from_port, to_port):
    client, server = (str(theirs), from_port), (str(ours), to_port)
    line = f"PROXY TCP4 {theirs} {ours} {from_port} {to_port}\r\n".encode()
    one, two = parse(line), parse(binary(V4, body(client, server)))
    assert one is not None
    assert two is not None
    assert (one.client, one.server) == (two.client, two.server) == (client, server)


def test_checksum_is_the_one_of_castagnoli():
    assert proxy.crc32c(b"123456789") == 0xE3069283  # the check value of its catalogue entry
    assert proxy.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("192.0.2.9", True),
        ("192.0.3.9", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8::1%eth0", True),
        ("2001:db9::1", False),
        ("", False),
    ],
)
def test_proxies_are_listed_by_address_or_network(address, listed):
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::1"))
    assert proxy.is_listed(address, networks) is listed


# --- endpoints ------------------------------------------------------------------------------


def serve(ground, *, listed="127.0.0.1", tls=True, mode="none", **settings):
    networks = tuple(ipaddress.ip_network(each) for each in listed.split())
    plain = ground.wanted(mode, tls=tls)
    expecting = dataclasses.replace(plain.settings, proxy="protocol", proxies=networks, **settings)
    wanted = Wanted(expecting, plain.contexts)
    ground.on_loop(ground.ports.start, [wanted])
    return wanted.settings.port


def peer_of(ground) -> tuple[str, int]:
    return ground.on_loop(lambda: ground.factory.built[-1].transport.connection.peer)


def talk(ground, port: int, header: bytes, *, step: int = 10_000) -> bytes:
    """Send a header in pieces, shake hands behind it, and have something echoed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(header), step):
            raw.sendall(header[start : start + step])
            if step < len(header):
                time.sleep(0.002)
        return echoed(ground, raw)


def echoed(ground, raw: socket.socket) -> bytes:
    """A handshake and a word: over a connection that was reset, Python forgets the former."""
    with ground.world.client().wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(b"hello")
        return tls.recv(100)


def is_hung_up_on(port: int, data: bytes) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        try:
            raw.sendall(data)
            return raw.recv(100) == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("header", [GOOD, GOOD_LINE, with_checksum(tlv(0x05, b"id"))])
def test_client_behind_a_proxy_is_known_by_its_own_address(ground, header):
    assert talk(ground, serve(ground), header) == b"hello"
    assert peer_of(ground) == ALICE
    connection = ground.factory.built[-1].transport.connection
    assert connection.host == FRONT
    facts = connection.extensions["signet.connection"]
    assert (facts.proxy, facts.via) == ("protocol", "127.0.0.1")


@pytest.mark.parametrize("header", [GOOD, GOOD_LINE])
def test_header_may_come_byte_by_byte(ground, header):
    assert talk(ground, serve(ground), header, step=1) == b"hello"
    assert peer_of(ground) == ALICE


def test_header_and_hello_may_come_in_one_segment(ground):
    port = serve(ground, tls=False)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(GOOD + b"hello")
        assert raw.recv(100) == b"hello"
    assert peer_of(ground) == ALICE


def test_proxy_that_speaks_for_itself_keeps_its_address(ground):
    assert talk(ground, serve(ground), binary(0, b"", command=0x20)) == b"hello"
    assert peer_of(ground)[0] == "127.0.0.1"


@pytest.mark.parametrize("tls", [True, False])
def test_peer_that_is_not_listed_is_hung_up_on(ground, caplog, tls):
    port = serve(ground, listed="192.0.2.0/24 ::1", tls=tls)
    with caplog.at_level(logging.WARNING, "project.tls"):
        assert is_hung_up_on(port, GOOD + b"hello")
    assert proxy.NOT_LISTED in caplog.text
    assert ground.factory.built == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin with a PROXY header"),
        (b"\x16\x03\x01\x02\x00\x01", "does not begin with a PROXY header"),
        (binary(V4, b"", length=60_000), "longer than"),
        (b"PROXY TCP4 nobody\r\n", "malformed"),
    ],
)
def test_listed_peer_without_a_sound_header_is_hung_up_on(ground, caplog, data, reason):
    with caplog.at_level(logging.WARNING, "project.tls"):
        assert is_hung_up_on(serve(ground, tls=False), data)
    assert reason in caplog.text
    assert ground.factory.built == []


def test_header_that_does_not_end_runs_into_the_deadline(ground, caplog):
    port = serve(ground, tls=False, handshake_seconds=0.3)
    with caplog.at_level(logging.WARNING, "project.tls"):
        assert is_hung_up_on(port, GOOD[:-1])
    assert "not complete after 0.3 s" in caplog.text


def test_limit_for_an_address_counts_clients_and_not_their_proxy(ground):
    port = serve(ground, tls=False, max_per_address=1)
    bob = binary(V4, body(("203.0.113.8", 1), FRONT))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as first:
        first.sendall(GOOD + b"hello")
        assert first.recv(100) == b"hello"
        assert is_hung_up_on(port, GOOD + b"hello")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as other:
            other.sendall(bob + b"hello")
            assert other.recv(100) == b"hello"


@pytest.mark.parametrize("header", [GOOD, GOOD_LINE])
def test_forged_header_fails_the_handshake_where_none_is_expected(ground, header):
    port = ground.serve("none")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(header)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            echoed(ground, raw)
    assert ground.factory.built == []


@pytest.mark.parametrize("header", [GOOD, GOOD_LINE])
def test_forged_header_is_a_bad_request_where_none_is_expected(serving, header):
    with socket.create_connection(("127.0.0.1", serving.plain), timeout=30) as raw:
        raw.sendall(header + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
