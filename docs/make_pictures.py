"""Makes the pictures in docs/pictures from the running product: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.server import Signet

PICTURES = Path(__file__).parent / "pictures"
PASSWORD = "swan-plum-kite-mole"  # noqa: S105 (of a deployment that lives for a minute)
PEOPLE = {"alice": "Alice Ahlberg", "bob": "Bob Okafor"}
TALK = [
    ("alice", "Good morning. The new **issuing CA** is live; fingerprints are in the console."),
    ("bob", "Saw it. My phone has its own certificate now, ends `…9f2c`."),
    ("alice", "Then revoke the old one under *Devices*, please. It takes a second:"),
    ("alice", "```\nmanage.py revoke_certificate --user bob --reason superseded\n```"),
    ("bob", "Done. Its sockets were gone before I looked up."),
]

WORK = """
from django.utils import timezone
from pki import catalogue, certification, truststore
from pki.models import CertificateProfile, TrustStore, User
from tests.certs import make_ca, make_csr
from cryptography.hazmat.primitives.serialization import Encoding
import datetime as dt
now, bob = timezone.now(), User.objects.get(username="bob")
server = CertificateProfile.objects.get(name="server")
catalogue.change_profile(actor="alice", profile=server, changes={"approvals": 1}, at=now)
hosts = ("wiki.example.org", "build.example.org", "mail.example.org", "old.example.org")
asked = [
    certification.submit(
        actor="bob", requester=bob, profile="server", csr=make_csr(host), hosts=[host], at=now
    )
    for host in hosts
]
alice = User.objects.get(username="alice")
why = "This host is switched off next month."
certification.approve(actor="alice", approver=alice, request=asked[2], at=now)
certification.reject(actor="alice", approver=alice, request=asked[3], reason=why, at=now)
root = make_ca("Partner Root").certificate.public_bytes(Encoding.DER)
store = TrustStore.objects.get()
anchor = truststore.add_anchor(actor="alice", truststore=store, certificate=root, at=now)
until = now + dt.timedelta(days=120)
truststore.date_anchor(
    actor="alice", anchor=anchor, trusted_from=now, trusted_until=until, at=now
)
"""


def make() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        signet = Signet(Path(folder) / "var")
        signet.set_up()
        signet.start()
        try:
            with chosen_certificates():
                photograph(signet, playwright, Path(folder))
        finally:
            signet.stop()


def photograph(signet: Signet, playwright: object, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    profiles = {}
    for username, name in PEOPLE.items():
        file = folder / f"{username}.p12"
        signet.manage(
            "issue_certificate", username, "--create-user", "--name", name, "--device", "laptop",
            "--out", str(file), "--password-file", str(password),
        )  # fmt: skip
        profiles[username] = Profile(playwright, folder / username)  # type: ignore[arg-type]
        profiles[username].trust(signet.root)
        profiles[username].install(file, PASSWORD)
    signet.shell(
        "from pki.models import User; u = User.objects.get(username='alice');"
        f"u.is_staff = u.is_superuser = True; u.set_password({PASSWORD!r}); u.save()"
    )
    with profiles["alice"].open() as one, profiles["bob"].open() as other:
        pages = {"alice": one.pages[0], "bob": other.pages[0]}
        for page in pages.values():
            page.goto(signet.url("/rooms/general/"))
            expect(page.locator("#chat")).to_have_attribute("data-connection", "open")
        for number, (who, text) in enumerate(TALK, 1):
            pages[who].locator("#composer-input").fill(text)
            pages[who].locator("#composer-input").press("Enter")
            for page in pages.values():
                expect(page.locator("#timeline .message-body")).to_have_count(number)
        shoot(pages["alice"], "chat-light", 1280, 800)
        shoot(pages["alice"], "chat-dark", 1280, 800, scheme="dark")
        shoot(pages["bob"], "chat-phone", 390, 780)
        console = one.new_page()
        console.goto(signet.url("/console/"))
        console.get_by_label("Password").fill(PASSWORD)
        console.keyboard.press("Enter")
        expect(console.get_by_text("Expiries by month")).to_be_visible()
        shoot(console, "console-light", 1280, 900)
        signet.shell(WORK)
        console.goto(signet.url("/console/pki/certificationrequest/"))
        shoot(console, "requests-light", 1280, 800)
        console.goto(signet.url("/console/pki/truststore/"))
        console.get_by_role("link", name="chat", exact=True).click()
        expect(console.get_by_text("Trust anchors")).to_be_visible()
        shoot(console, "truststore-light", 1280, 800)
        pages["bob"].goto(signet.url("/devices/"))
        shoot(pages["bob"], "devices-light", 1280, 640)


def shoot(page: Page, name: str, width: int, height: int, *, scheme: str = "light") -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    make()
