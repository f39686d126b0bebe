"""What a person does with a message: by pointer, keyboard and finger; and how they get to one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.chat_page import DESKTOP, open_general
from tests.e2e.modules import chromium_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with chromium_page(f"{address}/rooms/other/", viewport=DESKTOP) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield page


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    return open_general(browser_page, address)


def told(page: Page, code: str) -> None:
    page.evaluate(f"() => {{ {code} }}")


def last(page: Page) -> Locator:
    return page.locator("#timeline > li").last


def menu(page: Page) -> list[str]:
    return page.locator(".menu:popover-open > button").all_inner_texts()


def test_a_reaction_is_given_and_taken_back_by_the_same_button(page: Page) -> None:
    last(page).hover()
    page.get_by_role("button", name="React with 👍").click()
    button = last(page).locator(".reaction[data-emoji]")
    expect(button).to_have_attribute("aria-pressed", "true")
    told(
        page,
        "server.append('general', cast.note(0, 'reaction.added', cast.BOB, "
        "{message: 'event-120', emoji: '👍'}))",
    )
    expect(button).to_have_accessible_name("👍, 2: you and Bob")

    button.click()

    expect(button).to_have_attribute("aria-pressed", "false")
    expect(button).to_have_accessible_name("👍, 1: Bob")
    expect(button).to_be_focused()


def test_the_bar_follows_the_pointer_after_it_was_used(page: Page) -> None:
    before = page.locator("#timeline > li").nth(-2)
    last(page).hover()
    page.locator(".toolbar [data-action=menu]").click()
    page.get_by_role("menuitem", name="Copy the link").click()
    before.hover()
    expect(before.locator(".toolbar")).to_be_visible()
    before.get_by_role("button", name="React with 👍").click()
    last(page).hover()
    expect(last(page).locator(".toolbar")).to_be_visible()


def test_the_keyboard_reaches_everything_from_one_tab_stop(page: Page) -> None:
    last(page).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="React with 👍")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="React with 👍")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Answer", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="More")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#timeline li").nth(-2)).to_be_focused()
    assert page.locator("#timeline > [tabindex='0']").count() == 1
    assert page.locator("#timeline .message-main button[tabindex='0']").count() == 0


def test_the_menu_key_opens_what_is_allowed(page: Page) -> None:
    last(page).focus()
    page.keyboard.press("Shift+F10")
    assert menu(page) == [
        *("Answer", "Answer in a thread", "Copy the link", "Mark unread from here", "Details"),
        *("Certificate", "Report"),
    ]
    page.keyboard.press("Escape")
    expect(last(page)).to_be_focused()


def test_a_deleted_message_leaves_a_stone_and_no_words(page: Page) -> None:
    told(page, "server.remove({user: cast.BOB}, {room: 'general', message: 'event-120'})")
    expect(last(page)).to_contain_text("Deleted by its author.")
    assert "old 120" not in page.content()
    last(page).focus()
    page.keyboard.press("Shift+F10")
    assert menu(page) == ["Copy the link", "Mark unread from here", "Details", "Certificate"]
    page.keyboard.press("Escape")


def test_an_edit_shows_and_leads_to_the_versions(page: Page) -> None:
    told(
        page,
        "server.done({user: cast.BOB}, 'message.edited', "
        "{room: 'general', message: 'event-120', body: 'new words'})",
    )
    expect(last(page)).to_contain_text("new words edited")
    last(page).get_by_role("button", name="edited").click()
    expect(page.locator("dialog[open]")).to_contain_text("old 120")
    page.keyboard.press("Escape")


def test_what_is_marked_unread_stays_so_while_one_looks_at_it(page: Page) -> None:
    last(page).hover()
    page.locator(".toolbar [data-action=menu]").click()
    page.get_by_role("menuitem", name="Mark unread from here").click()
    expect(last(page).locator(".divider-new")).to_be_visible()
    expect(page).to_have_title("(1) general – Signet")
    page.wait_for_timeout(600)
    assert page.evaluate("server.reads['1.general']") == 120
    expect(page).to_have_title("(1) general – Signet")


def test_a_link_to_a_message_leads_there_and_back(page: Page, address: str) -> None:
    last(page).hover()
    page.locator(".toolbar [data-action=menu]").click()
    page.get_by_role("menuitem", name="Copy the link").click()
    assert (
        page.evaluate("navigator.clipboard.readText()") == f"{address}/rooms/general/#message-120"
    )
    expect(page.locator("#toasts")).to_contain_text("The link is copied")

    page.goto(f"{address}/rooms/other/")
    page.goto(f"{address}/rooms/general/#message-10")
    found = page.locator("#timeline li[data-seq='10']")
    expect(found).to_be_in_viewport()
    expect(found).to_be_focused()
    expect(found).to_have_class(re.compile("is-target"))
    expect(page.locator("#timeline li[data-seq='120']")).to_have_count(0)

    page.get_by_role("button", name="Back to the newest").click()
    expect(last(page)).to_contain_text("old 120")
    expect(last(page)).to_be_in_viewport()


def test_the_view_stands_still_while_the_past_comes_in_from_both_sides(
    page: Page, address: str
) -> None:
    page.goto(f"{address}/rooms/other/")
    page.goto(f"{address}/rooms/general/#message-60")
    expect(page.locator("#timeline li[data-seq='60']")).to_be_in_viewport()
    for by, reached in ((-900, "old 1"), (3000, "old 120")):
        for _ in range(3):
            seen = page.evaluate(SCROLL, by)
            page.wait_for_timeout(100)
            assert page.evaluate(WHERE, seen[0]) == pytest.approx(seen[1], abs=1)
        expect(page.locator("#timeline").get_by_text(reached, exact=True)).to_have_count(1)
    expect(page.locator("#jump")).to_be_hidden()


SCROLL = """(by) => {
  const scroller = document.getElementById("scroller");
  scroller.scrollTop += by;
  const edge = scroller.getBoundingClientRect().top;
  const row = [...document.querySelectorAll("#timeline .message-row")]
    .find((row) => row.getBoundingClientRect().top > edge);
  return [row.parentElement.dataset.key, row.getBoundingClientRect().top];
}"""
WHERE = """(key) => document.querySelector(`#timeline li[data-key="${key}"] .message-row`)
  .getBoundingClientRect().top"""


def test_a_quotation_leads_to_what_it_quotes(page: Page) -> None:
    told(page, "server.say(cast.BOB, 'I mean this', {data: {reply_to: 'event-8'}})")
    quote = last(page).locator(".quote")
    expect(quote).to_contain_text("Bob old 8", use_inner_text=True)
    quote.click()
    expect(page.locator("#timeline li[data-seq='8']")).to_be_in_viewport()


def test_a_refusal_is_said(page: Page) -> None:
    told(
        page,
        "server.answers.react = null; const give = server.give.bind(server);"
        "server.receive = (socket, {ref}) => give(socket, {ref, ok: false, "
        "error: {code: 'not_allowed', detail: 'This room is archived.'}})",
    )
    last(page).hover()
    page.get_by_role("button", name="React with 👍").click()
    expect(page.locator("#toasts")).to_have_text("This room is archived.")


def test_files_and_pictures_keep_their_place(page: Page) -> None:
    page.route("**/thumbnail", lambda route: route.fulfill(body="", content_type="image/png"))
    told(
        page,
        """
      const attachments = [
        {id: "a1", name: "plan.pdf", size: 1234567, type: "application/pdf"},
        {id: "b2", name: "a b.png", size: 9, type: "image/png", width: 1600, height: 800, thumbnail: true}];
      server.say(cast.BOB, "", {data: {attachments, html: ""}});""",
    )
    file = last(page).get_by_role("link", name="plan.pdf")
    expect(file).to_have_attribute("href", "/rooms/general/files/a1/plan.pdf")
    expect(file).to_have_attribute("download", "plan.pdf")
    expect(file).to_contain_text("1.2 MB")
    picture = last(page).locator("img")
    expect(picture).to_have_attribute("width", "400")
    expect(picture).to_have_attribute("height", "200")
    expect(picture).to_have_attribute("alt", "a b.png")
    expect(last(page).locator("a.picture")).to_have_attribute(
        "href", "/rooms/general/files/b2/a%20b.png"
    )


def test_text_becomes_markup_in_one_place_alone(page: Page) -> None:
    refused = """() => {
      const tries = [() => (document.body.innerHTML = "<b>x</b>"),
        () => new DOMParser().parseFromString("<b>x</b>", "text/html"),
        () => trustedTypes.createPolicy("mine", { createHTML: (html) => html })];
      return tries.map((attempt) => { try { attempt(); return "done"; } catch (e) { return e.name; } });
    }"""
    other = page.context.browser.new_page()  # the browser complains of these on the console
    other.goto(page.url)
    expect(other.locator("#timeline li").last).to_contain_text("old 120")
    assert other.evaluate(refused) == ["TypeError"] * 3
    other.close()


def test_a_finger_reaches_everything_too(page: Page, address: str) -> None:
    phone = page.context.browser.new_page(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    phone.goto(f"{address}/rooms/general/")
    expect(last(phone)).to_contain_text("old 120")
    more = last(phone).get_by_role("button", name="What to do with this message")
    box = more.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 44
    more.tap()
    rows = phone.locator(".menu:popover-open button")
    assert all(row.bounding_box()["height"] >= 44 for row in rows.all())
    phone.get_by_role("menuitem", name="React with 👍").tap()
    expect(last(phone).locator(".reaction[aria-pressed=true]")).to_have_count(1)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    phone.close()
