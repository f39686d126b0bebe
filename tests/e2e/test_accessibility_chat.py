"""axe finds nothing serious in the chat, whatever is open on it, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.axe import faults
from tests.e2e.chat_page import DESKTOP, chat_site, open_general
from tests.e2e.modules import chromium_page
from tests.e2e.test_client_aside import ANSWERS, aside

pytestmark = pytest.mark.browser
PIXEL = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="6"><rect width="9" height="6"/></svg>'
# One of each kind of message, badges on the other room, and what only moderators see.
TALK = """
async () => {
  const at = (minute) => new Date(Date.UTC(2026, 2, 3, 9, minute)).toISOString();
  const { ALICE, BOB } = cast;
  const say = (minute, by, body, data = {}) => server.say(by, body, { at: at(minute), data });
  const about = (minute, by, type, data) =>
    server.append("general", { ...cast.note(0, type, by, data), at: at(minute) });
  say(0, BOB, "code", { html: '<pre><code class="code-python"><span class="k">def</span> '
    + '<span class="nf">f</span>(): <span class="s">"x"</span> <span class="c">later</span></code></pre>' });
  const quoted = say(1, ALICE, "see https://example.org", { html: '<blockquote><p>boring</p></blockquote>'
    + '<p><span class="mention" data-user="1">@alice</span> see <a href="https://example.org">there</a>'
    + ' and <code>make</code></p>', mentions: [1] });
  say(2, BOB, "an answer", { reply_to: quoted.id });
  const root = say(3, BOB, "the root of a thread");
  say(4, ALICE, "in the thread", { thread: root.id });
  about(5, BOB, "reaction.added", { message: quoted.id, emoji: "👍" });
  about(5, ALICE, "reaction.added", { message: quoted.id, emoji: "👍" });
  const edited = say(6, ALICE, "first words");
  about(7, ALICE, "message.edited",
    { message: edited.id, body: "second words", html: "<p>second words</p>" });
  const gone = server.append("general", { ...cast.message(0, BOB, { data: { deleted: true } }), at: at(8) });
  about(9, ALICE, "message.deleted", { message: gone.id, reason: "off topic" });
  about(10, BOB, "message.pinned", { message: root.id });
  const file = (id, name, type, more) => ({ id, name, size: 12345, type, ...more });
  say(11, BOB, "files", { attachments: [
    file("f1", "chart.png", "image/png", { width: 90, height: 60, thumbnail: true }),
    file("f2", "notes.txt", "text/plain"),
  ]});
  say(12, BOB, "makes coffee", { action: true });
  about(13, BOB, "member.joined", { user: CAROL, role: "member" });
  server.certificates["serial-of-bob"] = { serial: "serial-of-bob", sha256: "ab12".repeat(16),
    subject: "CN=bob", issuer: "CN=Test Issuing", owner: BOB, device: "laptop",
    not_before: "2026-01-01T00:00:00.000Z", not_after: "2027-01-01T00:00:00.000Z",
    state: "revoked", revoked_at: "2026-03-02T00:00:00.000Z", reason: "keyCompromise" };
  server.say(BOB, "hello there", { room: "other" });
  server.say(BOB, "@alice hello", { room: "other", data: { mentions: [1] } });
  bans = [{ user: BOB, by: ALICE, reason: "Spam", at: "2026-03-03T12:00:00Z" }];
  server.push({ ev: "presence", people: { 1: "active", 2: "away" } });
}
"""
FAILED_AND_WAITING = """
() => {
  server.isMute = false;
  server.refusals.push({ code: "not_allowed", detail: "You may only read here." });
}
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with chat_site("general", "other", "far") as url:
        yield url


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with chromium_page(f"{address}/rooms/general/", viewport=DESKTOP) as opened:
        opened.route(
            "**/files/**", lambda route: route.fulfill(body=PIXEL, content_type="image/svg+xml")
        )
        opened.route("**/whoami", lambda route: route.fulfill(json={}))
        yield opened


@pytest.fixture
def room(page: Page, address: str) -> Page:
    """General with everything that can be in a room, freshly opened on a wide page."""
    page.set_viewport_size(DESKTOP)
    open_general(page, address).evaluate(ANSWERS)
    page.evaluate(TALK)
    expect(page.locator("#timeline li").last).to_contain_text("Carol")
    return page


def send(page: Page, words: str) -> None:
    page.locator("#composer-input").fill(words)
    page.locator("#composer-input").press("Enter")


def choose(page: Page, label: str, words: str) -> None:
    """From the menu of the message with these words."""
    page.locator("#timeline > li").filter(has_text=words).last.focus()
    page.keyboard.press("Shift+F10")
    page.get_by_role("menuitem", name=label, exact=True).click()


