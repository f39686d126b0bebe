"""Real HAProxy and nginx, running the files of docs/deploy with other ports and paths."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def rendered(name: str, replacements: Mapping[str, str]) -> str:
    """A file of docs/deploy with what differs here; every replacement has to be found in it."""
    text = (DEPLOY / name).read_text()
    for old, new in replacements.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def haproxy(directory: Path, text: str, port: int) -> Iterator[None]:
    directory.mkdir()
    file = directory / "haproxy.cfg"
    file.write_text(text.replace("maxconn 10000", "maxconn 100"))  # files that a machine may open
    with _running(["haproxy", "-db", "-f", str(file)], directory, port):
        yield


@contextmanager
def nginx(directory: Path, *, port: int, http: str = "", stream: str = "") -> Iterator[None]:
    """nginx as Debian sets it up, but for its own paths; `http` goes into http {}."""
    directory.mkdir()
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{one}_temp_path {directory / one};" for one in paths)
    inside = f"http {{ access_log off;\n{temporary}\n{http}\n}}" if http else ""
    module = f"load_module {STREAM_MODULE};" if stream else ""
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    text = f"""{module}
{user}
daemon off;
pid {directory / "nginx.pid"};
error_log stderr warn;
events {{ worker_connections 256; }}
{inside}
{stream}
"""
    file = directory / "nginx.conf"
    file.write_text(text)
    command = ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(file)]
    with _running(command, directory, port):
        yield


@contextmanager
def _running(command: list[str], directory: Path, port: int) -> Iterator[None]:
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert process.poll() is None, f"{command[0]} ended at once:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} is silent:\n{log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
