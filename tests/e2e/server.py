"""A real Signet, started the way people start it, in a directory and on ports of its own."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT = 90


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Signet:
    """One deployment; `start` and `kill` may alternate, what it wrote stays."""

    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.main, self.enrol, self.public, self.required = free_ports(4)
        self.process: subprocess.Popen[str] | None = None
        self.log = self.home.parent / f"{self.home.name}.log"

    @property
    def environment(self) -> dict[str, str]:
        passed = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNET_", "DJANGO_"))}
        for service in ("DATABASE_URL", "REDIS_URL"):
            passed.pop(service, None)
        return {
            **passed,
            "SIGNET_HOME": str(self.home),
            "SIGNET_PORT": str(self.main),
            "SIGNET_ENROL_PORT": str(self.enrol),
            "SIGNET_HTTP_PORT": str(self.public),
            "SIGNET_DRAIN_SECONDS": "10",  # less than `stop` waits
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    def shell(self, code: str) -> str:
        """Run Python inside the deployment; its output."""
        return self.manage("shell", "--no-imports", "-c", code).stdout

    def set_up(self) -> str:
        """Migrate and bootstrap; returns what bootstrap printed."""
        if "DATABASE_URL" in self.extra:
            self.manage("migrate", "--verbosity", "0")
        else:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(_migrated(), self.home)
        return self.manage("bootstrap").stdout

    def start(self, *command: str) -> None:
        """Start the server (or another command that ends in serving) and wait until it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command or (sys.executable, "manage.py", "serve"),
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log.read_text()}")
            if all(map(_answers, (self.main, self.enrol, self.public))):
                return
            time.sleep(0.1)
        raise AssertionError(f"the server does not answer:\n{self.log.read_text()}")

    def stop(self, *, by: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        """End the whole process group and return the exit code of the command."""
        assert self.process is not None
        os.killpg(self.process.pid, by)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def kill(self) -> None:
        """kill -9: nothing gets a chance to tidy up."""
        self.stop(by=signal.SIGKILL)

    @property
    def root(self) -> Path:
        return self.home / "signet-root.pem"

    def url(self, path: str = "/", *, port: int | None = None) -> str:
        return f"https://localhost:{port or self.main}{path}"

    def printed_link(self) -> str:
        """The enrolment link in what the server printed so far."""
        found = re.findall(r"https://\S+/enrol/\S+/", self.log.read_text())
        assert found, self.log.read_text()
        return str(found[-1])

    def issue(self, username: str, *arguments: str) -> Path:
        """A PEM identity (key, certificate, chain) for a person, made by the command line."""
        out = self.home.parent / f"{username}-{time.monotonic_ns()}.pem"
        self.manage("issue_certificate", username, "--create-user", "--out", str(out), *arguments)
        return out

    def client_context(self, identity: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root))
        if identity:
            context.load_cert_chain(identity)
        return context


@cache
def _migrated() -> Path:
    """A database without content: to migrate takes longer than anything else in a set-up."""
    directory = tempfile.mkdtemp(prefix="signet-migrated-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    first = Signet(Path(directory) / "var")
    first.manage("migrate", "--verbosity", "0")
    return first.home / "signet.sqlite3"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
