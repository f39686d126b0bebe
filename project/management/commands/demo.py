"""Fill an empty deployment with an invented organisation, serve it, and open two of its browsers."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from pki import addresses, handout
from project import demo

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PEOPLE = ("alice", "bob")
BECOME = (
    "To be Alice or Bob: manage.py issue_certificate alice --device laptop --out alice.p12, with the "
    "same SIGNET_HOME, and import the file into a browser."
)
PATIENCE = 60  # seconds for the server to answer


def share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError("more than 0, at most 1")
    return value


class Command(BaseCommand):
    help = "Fill an empty deployment with an invented organisation, serve it, open two browsers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--browser", metavar="COMMAND", help="default: the Chromium found")
        parser.add_argument("--no-browser", action="store_true", help="only fill and serve")
        parser.add_argument(
            "--share", type=share, default=1.0, help="of the histories' length (default: 1)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            demo.fill(at=timezone.now(), tell=self._tell, share=options["share"])
        except demo.InUseError:
            self._tell("There are people here already; nothing was added.")
        call_command("bootstrap", stdout=self.stdout)
        browser = None if options["no_browser"] else self._browser(options["browser"])
        if browser is None:
            self._tell(BECOME)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with tempfile.TemporaryDirectory(prefix="signet-demo-") as folder:
            server = subprocess.Popen([sys.executable, sys.argv[0], "serve"])
            opened: list[subprocess.Popen[bytes]] = []
            try:
                if browser and self._answers(server):
                    opened = [self._open(browser, Path(folder) / name, name) for name in PEOPLE]
                server.wait()
            except KeyboardInterrupt:
                pass  # the server has heard it too
            finally:
                for process in [*opened, server]:
                    process.terminate()
                    process.wait()

    def _tell(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()

    def _browser(self, wanted: str | None) -> list[str] | None:
        if wanted:
            return shlex.split(wanted)
        found = next(filter(None, map(shutil.which, PROGRAMS)), None)
        missing = [tool for tool in ("certutil", "pk12util") if not shutil.which(tool)]
        if found is None or missing:
            lacking = "Chromium" if found is None else " and ".join(missing)
            self._tell(
                f"No browser is opened: {lacking} is not installed here. Get a certificate of your "
                "own with the enrolment link above."
            )
            return None
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            self._tell("No browser is opened: there is no screen here.")
            return None
        return [found]

    def _answers(self, server: subprocess.Popen[bytes]) -> bool:
        end = time.monotonic() + PATIENCE
        port = settings.SIGNET_PORTS["main"]
        while time.monotonic() < end and server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return True
        return False

    def _open(self, browser: list[str], home: Path, username: str) -> subprocess.Popen[bytes]:
        """A profile that lasts as long as the demo, with the person's certificate in its store."""
        store = home / ".pki" / "nssdb"
        store.mkdir(parents=True)
        password, file = home / "password", home / f"{username}.p12"
        password.touch(mode=0o600)
        password.write_text(handout.make_password())
        call_command(
            "issue_certificate",
            username,
            out=str(file),
            device="demo",
            password_file=str(password),
            verbosity=0,
            stdout=StringIO(),
        )
        place, root = f"sql:{store}", settings.SIGNET_HOME / "signet-root.pem"
        _run("certutil", "-N", "-d", place, "--empty-password")
        _run("certutil", "-A", "-d", place, "-t", "C,,", "-n", "Signet", "-i", str(root))
        _run("pk12util", "-d", place, "-i", str(file), "-w", str(password))
        file.unlink()
        password.unlink()
        arguments = [f"--user-data-dir={home / 'profile'}", "--no-first-run"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # it refuses to run as root with one
        self._tell(f"A browser for {username} opens; choose the certificate that it offers.")
        return subprocess.Popen(
            [*browser, *arguments, addresses.url("main")],
            env={**os.environ, "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"{command[0]} failed: {(done.stdout + done.stderr).strip()}")
