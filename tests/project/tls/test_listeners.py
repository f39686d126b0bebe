"""Ports come, go and change under way."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from project.tls.binding import ListenError, OwnSockets
from project.tls.listeners import Listeners
from tests.project.tls.conftest import free_port
from tests.project.tls.test_connection import until


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it came while the port was being closed; the next one is refused
    return False


def test_reload_serves_new_trust_and_drops_nobody(ground):
    wanted = ground.wanted("required")
    port = wanted.settings.port
    ground.on_loop(ground.ports.start, [wanted])
    with ground.connect(port, "good") as live:
        live.sendall(b"x")
        assert live.recv(1) == b"x"
        revoked = ground.world.trust(ground.world.clients["good"], number=2)
        ground.on_loop(ground.ports.apply, [ground.wanted("required", revoked, port=port)])
        live.sendall(b"still here")
        assert live.recv(20) == b"still here"
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
            ground.connect(port, "good").recv(1)


def test_endpoint_turns_from_plain_to_tls_and_back(ground):
    plain = ground.wanted(tls=False)
    port = plain.settings.port
    ground.on_loop(ground.ports.start, [plain])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as live:
        live.sendall(b"x")
        assert live.recv(1) == b"x"  # it has been accepted
        ground.on_loop(ground.ports.apply, [ground.wanted(port=port)])
        with ground.connect(port) as secure:
            secure.sendall(b"tls")
            assert secure.recv(5) == b"tls"
        live.sendall(b"plain")
        assert live.recv(5) == b"plain"
    ground.on_loop(ground.ports.apply, [plain])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as again:
        again.sendall(b"plain")
        assert again.recv(5) == b"plain"


def test_other_port_moves_the_listener_and_keeps_live_connections(ground):
    wanted = ground.wanted()
    ground.on_loop(ground.ports.start, [wanted])
    with ground.connect(wanted.settings.port) as live:
        live.sendall(b"x")
        assert live.recv(1) == b"x"
        moved = ground.wanted()
        assert ground.on_loop(ground.ports.apply, [moved])
        until(lambda: is_refused(wanted.settings.port))
        live.sendall(b"still here")
        assert live.recv(20) == b"still here"
        ground.connect(moved.settings.port).close()


def test_disabled_endpoint_stops_and_says_goodbye(ground):
    wanted = ground.wanted()
    ground.on_loop(ground.ports.start, [wanted])
    with ground.connect(wanted.settings.port) as live:
        live.sendall(b"x")
        assert live.recv(1) == b"x"
        ground.on_loop(ground.ports.apply, [])
        assert live.recv(10) == b"going"
        assert live.recv(10) == b""
    until(lambda: is_refused(wanted.settings.port))


def test_two_endpoints_swap_their_ports(ground):
    first, second = ground.wanted(name="a"), ground.wanted(name="b", tls=False)
    ground.on_loop(ground.ports.start, [first, second])
    a, b = first.settings.port, second.settings.port
    assert ground.on_loop(
        ground.ports.apply,
        [ground.wanted(name="a", port=b), ground.wanted(name="b", port=a, tls=False)],
    )
    ground.connect(b).close()


def test_taken_port_at_the_start_is_a_clear_refusal(ground):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"Port {port} on 127.0.0.1 .endpoint main. is taken"):
            ground.on_loop(ground.ports.start, [ground.wanted(port=port)])


def test_taken_port_later_is_logged_once_and_tried_again(ground, caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        wanted = ground.wanted(port=other.getsockname()[1])
        assert not ground.on_loop(ground.ports.apply, [wanted])
        assert not ground.on_loop(ground.ports.apply, [wanted])
        assert caplog.text.count("is taken by another program") == 1
    assert ground.on_loop(ground.ports.apply, [wanted])
    ground.connect(wanted.settings.port).close()


def test_endpoint_that_breaks_unexpectedly_keeps_no_other_from_following(
    ground, monkeypatch, caplog
):
    wanted = ground.wanted("required")
    port = wanted.settings.port
    ground.on_loop(ground.ports.start, [wanted])
    take = OwnSockets.take

    async def odd(self, name, place):
        if name == "odd":
            raise ZeroDivisionError("nobody thought of this")
        return await take(self, name, place)

    monkeypatch.setattr(OwnSockets, "take", odd)
    revoked = ground.world.trust(ground.world.clients["good"], number=2)
    all_of_them = [ground.wanted(name="odd"), ground.wanted("required", revoked, port=port)]
    assert not ground.on_loop(ground.ports.apply, all_of_them)
    assert not ground.on_loop(ground.ports.apply, all_of_them)

    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
        ground.connect(port, "good").recv(1)
    assert caplog.text.count("Endpoint odd cannot listen") == 1
    assert "nobody thought of this" in caplog.text
    monkeypatch.undo()
    assert ground.on_loop(ground.ports.apply, all_of_them)
    ground.connect(all_of_them[0].settings.port).close()


def test_socket_that_cannot_be_served_is_closed_and_given_back(ground, monkeypatch, caplog):
    taken, given_back = [], []

    class Sockets(OwnSockets):
        async def take(self, name, place):
            taken.append(await super().take(name, place))
            return taken[-1]

        def give_back(self, place):
            given_back.append((place, taken[-1].fileno()))

    async def fail(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    ports = Listeners(Sockets())
    wanted = ground.wanted()
    port = wanted.settings.port
    with monkeypatch.context() as patch:
        patch.setattr(ground.loop, "create_server", fail)
        assert not ground.on_loop(ports.apply, [wanted])
    assert given_back == [(("127.0.0.1", port), -1)]
    assert f"cannot listen on 127.0.0.1:{port}: Cannot allocate memory." in caplog.text


def test_stop_waits_for_goodbyes_then_cuts(ground):
    port = ground.serve(port=free_port())
    with ground.connect(port) as live:
        live.sendall(b"x")
        assert live.recv(1) == b"x"
        ground.on_loop(lambda: ground.ports.stop(patience=0.2))
        assert ground.ports.connections() == []
        assert live.recv(10) == b"going"
