"""The client's own modules in a real Chromium, served as they are, without a server of ours."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.services import require

REPOSITORY = Path(__file__).resolve().parents[2]
STATIC = [REPOSITORY / app / "static" for app in ("chat", "pki", "project")]
TESTS = Path(__file__).parent
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types signet"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
BLANK = '<!doctype html><title>modules</title><link rel="icon" href="data:,">'
Run = Callable[[str], Any]
PRELUDE = """
async ({ body, modules }) => {
  const loaded = {};
  for (const [name, url] of Object.entries(modules)) loaded[name] = await import(url);
  const AsyncFunction = (async () => {}).constructor;
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it hangs")), 20_000));
  const test = new AsyncFunction(...Object.keys(loaded), body)(...Object.values(loaded));
  return Promise.race([test, late]);
}
"""


class Site(SimpleHTTPRequestHandler):
    """Static files, the test's own modules, and whatever pages a test hands in."""

    def __init__(self, *arguments: Any, pages: Mapping[str, str], **options: Any) -> None:
        self.pages = pages
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in self.pages:
            self._answer(self.pages[path].encode(), "text/html; charset=utf-8", csp=CSP)
            return
        for file in self._candidates(path):
            if file.is_file():
                self._answer(file.read_bytes(), TYPES.get(file.suffix, "text/plain"))
                return
        self.send_error(404)

    def _candidates(self, path: str) -> list[Path]:
        if path.startswith("/static/"):
            return [root / path.removeprefix("/static/") for root in STATIC]
        return [TESTS / path.removeprefix("/tests/")] if path.startswith("/tests/") else []

    def _answer(self, content: bytes, media_type: str, *, csp: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        if csp:
            self.send_header("Content-Security-Policy", csp)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def site(pages: Mapping[str, str]) -> Iterator[str]:
    """The address of a web server with these pages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, pages=pages))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium_page(url: str, **options: Any) -> Iterator[Page]:
    """A fresh page in a headless Chromium; an error on it fails the test."""
    require("chromium")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
        )
        page = browser.new_page(**options)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda note: errors.extend([note.text] * (note.type == "error")))
        page.goto(url)
        yield page
        browser.close()
    assert not errors, errors


@contextmanager
def modules(**paths: str) -> Iterator[Run]:
    """Run the body of an async function with the named modules in scope; its result."""
    urls = {"cast": "/tests/client_cast.js"}
    urls |= {name: f"/static/{path}" for name, path in paths.items()}
    # The functions under test arrive as text here, which the product's policy would refuse.
    with site({"/": BLANK}) as address, chromium_page(address, bypass_csp=True) as page:
        yield lambda body: page.evaluate(PRELUDE, {"body": body, "modules": urls})


def rendered(template: str, context: Mapping[str, Any]) -> str:
    """A template of ours as a page, with the addresses that the site here has."""
    from django.template.loader import render_to_string  # needs settings, which pytest-django sets

    return re.sub(r"/static/[0-9a-f]{12}/", "/static/", render_to_string(template, dict(context)))
