"""Where the reader is in a room: at its end, on the way, far back; and that nothing moves them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import bob_says, say

pytestmark = pytest.mark.browser


def scroll_up(page: Page, by: int) -> None:
    page.evaluate("(by) => { document.getElementById('scroller').scrollTop -= by }", by)
    expect(page.locator("#jump")).to_be_visible()


def top_of(page: Page, text: str) -> float:
    box = page.locator("#timeline").get_by_text(text, exact=True).bounding_box()
    assert box is not None
    return box["y"]


def write_log(page: Page, length: int, *, read: int, event: str = "cast.message(seq)") -> None:
    """Another log of the room Other, which the client gets to know from its beginning."""
    page.evaluate(f"""() => {{
      const one = (seq) => ({{ ...{event}, room: "other" }});
      server.logs.other = Array.from({{ length: {length} }}, (_, at) => one(at + 1));
      server.reads["1.other"] = {read};
      server.close(4001);
    }}""")
    expect(page.locator("#chat")).not_to_have_attribute("data-connection", "open")
    expect(page.locator("#chat")).to_have_attribute("data-connection", "open")


def test_the_view_follows_at_the_end_only(page: Page) -> None:
    bob_says(page, "followed")
    expect(page.locator("#timeline").get_by_text("followed", exact=True)).to_be_in_viewport()

    scroll_up(page, 700)
    before = top_of(page, "old 110")
    bob_says(page, "one", "two")
    expect(page.locator("#jump")).to_have_text("2 new")
    assert top_of(page, "old 110") == pytest.approx(before, abs=1)
    expect(page).to_have_title("(2) general – Signet")

    page.locator("#jump").click()
    expect(page.locator("#timeline").get_by_text("two", exact=True)).to_be_in_viewport()
    expect(page.locator(".divider-new")).to_have_count(1)
    expect(page).to_have_title("general – Signet")
    expect(page.locator("#jump")).to_be_hidden()


def test_older_messages_come_in_above_without_moving_the_view(page: Page) -> None:
    count = page.locator("#timeline li").count()
    page.evaluate("document.getElementById('scroller').scrollTop = 400")
    seen = page.evaluate("""() => {
      const edge = document.getElementById("scroller").getBoundingClientRect().top;
      const row = [...document.querySelectorAll("#timeline .message-row")]
        .find((row) => row.getBoundingClientRect().top > edge);
      const body = row.querySelector(".message-body");
      return [body.innerText, body.getBoundingClientRect().top];
    }""")
    expect(page.locator("#timeline li")).not_to_have_count(count)
    text, before = seen
    after = page.evaluate(
        "(text) => [...document.querySelectorAll('.message-body')]"
        ".find((body) => body.innerText === text).getBoundingClientRect().top",
        text,
    )
    assert after == pytest.approx(before, abs=1)


def test_what_arrives_as_the_reader_begins_to_scroll_does_not_bring_them_back(page: Page) -> None:
    """The browser tells of scrolling only with its next frame, and the page may draw before."""
    page.evaluate("""async () => {
      const later = window.setTimeout;
      const draw = new Promise((resolve) => {
        window.setTimeout = (action, ms) => (ms === 16 ? resolve(action) : later(action, ms));
      });
      server.say(cast.BOB, "in between", { room: "general", at: new Date().toISOString() });
      const drawNow = await draw;
      window.setTimeout = later;
      document.getElementById("scroller").scrollTop -= 700;
      drawNow();
    }""")
    expect(page.locator("#timeline li").last).to_contain_text("in between")
    expect(page.locator("#jump")).to_be_visible()


def test_older_messages_come_to_who_went_to_the_top_without_a_connection(page: Page) -> None:
    count = page.locator("#timeline li").count()
    page.evaluate("server.closesWith = 1013; server.close(1012)")
    expect(page.locator("#chat")).not_to_have_attribute("data-connection", "open")
    scroll_up(page, 100_000)
    expect(page.locator("#timeline li")).to_have_count(count)

    page.evaluate("server.closesWith = null")

    expect(page.locator("#chat")).to_have_attribute("data-connection", "open")
    expect(page.locator("#timeline li")).not_to_have_count(count)


def test_older_messages_come_after_the_server_has_refused_them_for_a_moment(page: Page) -> None:
    write_log(page, 400, read=400)
    page.locator("[data-room=other]").click()
    expect(page.locator("#timeline li[data-seq='400']")).to_be_in_viewport()
    scroll_up(page, 300)
    first = int(page.locator("#timeline li").first.get_attribute("data-seq") or 0)
    page.evaluate("""() => {
      server.refused.history = { code: "rate_limited", detail: "", retry_after: 0.2 };
      document.getElementById("scroller").scrollTop = 0;
    }""")
    expect(page.locator(f"#timeline li[data-seq='{first - 1}']")).to_have_count(1)


@pytest.mark.parametrize("how", ["the button", "a message"])
def test_who_comes_back_from_far_in_the_past_follows_the_end_again(page: Page, how: str) -> None:
    page.evaluate("location.hash = 'message-10'")
    expect(page.locator("#timeline li[data-seq='10']")).to_be_in_viewport()
    expect(page.locator("#timeline li[data-seq='120']")).to_have_count(0)

    if how == "the button":
        page.get_by_role("button", name="Back to the newest").click()
    else:
        say(page, "I am back")
    expect(page.locator("#timeline li[data-seq='120']")).to_be_in_viewport()

    bob_says(page, "welcome")
    expect(page.locator("#timeline li").last).to_contain_text("welcome")
    expect(page.locator("#timeline li").last).to_be_in_viewport()
    expect(page.locator("#jump")).to_be_hidden()


@pytest.mark.parametrize("data", ["{ thread: 'event-100' }", "{ expired: true }"])
def test_a_room_whose_last_part_hardly_shows_is_read_at_its_end(page: Page, data: str) -> None:
    hidden = f"cast.message(seq, cast.BOB, seq > 100 ? {{ data: {data} }} : {{}})"
    write_log(page, 900, read=900, event=hidden)
    page.locator("[data-room=other]").click()
    expect(page.locator("#timeline").get_by_text("message 100", exact=True)).to_be_in_viewport()
    bob_says(page, "news", room="other")
    expect(page.locator("#timeline").get_by_text("news", exact=True)).to_be_in_viewport()
    expect(page.locator("#jump")).to_be_hidden()


def test_a_screen_that_shows_all_that_is_kept_asks_for_no_more(page: Page) -> None:
    write_log(page, 2000, read=2000)
    page.set_viewport_size({"width": 1280, "height": 20_000})
    page.locator("[data-room=other]").click()
    expect(page.locator("#timeline li[data-seq='1690']")).to_have_count(1)
    asked = "server.requests.filter(({ op }) => op === 'history').length"
    before = page.evaluate(asked)
    for step in range(20):
        bob_says(page, f"news {step}", room="other")
        expect(page.locator("#timeline li").last).to_contain_text(f"news {step}")
    assert page.evaluate(asked) <= before + 1


def test_who_was_away_for_long_finds_where_the_new_messages_begin(page: Page) -> None:
    page.evaluate("server.closesWith = 1013; server.close(1012)")
    expect(page.locator("#chat")).not_to_have_attribute("data-connection", "open")
    bob_says(page, *(f"news {number}" for number in range(1, 402)))

    page.evaluate("server.closesWith = null")

    expect(page.locator("#timeline li[data-seq='121'] .divider-new")).to_be_in_viewport()
    expect(page.locator("#jump")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(401\)"))


def test_the_link_that_skips_to_the_messages_leaves_them_a_tab_stop(page: Page) -> None:
    page.locator("#timeline").focus()
    expect(page.locator("#timeline > [tabindex='0']")).to_have_count(1)


def test_a_room_opens_where_the_new_messages_begin(page: Page) -> None:
    bob_says(page, *(f"news {number}" for number in range(1, 41)), room="other")
    link = page.locator("[data-room=other]")
    expect(link).to_have_attribute("data-unread", "40")
    expect(page).to_have_title("(40) general – Signet")

    link.click()

    expect(page.locator(".divider-new")).to_be_in_viewport()
    first = page.locator("#timeline li").filter(has=page.locator(".divider-new"))
    expect(first).to_contain_text("news 1")
    expect(page.locator("#timeline").get_by_text("news 40", exact=True)).not_to_be_in_viewport()
    expect(page).to_have_url(re.compile(r"/rooms/other/$"))
    expect(link).to_have_attribute("aria-current", "page")

    page.locator("#jump").click()
    expect(link).to_have_attribute("data-unread", "0")
    page.wait_for_timeout(600)  # the mark is told after a moment, and to nobody we could watch
    assert page.evaluate("server.reads['1.other']") == 40
