"""Real Chromium profiles, each with a certificate store (NSS database) of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

from tests.e2e.server import Signet
from tests.services import require

POLICY = Path(f"/etc/chromium/policies/managed/signet-tests-{os.getpid()}.json")
PASSWORD = "swan-plum-kite-mole"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STAFF = """
from pki.models import User
alice = User.objects.get(username="alice")
alice.is_staff = alice.is_superuser = True
alice.set_password({password!r})
alice.save()
"""
# What the page's sockets were closed with and when; asked by the tests.
WATCH_SOCKETS = """
window.socketCloses = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...all) {
    super(...all);
    this.addEventListener("close", (e) =>
      window.socketCloses.push({code: e.code, reason: e.reason, clean: e.wasClean, at: Date.now()}));
  }
};
"""


@contextmanager
def chosen_certificates() -> Iterator[None]:
    """Chromium takes the profile's certificate without asking; a headless one cannot ask."""
    POLICY.parent.mkdir(parents=True, exist_ok=True)
    pattern = json.dumps({"pattern": "https://localhost", "filter": {}})
    POLICY.write_text(json.dumps({"AutoSelectCertificateForUrls": [pattern]}))
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


@dataclass
class Profile:
    """One person's browser. Certificates are imported while it is closed."""

    playwright: Playwright
    home: Path

    def __post_init__(self) -> None:
        self.store = f"sql:{self.home}/.pki/nssdb"
        (self.home / ".pki/nssdb").mkdir(parents=True)
        self._run("certutil", "-N", "-d", self.store, "--empty-password")

    def trust(self, root: Path) -> None:
        self._run("certutil", "-A", "-d", self.store, "-t", "C,,", "-n", "root", "-i", str(root))

    def install(self, p12: Path, password: str) -> None:
        self._run("pk12util", "-d", self.store, "-i", str(p12), "-W", password)

    @contextmanager
    def open(self) -> Iterator[BrowserContext]:
        context = self.playwright.chromium.launch_persistent_context(
            self.home / "profile",
            executable_path="/usr/bin/chromium",
            args=ARGUMENTS,
            env={**os.environ, "HOME": str(self.home)},
            accept_downloads=True,
            viewport={"width": 1280, "height": 900},
        )
        context.set_default_timeout(60_000)
        context.add_init_script(WATCH_SOCKETS)
        try:
            yield context
        finally:
            context.close()

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr


def wait_until(page: Page, condition: str) -> None:
    """Not `wait_for_function`, whose second try the page's policy forbids."""
    page.evaluate(f"""async () => {{
      for (let turn = 0; !({condition}); turn += 1) {{
        if (turn === 1000) throw new Error("this does not come true: " + {condition!r});
        await new Promise((done) => setTimeout(done, 20));
      }}
    }}""")


def identity_of_admin(signet: Signet, folder: Path, *, name: str) -> Path:
    """A file with a certificate for Alice, who runs the console; PASSWORD opens both."""
    for tool in ("chromium", "certutil", "pk12util"):
        require(tool)
    password, file = folder / "password", folder / "alice.p12"
    password.write_text(PASSWORD)
    signet.manage(
        *("issue_certificate", "alice", "--create-user", "--name", name),
        *("--device", "laptop", "--out", str(file), "--password-file", str(password)),
    )
    signet.shell(STAFF.format(password=PASSWORD))
    return file


@contextmanager
def open_browser(signet: Signet, home: Path, file: Path) -> Iterator[BrowserContext]:
    """A browser of its own with this identity, which trusts the deployment."""
    with sync_playwright() as playwright, chosen_certificates():
        profile = Profile(playwright, home)
        profile.trust(signet.root)
        profile.install(file, PASSWORD)
        with profile.open() as opened:
            yield opened
