"""Limits of an endpoint: over them a connection is closed before any TLS work."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from project.tls import tally
from project.tls.admission import Admission, group
from project.tls.listeners import Wanted

GREETING = b"\x16\x03\x01\x02\x00"  # the beginning of a ClientHello


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_turned_away(port: int) -> bool:
    """Closed at once, with no byte of an answer."""
    with opened(port) as client:
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_of_64_bits_counts_as_one(address, counted_as):
    assert group(address) == counted_as


def test_what_is_released_makes_room_and_leaves_nothing_behind():
    admission = Admission()
    assert admission.admit("192.0.2.7", limit=1)
    assert not admission.admit("::ffff:192.0.2.7", limit=1)
    assert admission.admit("192.0.2.8", limit=1)
    admission.release("192.0.2.7")
    admission.release("192.0.2.8")
    assert not admission._held
    assert admission.admit("192.0.2.7", limit=1)


def test_address_over_its_limit_is_closed_at_once_and_counted(ground, caplog):
    port = ground.serve(max_per_address=2, handshake_seconds=60)
    before = tally.counts().get("turned_away\tmain\taddress", 0)
    with ground.connect(port) as first, opened(port) as second:
        first.sendall(b"hello")
        assert first.recv(5) == b"hello"
        second.sendall(GREETING)
        until(lambda: len(ground.ports.connections()) == 2)
        assert is_turned_away(port)
        assert is_turned_away(port)
        first.sendall(b"still")
        assert first.recv(5) == b"still"
    until(lambda: not ground.ports.connections())
    with ground.connect(port) as again:
        again.sendall(b"again")
        assert again.recv(5) == b"again"
    assert tally.counts()["turned_away\tmain\taddress"] - before == 2
    assert "too many connections from one address" in caplog.text


def test_full_endpoint_closes_at_once_and_counts(ground, caplog):
    port = ground.serve(max_connections=1, handshake_seconds=60)
    before = tally.counts().get("turned_away\tmain\tconnections", 0)
    with ground.connect(port) as only:
        only.sendall(b"hello")
        assert only.recv(5) == b"hello"
        assert is_turned_away(port)
        until(lambda: len(ground.ports.connections()) == 1)
    until(lambda: not ground.ports.connections())
    with ground.connect(port) as next_one:
        next_one.sendall(b"hello")
        assert next_one.recv(5) == b"hello"
    assert tally.counts()["turned_away\tmain\tconnections"] - before == 1
    assert "too many connections" in caplog.text


def test_changed_limit_counts_for_the_next_connection(ground):
    port = ground.serve(max_per_address=1, handshake_seconds=60)
    endpoint = ground.ports.endpoints["main"]
    with opened(port):
        until(lambda: len(ground.ports.connections()) == 1)
        assert is_turned_away(port)
        more = Wanted(replace(endpoint.settings, max_per_address=2), endpoint.contexts)
        ground.on_loop(ground.ports.apply, [more])
        with ground.connect(port) as second:
            second.sendall(b"hello")
            assert second.recv(5) == b"hello"
