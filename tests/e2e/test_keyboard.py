"""A session without a pointer: everything is reached, shown to have the focus, and left again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.chat_page import DESKTOP, open_general
from tests.e2e.modules import chromium_page
from tests.e2e.test_client_aside import ANSWERS

pytestmark = pytest.mark.browser
LIMITS = {"file_bytes": 1_000_000, "per_message": 10, "csrf": "x"}
FOCUS = """
() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const framed = [element, element.parentElement, element.closest(".composer-frame, .choice, .field")];
  const rings = framed.filter(Boolean).map((each) => getComputedStyle(each)).filter((style) =>
    (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none");
  return { id: element.id, tag: element.tagName, isShown: rings.length > 0,
    words: element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 40) };
}
"""


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with chromium_page(f"{address}/rooms/general/", viewport=DESKTOP) as page:
        page.route("**/files/**", lambda route: route.fulfill(json=LIMITS))
        yield page


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    open_general(browser_page, address).evaluate(ANSWERS)
    browser_page.evaluate("delete server.answers.thread")
    expect(browser_page.locator("#room-kind")).to_have_text("What matters")
    return browser_page


def focused(page: Page) -> dict[str, Any]:
    """What has the focus; it must be something, and be seen to have it."""
    found: dict[str, Any] = page.evaluate(FOCUS)
    assert found["tag"] != "BODY", "nothing has the focus"
    assert found["isShown"], f"nobody sees that {found} has the focus"
    return found


def press(page: Page, *keys: str) -> dict[str, Any]:
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(50)
    return focused(page)


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """By Tab alone, with the focus in sight on each of the stops between."""
    for _ in range(40):
        press(page, key)
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"{key} does not lead to {target}")


def write(page: Page, words: str) -> Locator:
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    sent = page.locator("#timeline > li").last
    expect(sent).to_have_attribute("data-state", "sent")
    return sent


def test_skip_links_come_first(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    assert press(page, "Tab")["words"] == "Skip to the message box"
    assert press(page, "Enter")["id"] == "composer-input"


def test_tab_goes_round_the_page_both_ways(page: Page) -> None:
    for key in ("Tab", "Shift+Tab"):
        page.locator("#composer-input").focus()
        seen = set()
        for _ in range(60):
            page.keyboard.press(key)
            if page.evaluate("document.activeElement === document.body"):
                break
            seen.add(tuple(focused(page).values()))
        else:
            raise AssertionError(f"{key} never leaves the page: {seen}")
        assert len(seen) >= (2 if key == "Tab" else 10)


def test_writing_editing_answering_and_reacting(page: Page) -> None:
    box = page.locator("#composer-input")
    page.keyboard.press("Control+k")
    expect(page.locator("#switcher-query")).to_be_focused()
    page.keyboard.type("other")
    page.keyboard.press("Enter")
    expect(page.locator("#room-name")).to_have_text("other")
    expect(box).to_be_focused()
    sent = write(page, "first words")

    press(page, "ArrowUp")
    expect(page.locator(".composer-task").first).to_contain_text("Editing")
    page.keyboard.press("Control+a")
    page.keyboard.type("better words")
    page.keyboard.press("Enter")
    expect(sent).to_contain_text("better words")
    expect(box).to_be_focused()

    tab_to(page, sent, "Shift+Tab")
    press(page, "Shift+F10")
    page.get_by_role("menuitem", name="Answer", exact=True).wait_for()
    while focused(page)["words"] != "Answer":
        press(page, "ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    expect(page.locator(".composer-task").first).to_contain_text("Answering")
    write(page, "an answer")

    first = page.locator("#timeline > li[data-own=true]").first
    tab_to(page, first, "Shift+Tab")
    press(page, "End")
    expect(page.locator("#timeline > li").last).to_be_focused()
    press(page, "ArrowUp")
    expect(first).to_be_focused()
    press(page, "Shift+F10")
    page.keyboard.press("Enter")
    expect(first.locator(".reaction").first).to_contain_text("1")
    expect(first).to_be_focused()


def test_a_thread_is_opened_answered_and_left(page: Page) -> None:
    root = write(page, "a root")
    tab_to(page, root, "Shift+Tab")
    press(page, "Shift+F10")
    while focused(page)["words"] != "Answer in a thread":
        press(page, "ArrowDown")
    page.keyboard.press("Enter")
    inner = page.locator("#aside textarea")
    expect(inner).to_be_focused()
    page.keyboard.type("in the thread")
    page.keyboard.press("Enter")
    expect(page.locator("#aside")).to_contain_text("in the thread")
    press(page, "Escape")
    expect(page.locator("#aside")).to_be_hidden()
    expect(root).to_be_focused()
    expect(root.locator(".thread-line")).to_contain_text("1 answer")


def test_people_are_looked_at_and_brought_in(page: Page) -> None:
    opener = page.locator("#show-members")
    tab_to(page, opener, "Shift+Tab")
    press(page, "Enter")
    expect(page.locator("#aside")).to_contain_text("Bob")
    tab_to(page, page.get_by_label("Bring somebody in"))
    page.keyboard.type("car")
    expect(page.get_by_role("option", name="Carol")).to_be_visible()
    press(page, "Enter")
    tab_to(page, page.get_by_role("button", name="Bring them in"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="People in this room")).to_contain_text("Carol")
    focused(page)
    tab_to(page, page.get_by_role("button", name="What you can do about Bob"))
    press(page, "Enter")
    tab_to(page, page.get_by_role("button", name="Ban…"))
    press(page, "Enter")
    page.keyboard.type("Spam")
    page.keyboard.press("Enter")
    expect(page.locator("#invite-people")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Lift the ban of Bob"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Lift the ban of Bob")).to_have_count(0)
    expect(page.locator("#invite-people")).to_be_focused()
    press(page, "Escape")
    expect(opener).to_be_focused()


def test_the_list_of_keys_gives_the_focus_back(page: Page) -> None:
    last = page.locator("#timeline > li").last
    tab_to(page, last, "Shift+Tab")
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    press(page, "Escape")
    expect(last).to_be_focused()
