"""manage.py serve: what it prints, and what it refuses in one sentence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.tls.conftest import free_port, receive_all

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def environment(tmp_path):
    ports = ("SIGNET_PORT", "SIGNET_ENROL_PORT", "SIGNET_HTTP_PORT")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "DJANGO_"))}
    kept.pop("DATABASE_URL", None)
    return (
        kept | {name: str(free_port()) for name in ports} | {"SIGNET_HOME": str(tmp_path / "home")}
    )


def manage(environment, *arguments):
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=180
    )


@pytest.fixture
def home(environment):
    for command in (["migrate", "-v0"], ["bootstrap"]):
        done = manage(environment, *command)
        assert done.returncode == 0, done.stderr
    return Path(environment["SIGNET_HOME"])


def test_empty_database_is_refused(environment):
    for command in ("serve", "bootstrap"):
        done = manage(environment, command)
        assert done.returncode == 1
        assert done.stderr == (
            "CommandError: The database is empty, or older than this Signet. "
            "Run: manage.py migrate\n"
        )


def test_database_that_is_not_there_is_refused(environment):
    nowhere = {**environment, "DATABASE_URL": "postgres://signet@127.0.0.1:1/signet"}
    done = manage(nowhere, "serve")
    assert done.returncode == 1
    assert "The database cannot be read: " in done.stderr
    assert "Traceback" not in done.stderr


def test_reader_who_has_had_enough_is_no_failure(environment, home):
    command = f"{sys.executable} manage.py list_endpoints | true"
    done = subprocess.run(
        ["bash", "-c", f"{command}; {command.replace('true', 'head -1')}"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("main | on | ")


def test_missing_master_key_is_refused(environment, home):
    (home / "master.key").unlink()
    done = manage(environment, "serve")
    assert done.returncode == 1
    assert "The master key" in done.stderr
    assert "is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port_is_refused(environment, home):
    with socket.create_server(("127.0.0.1", int(environment["SIGNET_ENROL_PORT"]))):
        done = manage(environment, "serve")
    assert done.returncode == 1
    assert f"Port {environment['SIGNET_ENROL_PORT']} on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_endpoints_are_refused(environment, home):
    code = "from pki.models import Endpoint; Endpoint.objects.update(enabled=False)"
    assert manage(environment, "shell", "-c", code).returncode == 0
    done = manage(environment, "serve")
    assert done.returncode == 1
    assert "no endpoint is enabled. Run: manage.py bootstrap" in done.stderr


def test_serves_three_endpoints_and_stops_on_ctrl_c(environment, home):
    command = [sys.executable, "manage.py", "serve"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        assert [line.split()[:2] for line in lines] == [
            ["Listening:", "main"],
            ["Listening:", "enrol"],
            ["Listening:", "public"],
        ]
        public = int(environment["SIGNET_HTTP_PORT"])
        with socket.create_connection(("127.0.0.1", public), timeout=30) as client:
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert receive_all(client).startswith(b"HTTP/1.1 ")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_watchdog_of_systemd_hears_of_the_process_that_serves(environment, home, tmp_path):
    notify = str(tmp_path / "notify")
    told = {**environment, "NOTIFY_SOCKET": notify, "WATCHDOG_USEC": "200000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(notify)
        manager.settimeout(60)
        process = subprocess.Popen([sys.executable, "manage.py", "serve"], cwd=REPOSITORY, env=told)
        try:
            heard = [manager.recv(100) for _ in range(4)]
        finally:
            process.kill()
            process.wait()
    assert heard == [b"READY=1", *[b"WATCHDOG=1"] * 3]
