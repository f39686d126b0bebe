"""People who enrol: their links, their browsers, what these send, and the files they get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.serialization import pkcs12
from playwright.sync_api import BrowserContext, Download, Page, Playwright, Request

from tests.e2e.browser import ARGUMENTS
from tests.e2e.server import Signet

INVITE = """
from django.utils import timezone
from pki import enrolment, people
at = timezone.now()
for username, count in {links!r}.items():
    user = people.create_person(
        actor="test", username=username, admin=username == "boss", at=at
    )
    for _ in range(count):
        invited = enrolment.invite(actor="test", user=user, device="laptop", at=at)
        print("link", username, invited[1])
"""
# The keys that the browser has kept, and what else it stores.
KEPT = """
async () => {
  const open = indexedDB.open("signet-enrolment");
  await new Promise((resolve) => (open.onsuccess = resolve));
  const keys = open.result.transaction("keys").objectStore("keys").getAllKeys();
  await new Promise((resolve) => (keys.onsuccess = resolve));
  open.result.close();
  return [keys.result, { ...localStorage }, { ...sessionStorage }];
}
"""
Link = Callable[..., str]


def links(signet: Signet, counts: Mapping[str, int]) -> Link:
    """Makes so many links for each; returns what takes the next of somebody's.

    All at once: a start of Django for each would take most of a test's time.
    """
    printed = signet.shell(INVITE.format(links=dict(counts)))
    made = re.findall(r"^link (\S+) (\S+)$", printed, re.MULTILINE)
    tokens = {username: [t for name, t in made if name == username] for username in counts}

    def take(username: str, *, port: int | None = None) -> str:
        return signet.url(f"/enrol/{tokens[username].pop()}/", port=port or signet.enrol)

    return take


@dataclass
class Sent:
    """What the pages of one browser sent, as the browser tells it."""

    requests: list[Request] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> Sent:
        context.on("request", lambda request: self.requests.append(request))
        context.on("page", self._watch_page)
        context.on("console", lambda note: self.notes.append(note.text))
        for page in context.pages:
            self._watch_page(page)
        return self

    def _watch_page(self, page: Page) -> None:
        page.on("websocket", lambda ws: self.sockets.append(ws.url))
        page.on("pageerror", lambda error: self.notes.append(str(error)))

    @property
    def own_notes(self) -> list[str]:
        """Errors and what the page itself wrote to the console; the browser remarks on its own."""
        remarks = ("Failed to load resource", "[DOM]")
        return [note for note in self.notes if not note.startswith(remarks)]

    @property
    def everything(self) -> bytes:
        return b"\n".join(map(bytes_of, self.requests))

    def posts(self, suffix: str = "/csr/") -> list[dict[str, str]]:
        bodies = [r.post_data or "" for r in self.requests if r.url.endswith(suffix)]
        return [{name: value[0] for name, value in parse_qs(body).items()} for body in bodies]


def bytes_of(request: Request) -> bytes:
    headers = "\n".join(f"{name}: {value}" for name, value in request.all_headers().items())
    head = f"{request.method} {request.url}\n{headers}\n\n".encode()
    return head + (request.post_data_buffer or b"")


@contextmanager
def window(playwright: Playwright, **options: object) -> Iterator[tuple[Page, Sent]]:
    """A fresh browser that does not mind the server's certificate."""
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
    context = browser.new_context(ignore_https_errors=True, **options)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    sent = Sent().watch(context)
    yield context.new_page(), sent
    browser.close()
    assert sent.own_notes == []


def shown_password(page: Page) -> str:
    return page.locator("#file-password").inner_text().strip()


def saved(page: Page, folder: Path, press: str = "#enrol-submit") -> tuple[Path, str]:
    """Press, and keep the file that is downloaded; and the password on the page."""
    with page.expect_download() as download:
        page.locator(press).click()
    return keep(download.value, folder), shown_password(page)


def keep(download: Download, folder: Path) -> Path:
    file = folder / download.suggested_filename
    download.save_as(file)
    return file


def names_in(file: Path, password: str) -> list[str]:
    read = pkcs12.load_pkcs12(file.read_bytes(), password.encode())
    assert read.key is not None
    assert read.cert is not None
    assert read.key.public_key() == read.cert.certificate.public_key()  # type: ignore[union-attr]
    return [str(part.value) for part in read.cert.certificate.subject]
