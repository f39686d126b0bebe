"""How the server stops."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from tests.project.tls.test_websocket import closing, open_socket

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_stops_at_once_with_success(mortal, number):
    with mortal.connect() as idle:
        idle.sendall(GET % b"/")
        idle.recv(10_000)
        began = time.monotonic()
        mortal.stop(number)
        assert mortal.process.wait(10) == 0
        assert time.monotonic() - began < 2


async def test_websockets_get_1001(mortal):
    async with open_socket(mortal) as socket:
        mortal.stop()
        closed = await closing(socket)
    assert (closed.rcvd.code, closed.rcvd.reason) == (1001, "the server is stopping")
    assert mortal.process.wait(10) == 0


def test_running_request_is_finished_and_new_ones_are_not_accepted(mortal):
    answers = []

    def ask():
        with mortal.connect() as client:
            client.sendall(GET % b"/slow")
            answers.append(client.recv(10_000))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    mortal.stop()
    time.sleep(0.2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mortal.secure))
    asking.join(5)
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert b"onnection: close" in answers[0]
    assert mortal.process.wait(10) == 0


def test_endless_request_is_cut_after_five_seconds(mortal):
    with mortal.connect() as client:
        client.sendall(GET % b"/forever")
        time.sleep(0.2)
        began = time.monotonic()
        mortal.stop()
        assert mortal.process.wait(15) == 0
        assert 4 < time.monotonic() - began < 8


def test_second_signal_ends_at_once(mortal):
    with mortal.connect() as client:
        client.sendall(GET % b"/forever")
        time.sleep(0.2)
        began = time.monotonic()
        mortal.stop()
        time.sleep(0.2)
        mortal.stop()
        assert mortal.process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 2
