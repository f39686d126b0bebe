"""Which socket an endpoint gets, and what it is told when there is none."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from project.tls.binding import ListenError, OwnSockets, place_of, written
from tests.project.tls.conftest import free_port


def take(sockets, place, name="main"):
    return asyncio.run(sockets.take(name, place))


def test_socket_of_systemd_is_taken_where_it_fits():
    with socket.create_server(("127.0.0.1", 0)) as given:
        sockets = OwnSockets([given])
        with take(sockets, place_of(given)) as taken:
            assert os.fstat(taken.fileno()).st_ino == os.fstat(given.fileno()).st_ino
        with take(sockets, place_of(given)) as again:  # an endpoint that was off for a while
            assert again.fileno() > 0
        assert sockets.unused() == []


def test_socket_of_systemd_that_nobody_wants_is_named():
    with socket.create_server(("127.0.0.1", 0)) as given:
        assert OwnSockets([given]).unused() == [
            f"systemd has opened {written(place_of(given))}, which no endpoint uses. "
            "An endpoint takes the socket that has the very address and port of its row."
        ]


def test_other_address_than_systemds_is_a_clear_refusal():
    with socket.create_server(("127.0.0.1", 0)) as given:
        _, port = place_of(given)
        with pytest.raises(ListenError) as refused:
            take(OwnSockets([given]), ("0.0.0.0", port))
    assert str(refused.value) == (
        f"Endpoint main wants 0.0.0.0:{port}, but systemd has opened 127.0.0.1:{port}. "
        "Let both name the same address."
    )


def test_taken_port_is_a_clear_refusal():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ListenError, match=r"\(endpoint main\) is taken by another program\. Stop"),
    ):
        take(OwnSockets(), place_of(other))


def test_address_of_another_machine_is_a_clear_refusal():
    with pytest.raises(ListenError, match=r"no address 192\.0\.2\.1 \(endpoint main\)"):
        take(OwnSockets(), ("192.0.2.1", free_port()))


def test_all_addresses_on_a_machine_without_ipv6_are_a_clear_refusal(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    port = free_port()
    with pytest.raises(ListenError, match=rf"^Endpoint main cannot listen on :: port {port}: \w+"):
        take(OwnSockets(), ("::", port))


@pytest.mark.parametrize("is_given", [True, False])
def test_too_many_open_files_are_a_clear_refusal(monkeypatch, is_given):
    class NoMore(socket.socket):
        def dup(self):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def fail(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with NoMore() as given:
        given.bind(("127.0.0.1", 0))
        place = place_of(given)
        sockets = OwnSockets([given] if is_given else [])
        monkeypatch.setattr(socket, "create_server", fail)
        with pytest.raises(ListenError) as refused:
            take(sockets, place)
    _, port = place
    assert str(refused.value) == (
        f"Endpoint main cannot listen on 127.0.0.1 port {port}: Too many open files."
    )


def test_own_socket_listens_without_delay():
    port = free_port()
    with take(OwnSockets(), ("127.0.0.1", port)) as taken:
        assert place_of(taken) == ("127.0.0.1", port)
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
