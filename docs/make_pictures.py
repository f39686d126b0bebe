"""Makes the pictures in docs/pictures from the running product: `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.server import Signet

PICTURES = Path(__file__).parent / "pictures"
PASSWORD = "swan-plum-kite-mole"  # noqa: S105 (of a deployment that lives for a minute)
PEOPLE = ("alice", "bob")
CODE = """```python
def heads(rooms: Iterable[Room]) -> dict[str, int]:
    return {room.slug: room.last_seq for room in rooms}
```"""
TALK = [
    ("alice", "The step is gone. This is all it took:"),
    ("alice", CODE),
    ("bob", "Nice and short. @alice, my phone has its **own** certificate now."),
    ("alice", "Then revoke the old one under *Devices*, please."),
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
        signet.manage("migrate", "--verbosity", "0")
        signet.start(sys.executable, "manage.py", "demo", "--no-browser", "--share", "0.1")
        try:
            with chosen_certificates():
                photograph(signet, playwright, Path(folder))
        finally:
            signet.stop()


def photograph(signet: Signet, playwright: object, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    profiles = {}
    for username in PEOPLE:
        file = folder / f"{username}.p12"
        signet.manage(
            "issue_certificate", username, "--device", "laptop",
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
        talk(signet, pages)
        chat(signet, pages["alice"])
        shoot(pages["bob"], "chat-phone", 390, 780)
        shoot(pages["bob"], "chat-phone-dark", 390, 780, scheme="dark")
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
        console.goto(signet.url("/console/project/liveconnection/"))
        shoot(console, "connections-light", 1280, 800)
        console.goto(signet.url("/console/project/handshakefailure/"))
        shoot(console, "handshakes-light", 1280, 800)
        pages["bob"].goto(signet.url("/devices/"))
        shoot(pages["bob"], "devices-light", 1280, 640)


def talk(signet: Signet, pages: dict[str, Page]) -> None:
    """Both see what the other writes, at the end of a room with a history."""
    for page in pages.values():
        page.goto(signet.url("/rooms/engineering/"))
        expect(page.locator("#chat")).to_have_attribute("data-connection", "open")
        page.keyboard.press("Shift+Escape")
        page.locator("#jump").evaluate("(jump) => jump.hidden || jump.click()")
    for who, text in TALK:
        pages[who].locator("#composer-input").fill(text)
        pages[who].locator("#composer-input").press("Enter")
        for page in pages.values():
            expect(page.locator("#timeline > li").last).to_have_attribute("data-state", "sent")
            expect(page.locator("#timeline > li").last).to_have_attribute("data-author", who)


def chat(signet: Signet, page: Page) -> None:
    """The room with a thread beside it, the search, and the card of a certificate."""
    page.locator(".thread-line").last.click()
    expect(page.locator("#aside")).to_contain_text("That was the proxy.")
    shoot(page, "chat-thread", 1280, 800)
    shoot(page, "chat-dark", 1280, 800, scheme="dark")
    page.keyboard.press("Escape")
    page.locator("#show-search").click()
    page.get_by_role("searchbox").fill("proxy")
    page.keyboard.press("Enter")
    expect(page.locator("#aside mark").first).to_be_visible()
    shoot(page, "chat-search", 1280, 800)
    page.locator("#aside").get_by_role("button", name="Close").click()
    page.locator("#timeline > li").last.focus()
    page.keyboard.press("Shift+F10")
    page.get_by_role("menuitem", name="Certificate").click()
    expect(page.locator("#certificate-dialog")).to_contain_text("SHA-256")
    shoot(page, "chat-certificate", 1280, 800)
    page.keyboard.press("Escape")


def shoot(page: Page, name: str, width: int, height: int, *, scheme: str = "light") -> None:
    """A picture with few colours, so that it is small."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": height})
    page.mouse.move(1, 1)
    page.wait_for_timeout(500)
    taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
    few = taken.quantize(256, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    make()
