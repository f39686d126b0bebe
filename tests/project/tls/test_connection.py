"""What a connection does besides its handshake's verdict: volume, patience, and a clean end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

import pytest

from project.tls import advice, connection
from project.tls.channel import PlainChannel
from project.tls.failures import handshake_failed
from tests.project.tls.conftest import TLS12, TLS13, receive_all

KINDS = pytest.mark.parametrize("kind", [TLS12, TLS13, None], ids=["1.2", "1.3", "plain"])
MEGABYTE = 1024 * 1024


def connect(ground, kind, mode="none"):
    port = ground.serve(mode, tls=kind is not None)
    if kind is None:
        return socket.create_connection(("127.0.0.1", port), timeout=30)
    return ground.connect(port, version=kind)


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def is_cut(client: socket.socket) -> bool:
    """Without a word, or with a reset."""
    try:
        return client.recv(1) == b""
    except (ssl.SSLEOFError, ConnectionResetError):
        return True


@KINDS
async def test_megabytes_travel_both_ways_at_once(ground, kind):
    data = bytes(range(256)) * (16 * MEGABYTE // 256)
    port = ground.serve(tls=kind is not None)
    client = ground.world.client(version=kind) if kind else None
    host = "localhost" if kind else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname=host, limit=MEGABYTE
    )
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 30) == data
    writer.close()


@KINDS
def test_single_bytes_arrive(ground, kind):
    with connect(ground, kind) as client:
        for byte in (b"a", b"b", b"c"):
            client.sendall(byte)
            assert client.recv(10) == byte


@KINDS
def test_slow_reader_pauses_the_producer_and_gets_everything(ground, kind):
    size = 30 * MEGABYTE
    with connect(ground, kind) as client:
        client.sendall(b"send %d" % size)
        until(lambda: ground.factory.built and ground.factory.built[0].paused)
        (server,) = ground.ports.connections()
        assert server.is_congested
        assert server.extensions["signet.connection"].backlog() > MEGABYTE
        assert server._socket.get_write_buffer_size() < 2 * connection.HIGH_WATER
        received = 0
        while received < size:
            received += len(client.recv(1 << 20))
        until(lambda: server.backlog() == 0)
        assert not server.is_congested


@KINDS
def test_close_hands_over_what_was_written_first(ground, kind):
    with connect(ground, kind) as client:
        client.sendall(b"send %d" % (5 * MEGABYTE))
        until(lambda: ground.factory.built and ground.factory.built[0].paused)
        ground.on_loop(ground.factory.built[0].transport.loseConnection)
        time.sleep(0.1)
        assert len(receive_all(client)) == 5 * MEGABYTE
    until(lambda: ground.factory.built[0].lost is not None)
    assert ground.factory.built[0].lost.type.__name__ == "ConnectionDone"


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_close_says_close_notify(ground, version):
    with ground.connect(ground.serve(), version=version, suppress_ragged_eofs=False) as client:
        client.sendall(b"close")
        assert receive_all(client) == b"bye"  # a cut connection would raise SSLEOFError
        client.unwrap()
    until(lambda: ground.ports.connections() == [])


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_peers_close_notify_is_answered(ground, version):
    with ground.connect(ground.serve(), version=version) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        plain = client.unwrap()  # waits for the server's close_notify
        assert plain.recv(1) == b""
    until(lambda: ground.factory.built[0].lost is not None)


@KINDS
def test_abort_resets(ground, kind):
    with connect(ground, kind) as client:
        client.sendall(b"abort")
        assert is_cut(client)
    until(lambda: ground.factory.built[0].lost is not None)
    assert ground.factory.built[0].lost.type.__name__ == "ConnectionAborted"


@KINDS
def test_paused_reading_stops_the_sender_and_goes_on_later(ground, kind):
    with connect(ground, kind) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        echo = ground.factory.built[0]
        ground.on_loop(echo.transport.pauseProducing)
        client.sendall(b"y" * 1000)
        time.sleep(0.1)
        assert echo.received == 1
        ground.on_loop(echo.transport.resumeProducing)
        until(lambda: echo.received == 1001)


def test_peer_that_takes_nothing_is_cut(ground, monkeypatch):
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.1)
    with connect(ground, TLS13) as client:
        client.sendall(b"send %d" % (30 * MEGABYTE))
        until(lambda: ground.factory.built and ground.factory.built[0].lost is not None)


def test_peer_that_does_not_hang_up_is_cut(ground, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.2)
    with connect(ground, TLS13) as client:
        client.sendall(b"close")
        assert receive_all(client) == b"bye"
        until(lambda: ground.factory.built[0].lost is not None)


def test_lingering_connection_holds_nothing_that_was_sent(ground, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 60)
    with connect(ground, TLS13) as client:
        client.sendall(b"close")
        assert receive_all(client) == b"bye"
        (server,) = ground.ports.connections()
        assert server.is_done
        until(lambda: isinstance(server._channel, PlainChannel))


def test_silent_client_meets_the_handshake_deadline(ground, caplog):
    port = ground.serve(handshake_seconds=0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"\x16\x03\x01\x02\x00")  # the beginning of a ClientHello
        assert is_cut(client)
    assert "not complete after 0.2 s" in caplog.text


def test_open_connection_has_no_handshake_deadline(ground):
    port = ground.serve(handshake_seconds=2)
    with ground.connect(port) as client:
        time.sleep(2.2)
        client.sendall(b"still here")
        assert client.recv(20) == b"still here"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
def test_plain_http_on_a_tls_port_gets_a_readable_400(ground, method, caplog):
    port = ground.serve()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(method + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"Write https:// in the address.\n")
    assert "use https:// in the address" in caplog.text


def test_noise_gets_an_alert_and_no_crash(ground, caplog):
    port = ground.serve()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"\x00" * 64)
        receive_all(client)
    until(lambda: ground.ports.connections() == [])
    assert "failed: WRONG_VERSION_NUMBER" in caplog.text or "failed:" in caplog.text


def test_port_check_is_not_logged(ground, caplog):
    socket.create_connection(("127.0.0.1", ground.serve())).close()
    until(lambda: ground.ports.connections() == [])
    assert caplog.text == ""


def test_failed_handshake_is_told_once_with_reason_peer_and_advice(ground, caplog):
    told = []

    def receive(**what):
        told.append(what)

    handshake_failed.connect(receive)
    port = ground.serve("required")
    with ground.connect(port, "revoked") as client:
        host, number = client.getsockname()
        with pytest.raises(ssl.SSLError):
            client.recv(1)
    until(lambda: ground.ports.connections() == [])
    assert [(what["endpoint"], what["reason"]) for what in told] == [
        ("main", "certificate revoked")
    ]
    assert told[0]["peer"] == f"{host}:{number}"
    assert told[0]["advice"] == advice.REVOKED
    (record,) = [r for r in caplog.records if r.name == "project.tls" and "failed" in r.message]
    assert f"main: handshake with {host}:{number} failed: certificate revoked." in record.message


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_alert_arrives_although_the_client_was_still_sending(ground, version):
    """Closing with bytes unread would send a reset, and a reset discards the alert under way."""
    port = ground.serve("required")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ground.world.client("revoked", version).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        handshake(tls, incoming, outgoing, raw)
        raw.sendall(outgoing.read() + b"\x17\x03\x03\x40\x00" * 200_000)
        time.sleep(0.2)
        incoming.write(receive_all(raw))
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
            tls.do_handshake() if version is TLS12 else tls.read(1)


def handshake(tls, incoming, outgoing, raw) -> None:
    """The client's steps up to the flight that holds its certificate, which is not sent yet."""
    for step in range(2):
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            if step == 0:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))


def test_client_that_distrusts_us_is_explained(ground, caplog):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLCertVerificationError):
        ground.connect(ground.serve(), client=client)
    until(lambda: "install the root certificate" in caplog.text)


def test_handshake_that_straddles_a_change_of_trust_is_refused(ground, caplog):
    """A slow client must not be judged by the CRL of the moment when it connected."""
    wanted = ground.wanted("required")
    ground.on_loop(ground.ports.start, [wanted])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ground.world.client("good", TLS12)
    tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", wanted.settings.port), timeout=30) as raw:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        raw.sendall(outgoing.read())
        answer = raw.recv(65536)
        changed = ground.wanted(
            "required",
            ground.world.trust(ground.world.clients["good"], number=2),
            port=wanted.settings.port,
        )
        ground.on_loop(ground.ports.apply, [changed])
        incoming.write(answer)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        raw.sendall(outgoing.read())
        receive_all(raw)
    assert ground.factory.built == []
    assert "trust changed during the handshake" in caplog.text
