"""The chat page as a person uses it, with a server inside the page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import bob_says, say

pytestmark = pytest.mark.browser


@pytest.fixture
def second_page(browser_page: Page) -> Iterator[Page]:
    """A page of its own: with a clock of its own, or with complaints on its console."""
    browser = browser_page.context.browser
    assert browser
    page = browser.new_page()
    yield page
    page.close()


def test_enter_sends_and_shift_enter_begins_a_line(page: Page) -> None:
    box = page.locator("#composer-input")
    box.fill("first line")
    box.press("Shift+Enter")
    box.press_sequentially("second line")
    expect(page.locator("li[data-own=true]")).to_have_count(0)

    box.press("Enter")

    mine = page.locator("li[data-own=true]")
    expect(mine).to_have_attribute("data-state", "sent")
    expect(mine).to_contain_text("first line\nsecond line", use_inner_text=False)
    expect(box).to_have_value("")
    expect(box).to_be_focused()


def test_enter_that_ends_a_composition_sends_nothing(page: Page) -> None:
    page.locator("#composer-input").fill("にほん")
    page.evaluate("""() => document.getElementById("composer-input").dispatchEvent(
      new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true}))""")
    expect(page.locator("#composer-input")).to_have_value("にほん")


def test_a_message_is_shown_at_once_as_text_and_then_as_the_server_renders_it(page: Page) -> None:
    page.evaluate("server.isMute = true")
    say(page, "<b>bold</b>")
    mine = page.locator("li[data-own=true]")
    expect(mine).to_have_attribute("data-state", "sending")
    expect(mine.locator(".message-body")).to_have_text("<b>bold</b>")
    page.evaluate("mine = document.querySelector('li[data-own=true]')")

    page.evaluate("""() => {
      server.isMute = false;
      const {client_id} = server.requests.findLast(({op}) => op === "post");
      server.say(cast.ALICE, "<b>bold</b>", {client_id});
    }""")

    expect(mine).to_have_attribute("data-state", "sent")
    expect(mine.locator("b")).to_have_text("bold")
    assert page.evaluate("mine === document.querySelector('li[data-own=true]')")


def test_a_refused_message_says_why_and_can_be_tried_again_or_deleted(page: Page) -> None:
    refusal = "server.refusals.push({code: 'not_allowed', detail: 'You may only read here.'})"
    page.evaluate(refusal)
    say(page, "may I?")
    mine = page.locator("li[data-own=true]")
    expect(mine).to_have_attribute("data-state", "failed")
    expect(mine).to_contain_text("Not sent. You may only read here.")

    page.get_by_role("button", name="Try again").click()
    expect(mine).to_have_attribute("data-state", "sent")

    page.evaluate(refusal)
    say(page, "and now?")
    page.get_by_role("button", name="Delete").click()
    expect(mine).to_have_count(1)


def test_messages_are_grouped_by_author_and_days_are_parted(page: Page) -> None:
    bob_says(page, "today", "and again")
    last = page.locator("#timeline li").last
    expect(last).to_contain_text("and again")
    expect(last.locator(".author")).to_have_count(0)
    first = page.locator("#timeline li", has_text="today").first
    expect(first.locator(".author")).to_have_text("Bob")
    expect(first.locator(".divider-day")).to_have_text("Today")


def test_rooms_have_their_own_drafts_and_the_back_button_works(page: Page) -> None:
    box = page.locator("#composer-input")
    box.fill("half a thought")
    page.locator("[data-room=other]").click()
    expect(box).to_have_value("")
    expect(box).to_be_focused()
    page.go_back()
    expect(page.locator("#room")).to_have_attribute("data-slug", "general")
    expect(box).to_have_value("half a thought")
    page.reload()
    expect(box).to_have_value("half a thought")


def test_a_device_that_went_offline_is_not_taken_for_connected(
    second_page: Page, address: str
) -> None:
    page = second_page
    page.clock.install()
    page.goto(f"{address}/rooms/general/")
    page.clock.run_for(1000)
    expect(page.locator("#timeline li").last).to_contain_text("old 120")

    page.evaluate(
        """() => { server.receive = () => {}; server.closesWith = 1013;
          void dispatchEvent(new Event("offline")); }"""
    )
    page.clock.run_for(12_000)
    expect(page.locator("#banner")).to_be_visible()


def test_a_revoked_certificate_closes_the_page_and_says_so(page: Page) -> None:
    page.evaluate("server.close(4501)")
    stopped = page.locator("#stopped")
    expect(stopped).to_contain_text("Your certificate was revoked. This page is closed.")
    expect(page.locator("#stopped-title")).to_be_focused()
    expect(stopped.get_by_role("link", name="What the server sees")).to_have_attribute(
        "href", "/whoami"
    )
    expect(stopped.get_by_role("button", name="Reload the page")).to_be_visible()
    expect(page.locator("#timeline li")).to_have_count(0)
    expect(page.locator("#composer-input")).to_be_hidden()


def test_a_short_break_goes_without_a_word_and_a_long_one_does_not(
    second_page: Page, address: str
) -> None:
    page = second_page
    page.clock.install()
    page.goto(f"{address}/rooms/general/")
    page.clock.run_for(1000)
    expect(page.locator("#timeline li").last).to_contain_text("old 120")

    page.evaluate("server.closesWith = 1013; server.close(1012)")
    say(page, "written meanwhile")
    page.clock.run_for(4000)
    expect(page.locator("#banner")).to_be_hidden()
    page.clock.run_for(3000)
    expect(page.locator("#banner")).to_contain_text("1 message waits here")
    expect(page.locator("li[data-own=true]")).to_have_attribute("data-state", "waiting")

    page.evaluate("server.closesWith = null")
    page.clock.run_for(40_000)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("li[data-own=true]")).to_have_attribute("data-state", "sent")


def test_hostile_html_does_nothing_even_if_the_server_let_it_through(
    second_page: Page, address: str
) -> None:
    page = second_page  # the policy reports what the filter then drops
    page.goto(f"{address}/rooms/general/")
    expect(page.locator("#timeline li").last).to_contain_text("old 120")
    page.evaluate("""() => {
      const html = `<p onclick="hacked = 1" style="color:red">text <img src=x onerror="hacked = 1">
        <a href="javascript:hacked = 1">bad</a> <a href="https://example.org/" target="_self">good</a>
        <script>hacked = 1</` + `script><svg onload="hacked = 1"></svg><form><input></form></p>`;
      const event = cast.message(0, cast.BOB);
      server.append("general", {...event, data: {...event.data, html}});
    }""")
    body = page.locator("#timeline li").last.locator(".message-body")
    expect(body).to_contain_text("text")
    assert body.locator("img, script, svg, input, [onclick], [style]").count() == 0
    link = body.get_by_role("link")
    expect(link).to_have_text("good")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    assert page.evaluate("typeof hacked") == "undefined"


def test_arrivals_are_announced_and_history_is_not(page: Page) -> None:
    expect(page.locator("#arrivals")).to_be_empty()
    bob_says(page, "knock knock")
    expect(page.locator("#arrivals")).to_have_text("Bob: knock knock")
    bob_says(page, "one", "two", "three")
    expect(page.locator("#arrivals")).to_have_text("3 new messages")


def test_keys_go_from_message_to_message_and_show_the_certificate(page: Page) -> None:
    last = page.locator("#timeline li").last
    last.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    before_last = page.locator("#timeline li").nth(-2)
    expect(before_last).to_be_focused()
    expect(before_last.locator(".facts")).to_contain_text("seri al-o f-bo b")
    expect(before_last.locator("button.gutter")).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#timeline > [tabindex='0']")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(before_last.locator(".facts")).to_have_count(0)


def test_a_new_room_is_made_and_opened(page: Page) -> None:
    page.locator("#new-room").click()
    page.get_by_label("Name", exact=True).fill("Été 2026!")
    expect(page.get_by_label("Address", exact=True)).to_have_value("ete-2026")
    page.locator("#create-submit").click()
    expect(page.locator("#room-name")).to_have_text("Été 2026!")
    expect(page).to_have_url(re.compile(r"/rooms/ete-2026/$"))
    expect(page.locator("#room-empty")).to_be_visible()


def test_a_room_one_is_not_in_offers_to_join(browser_page: Page, address: str) -> None:
    browser_page.goto(f"{address}/rooms/far/")
    expect(browser_page.locator("#outside")).to_contain_text("You are not in “far”")
    expect(browser_page.locator("#outside")).to_contain_text("open to everybody")
    browser_page.locator("#outside-join").click()
    expect(browser_page.locator("#outside-error")).to_have_text("No.")


def test_who_is_taken_out_of_the_open_room_learns_by_whom(page: Page) -> None:
    page.evaluate("server.answers.rooms = () => ({ rooms: [{ room: 'general' }] })")
    page.evaluate(
        """() => void server.append("general", cast.note(0, "member.left", cast.BOB,
          { user: cast.ALICE, banned: true, reason: "spam" }))"""
    )
    expect(page.locator("#outside-parting")).to_have_text("Bob banned you: spam")
    page.wait_for_timeout(300)  # in which it would ask whether the room is open to everybody
    expect(page.locator("#outside-join")).to_be_hidden()
    expect(page.locator("#outside-hint")).to_be_hidden()


def test_a_room_that_nobody_lists_offers_no_way_in(browser_page: Page, address: str) -> None:
    browser_page.goto(f"{address}/rooms/den/")
    expect(browser_page.locator("#outside-hint")).to_contain_text("or it is a private one")
    expect(browser_page.locator("#outside-join")).to_be_hidden()


def test_who_is_brought_into_a_room_is_told_and_finds_it_marked(page: Page) -> None:
    page.evaluate(
        """() => {
          server.logs.den = [];
          server.append("den", cast.note(1, "member.joined", cast.BOB, { user: cast.ALICE, name: "Den" }));
        }"""
    )
    expect(page.locator("#toasts")).to_have_text("Bob brought you into Den.")
    expect(page.locator("[data-room=den] .badge")).to_contain_text("1")
    page.locator("[data-room=den]").click()
    expect(page.locator("[data-room=den] .badge")).to_have_count(0)


def test_a_narrow_screen_shows_the_list_or_the_room(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    expect(page.locator("#room-list")).to_be_hidden()
    page.locator("#show-rooms").click()
    expect(page.locator("#room-list")).to_be_visible()
    expect(page.locator("#composer-input")).to_be_hidden()
    page.locator("[data-room=other]").click()
    expect(page.locator("#composer-input")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_long_dialog_opens_at_its_beginning(page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 450})
    page.locator("[data-opens=keys]").click()
    expect(page.locator("#keys-dialog").get_by_role("button")).to_be_focused()
    assert page.locator("#keys-dialog").evaluate(
        "(it) => [it.scrollTop, it.scrollHeight > 450]"
    ) == [
        0,
        True,
    ]


def test_an_empty_box_is_one_line_high_whatever_the_room_is_called(page: Page) -> None:
    box = page.locator("#composer-input")
    height = "(box) => { box.dispatchEvent(new Event('input', {bubbles: true})); return box.clientHeight; }"
    before = box.evaluate(height)
    box.evaluate("(box) => { box.placeholder = 'Message ' + 'a long name '.repeat(30); }")
    assert box.evaluate(height) == before


def test_a_wide_screen_opens_a_room_at_once(browser_page: Page, address: str) -> None:
    browser_page.set_viewport_size({"width": 1280, "height": 800})
    browser_page.evaluate("localStorage.clear()")
    browser_page.goto(f"{address}/")
    expect(browser_page).to_have_url(re.compile(r"/rooms/general/$"))


def test_a_message_that_is_too_long_is_not_sent(page: Page) -> None:
    page.locator("#composer-input").fill("x" * 1001)
    expect(page.locator("#composer-count")).to_contain_text("1 too many")
    page.locator("#composer-input").press("Enter")
    expect(page.locator("#composer-input")).to_have_value("x" * 1001)


def test_a_mark_comes_by_itself_and_leads_to_the_certificate(page: Page) -> None:
    page.evaluate("""() => {
      const certificate = {
        serial: "serial-of-bob", sha256: "ab".repeat(32), subject: "CN=bob", issuer: "CN=CA",
        owner: cast.BOB, device: "", not_before: "2020-01-01T00:00:00.000Z",
        not_after: "2040-01-01T00:00:00.000Z", state: "good",
      };
      server.certificates["serial-of-bob"] = certificate;
      server.say(cast.BOB, "it is me", { at: new Date().toISOString() });
    }""")
    expect(page.locator("#timeline li").last).to_contain_text("it is me")
    expect(page.locator(".mark")).to_have_count(0)
    page.evaluate("""() => {
      const at = new Date().toISOString();
      Object.assign(server.certificates["serial-of-bob"],
        { state: "revoked", revoked_at: at, reason: "keyCompromise" });
      server.push({ ev: "certificate", serial: "serial-of-bob", state: "revoked", at });
    }""")
    mark = page.locator("#timeline li").last.get_by_role("button", name="Certificate revoked")
    expect(mark).to_be_visible()
    expect(page.locator("li:not(.is-head) .mark")).to_have_count(0)
    mark.click()
    card = page.get_by_role("dialog", name="Who is this really?")
    expect(card).to_contain_text("This comes from Bob (@bob)")
    expect(card).to_contain_text("the key was lost or stolen")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_who_is_here_is_shown_in_the_list_of_people(page: Page) -> None:
    page.evaluate("""() => {
      server.push({ ev: "room", room: "dm", name: "Bob", kind: "direct", head: 0, read: 0,
        role: "owner", others: [cast.BOB.id] });
      server.push({ ev: "presence", people: { [cast.BOB.id]: "active" } });
    }""")
    dot = page.locator("[data-room=dm] .presence")
    expect(dot).to_have_attribute("data-state", "active")
    expect(dot).to_contain_text("here now")
    page.evaluate("""() => server.push({ ev: "presence", people: { [cast.BOB.id]: "away" } })""")
    expect(dot).to_have_attribute("data-state", "away")
    expect(dot).to_contain_text("away")
