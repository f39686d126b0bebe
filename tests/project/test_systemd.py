"""Sockets that were opened for us, and what is told in return."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys

import pytest

from project import systemd

TAKEN = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
from project import systemd
found = systemd.sockets()
print([one.getsockname() for one in found], [name for name in os.environ if "LISTEN" in name])
print([one.get_inheritable() for one in found])
"""


def start_with_sockets(whose: str) -> tuple[list[object], list[str]]:
    """What a program finds that was started with two sockets as 3 and 4, as systemd does it."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        arrange = f"exec {sys.executable} -c '{TAKEN}' {whose} 3<&{tcp.fileno()} 4<&{unix.fileno()}"
        done = subprocess.run(
            ["bash", "-c", arrange],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"},
            pass_fds=[tcp.fileno(), unix.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
        return [tcp.getsockname()], done.stdout.splitlines()


def test_listening_sockets_are_taken_once_and_not_passed_on():
    opened, (found, inheritable) = start_with_sockets("ours")
    assert found == f"{opened} []"
    assert inheritable == "[False]"


def test_sockets_of_another_process_are_left_alone():
    _, (found, _) = start_with_sockets("theirs")
    assert found == "[] []"


def test_manager_hears_the_state(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        systemd.Manager(environ).tell("READY=1", "STATUS=Serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=Serving"
        assert environ == {}


def test_no_manager_is_no_trouble(tmp_path):
    systemd.Manager({}).tell("READY=1")
    systemd.Manager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell("READY=1")


def test_manager_that_does_not_read_keeps_nobody(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        filling.setblocking(False)
        with filling, contextlib.suppress(BlockingIOError):
            while True:
                filling.sendto(b"x", str(tmp_path / "notify"))
        systemd.Manager({"NOTIFY_SOCKET": str(tmp_path / "notify")}).tell("STATUS=Serving")


async def test_watchdog_hears_twice_in_its_time_that_the_event_loop_goes_round(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "200000",
            "WATCHDOG_PID": str(os.getpid()),
        }
        one = systemd.Manager(environ)
        assert environ == {}
        loop = asyncio.get_running_loop()
        began = loop.time()
        one.feed()
        for _ in range(5):
            async with asyncio.timeout(30):
                assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
        assert loop.time() - began >= 4 * 0.1 - 0.01


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
async def test_watchdog_that_is_not_there_or_not_for_us_hears_nothing(tmp_path, watchdog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        systemd.Manager({"NOTIFY_SOCKET": str(tmp_path / "notify"), **watchdog}).feed()
        await asyncio.sleep(0.1)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
