"""The chat page with a server inside the page: its markup, a site of its rooms, and General opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.modules import rendered, site

ALICE = {"id": 1, "username": "alice", "name": "Alice"}
MAIN = '<script type="module" src="/static/chat/main.js"></script>'
BEFORE = '<script type="module" src="/tests/client_page.js"></script>'
DESKTOP: Any = {"width": 1280, "height": 800}


def chat_html(path: str, room: str | None, shell: Any = None) -> str:
    """With `shell`, the page is seeded with it, and its first room is the one that is open."""
    identity = SimpleNamespace(username="alice", name="Alice", serial="4f2a9c01", is_staff=False)
    request = SimpleNamespace(identity=identity, path=path)
    bootstrap: dict[str, Any] = {"socket": "/ws/chat/", "user": ALICE, "room": room}
    context: dict[str, Any] = {"request": request, "page": bootstrap}
    if shell:
        bootstrap["rooms"] = ["general", "seeded"]
        here = shell["rooms"][0]
        context |= {"shell": shell, "opened": here, "sections": {"rooms": [here]}}
    html = rendered("chat/chat.html", context)
    assert MAIN in html
    return html.replace(MAIN, BEFORE + MAIN)


@contextmanager
def chat_site(*rooms: str) -> Iterator[str]:
    """The page without a room, and the pages of these; the address of the site."""
    pages = {f"/rooms/{room}/": chat_html(f"/rooms/{room}/", room) for room in rooms}
    with site({"/": chat_html("/", None), **pages}) as address:
        yield address


def open_general(page: Page, address: str) -> Page:
    """The room General, freshly opened, its last message in view."""
    page.evaluate("localStorage.clear()")
    page.goto(f"{address}/rooms/general/")
    expect(page.locator("#timeline li").last).to_contain_text("old 120")
    return page


def bob_says(page: Page, *bodies: str, room: str = "general") -> None:
    for body in bodies:
        page.evaluate(
            "([body, room]) => void server.say(cast.BOB, body, { room, at: new Date().toISOString() })",
            [body, room],
        )


def say(page: Page, text: str) -> None:
    page.locator("#composer-input").fill(text)
    page.locator("#composer-input").press("Enter")