def escaped(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


Step = Callable[[Page], Any]


def look(page: Page, states: dict[str, Step]) -> None:
    """Nothing is wrong in these states, one after the other."""
    found = []
    for name, step in states.items():
        step(page)
        found += faults(page, name)
    words = [f"{each['where']}: {each['id']}: {node}" for each in found for node in each["nodes"]]
    assert not words, "\n".join(words)


def search(page: Page) -> None:
    page.keyboard.press("Control+Shift+F")
    aside(page).get_by_role("searchbox").fill("old")
    page.keyboard.press("Enter")
    expect(aside(page).get_by_role("listitem").first).to_be_visible()


def search_not(page: Page) -> None:
    page.evaluate("server.answers.search = () => ({ hits: [], more: false })")
    page.keyboard.press("Enter")
    expect(aside(page)).not_to_contain_text("an old")


def offline(page: Page) -> None:
    page.evaluate("server.closesWith = 1013; server.close(1012)")
    send(page, "this one waits")
    expect(page.locator("li[data-state=waiting]")).to_be_visible()
    expect(page.locator("#banner")).to_be_visible(timeout=10_000)


def failed(page: Page) -> None:
    page.evaluate(FAILED_AND_WAITING)
    send(page, "this one is refused")
    expect(page.locator("li[data-state=failed]")).to_be_visible()


def news(page: Page) -> None:
    page.evaluate("document.getElementById('scroller').scrollTop -= 400")
    expect(page.locator("#jump")).to_be_visible()


def expand(page: Page) -> None:
    page.locator("#timeline .gutter").last.click()
    expect(page.locator("#timeline .facts")).to_be_visible()


def test_messages_in_a_room(room: Page) -> None:
    states: dict[str, Step] = {
        "room": lambda page: None,
        "details and toolbar": expand,
        "message menu": lambda page: (
            page.locator("#timeline > li").last.focus(),
            page.locator("#timeline > li").filter(has_text="second words").last.focus(),
            page.keyboard.press("Shift+F10"),
        ),
        "failed": lambda page: (escaped(page), failed(page)),
        "scrolled up": news,
        "offline": offline,
    }
    look(room, states)


def test_columns_beside_a_room(room: Page) -> None:
    states: dict[str, Step] = {
        "people": lambda page: page.locator("#show-members").click(),
        "people found": lambda page: (
            aside(page).get_by_label("Bring somebody in").press_sequentially("car"),
            expect(aside(page).get_by_role("option").first).to_be_visible(),
        ),
        "pins": lambda page: page.locator("#show-pins").click(),
        "settings": lambda page: page.locator("#show-settings").click(),
        "search": search,
        "search in vain": search_not,
        "thread": lambda page: page.locator(".thread-line").click(),
    }
    look(room, states)


def test_dialogs(room: Page) -> None:
    def about_bob(page: Page, name: str) -> None:
        escaped(page)
        page.locator("#show-members").click()
        bob = aside(page).locator("li[data-key='2']")
        bob.get_by_role("button").first.click()
        bob.get_by_role("button", name=name).click()
        expect(page.locator("#confirm-dialog")).to_be_visible()

    def opened(selector: str) -> Step:
        return lambda page: (escaped(page), page.locator(selector).first.click())

    def chosen(label: str, words: str) -> Step:
        return lambda page: (escaped(page), choose(page, label, words))

    states: dict[str, Step] = {
        "switcher": lambda page: page.keyboard.press("Control+k"),
        "switcher in vain": lambda page: page.keyboard.type("zzz"),
        "directory": opened("#browse-rooms"),
        "create": opened("#new-room"),
        "create refused": lambda page: page.locator("#create-submit").click(),
        "create private": lambda page: page.get_by_text("Only the people you name").click(),
        "keys": opened("[data-opens=keys]"),
        "notices": opened("#show-notices"),
        "delete": chosen("Delete", "second words"),
        "report": chosen("Report", "an answer"),
        "versions": chosen("Earlier versions", "second words"),
        "certificate": chosen("Certificate", "an answer"),
        "leave": lambda page: (
            escaped(page),
            page.locator("#show-settings").click(),
            aside(page).get_by_role("button", name="Leave").click(),
        ),
        "remove": lambda page: (
            escaped(page),
            page.locator("#show-settings").click(),
            about_bob(page, "Remove…"),
        ),
        "ban": lambda page: (
            escaped(page),
            page.locator("#show-members").click(),
            about_bob(page, "Ban…"),
        ),
    }
    look(room, states)


def test_the_box_one_writes_in(room: Page) -> None:
    box = room.locator("#composer-input")
    states: dict[str, Step] = {
        "suggestions": lambda page: box.press_sequentially("@"),
        "emoji": lambda page: (
            page.keyboard.press("Escape"),
            box.fill(""),
            page.locator("#composer").get_by_role("button", name="Emoji").click(),
        ),
        "edit": lambda page: (
            page.keyboard.press("Escape"),
            box.focus(),
            page.keyboard.press("ArrowUp"),
            expect(page.locator(".composer-task").first).to_contain_text("Editing"),
        ),
        "answer": lambda page: (
            page.keyboard.press("Escape"),
            choose(page, "Answer", "an answer"),
        ),
        "too long": lambda page: box.fill("long " * 300),
    }
    look(room, states)


def test_a_narrow_page(room: Page, address: str) -> None:
    room.set_viewport_size({"width": 320, "height": 640})
    states: dict[str, Step] = {
        "narrow room": lambda page: None,
        "narrow menu": lambda page: (
            page.locator("#timeline > li").last.focus(),
            page.keyboard.press("Shift+F10"),
        ),
        "narrow people": lambda page: (
            page.keyboard.press("Escape"),
            page.locator("#show-members").click(),
        ),
        "narrow list": lambda page: (page.goto(f"{address}/"), page.evaluate(ANSWERS)),
    }
    look(room, states)


def test_pages_without_a_room(room: Page, address: str) -> None:
    def empty(page: Page) -> None:
        page.goto(f"{address}/rooms/other/")
        expect(page.locator("#room-empty")).to_be_visible()

    def outside(page: Page) -> None:
        page.goto(f"{address}/rooms/far/")
        expect(page.locator("#outside")).to_be_visible()

    def stopped(page: Page) -> None:
        page.evaluate("server.close(4501)")
        expect(page.locator("#stopped")).to_be_visible()

    look(room, {"empty": empty, "outside": outside, "stopped": stopped})
