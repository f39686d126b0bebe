"""How the server stops."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tests.project.tls.conftest import receive_all, stoppable
from tests.project.tls.test_connection import until
from tests.project.tls.test_listeners import is_refused
from tests.project.tls.test_websocket import closing, open_socket

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


def one_answer(client):
    """An answer that leaves the connection open: in chunks, the last of which is empty."""
    answer = b""
    while not answer.endswith(b"\r\n0\r\n\r\n"):
        part = client.recv(10_000)
        assert part
        answer += part
    return answer


def no_longer_accepts(mortal):
    until(lambda: is_refused(mortal.secure))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_connection_is_closed_and_the_server_ends_with_success(mortal, number):
    with mortal.connect() as idle:
        idle.sendall(GET % b"/")
        one_answer(idle)
        mortal.stop(number)
        assert idle.recv(10_000) == b""
    assert mortal.process.wait(30) == 0


def test_kept_alive_connection_gets_one_more_answer(patient):
    with patient.connect() as client:
        client.sendall(GET % b"/")
        assert b"onnection: close" not in one_answer(client)
        patient.stop()
        no_longer_accepts(patient)
        client.sendall(GET % b"/")
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"onnection: close" in answer
    assert patient.process.wait(30) == 0


def test_connection_of_this_moment_is_served(patient):
    with socket.create_connection(("127.0.0.1", patient.secure), timeout=30) as accepted:
        patient.get("/")  # by now the other one has been accepted as well
        patient.stop()
        no_longer_accepts(patient)
        with patient.world.client().wrap_socket(accepted, server_hostname="localhost") as client:
            client.sendall(GET % b"/")
            answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"onnection: close" in answer


def test_connection_of_this_moment_that_asks_nothing_is_closed(mortal):
    with socket.create_connection(("127.0.0.1", mortal.secure), timeout=30) as accepted:
        mortal.get("/")
        mortal.stop()
        no_longer_accepts(mortal)
        with mortal.world.client().wrap_socket(accepted, server_hostname="localhost") as client:
            assert client.recv(10) == b""


def test_upload_under_way_is_finished(world):
    with stoppable(world, last_call=0.5, drain=60) as mortal, mortal.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n")
        client.sendall(b"x" * 10)
        mortal.get("/")
        mortal.stop()
        no_longer_accepts(mortal)
        time.sleep(1)  # longer than the last call
        client.sendall(b"x" * 10)
        answer = receive_all(client)
    assert b'"body": 20' in answer
    assert b"onnection: close" in answer


def test_websocket_of_this_moment_is_accepted_before_it_gets_1001(patient):
    accepted = patient.connect()
    patient.get("/")  # by now the other one has been accepted as well
    patient.stop()
    no_longer_accepts(patient)
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key
    accepted.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\r\n")
    head, _, frame = receive_all(accepted).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert frame[2:4] == (1001).to_bytes(2, "big")
    accepted.close()


async def test_websockets_get_1001(mortal):
    async with open_socket(mortal) as socket:
        mortal.stop()
        closed = await closing(socket)
    assert (closed.rcvd.code, closed.rcvd.reason) == (1001, "the server is stopping")
    assert mortal.process.wait(30) == 0


def test_running_request_is_finished_and_new_ones_are_not_accepted(patient, tmp_path):
    end = tmp_path / "end"
    with patient.connect() as client:
        client.sendall(GET % b"/until?%s" % bytes(end))
        patient.get("/")  # by now the other one is asked for as well
        patient.stop()
        no_longer_accepts(patient)
        end.touch()
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"onnection: close" in answer
    assert patient.process.wait(30) == 0


def test_endless_request_is_cut_after_five_seconds(mortal):
    with mortal.connect() as client:
        client.sendall(GET % b"/forever")
        mortal.get("/")
        began = time.monotonic()
        mortal.stop()
        assert mortal.process.wait(30) == 0
        assert time.monotonic() - began > 4


def test_second_signal_ends_at_once(patient):
    with patient.connect() as client:
        client.sendall(GET % b"/forever")
        patient.get("/")
        patient.stop()
        no_longer_accepts(patient)
        patient.stop()
        assert patient.process.wait(30) == 128 + signal.SIGTERM
