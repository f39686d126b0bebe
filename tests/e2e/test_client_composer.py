"""The message box as a person uses it: answers, edits, names, commands, files and rules of a room."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import open_general

pytestmark = pytest.mark.browser
ANSWERS = """
  const people = Array.from({ length: 30 }, (_, at) =>
    ({ id: 100 + at, username: `person${at}`, name: `Person ${at}` }));
  server.answers = {
    members: ({ room }) => ({ members: [cast.ALICE, cast.BOB, ...(room === "general" ? people : [])]
      .map((user) => ({ user, role: "member", joined_at: "2026-01-01T00:00:00Z" })) }),
    people: () => ({ people: [{ id: 9, username: "boris", name: "Boris Out" }, cast.BOB] }),
  };
"""


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    open_general(browser_page, address).evaluate(f"() => {{ {ANSWERS} }}")
    return browser_page


def box(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("#composer-input")


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    box(page).press("Enter")


def last_post(page: Page) -> dict[str, object]:
    found: dict[str, object] = page.evaluate(
        "server.requests.findLast((request) => request.op === 'post')"
    )
    return found


def go_to(page: Page, room: str) -> None:
    page.locator(f"[data-room={room}]").click()
    expect(box(page)).to_have_attribute("placeholder", f"Message {room}")


def change_room(page: Page, **fields: object) -> None:
    event = "cast.note(0, 'room.changed', cast.BOB, data)"
    page.evaluate(f"(data) => void server.append('general', {event})", fields)


def test_up_edits_the_last_message_and_escape_brings_the_draft_back(page: Page) -> None:
    say(page, "one mistkae")
    expect(page.locator("li[data-own=true][data-state=sent]")).to_have_count(1)
    box(page).press("ArrowUp")
    expect(box(page)).to_have_value("one mistkae")
    expect(page.locator(".composer-task")).to_contain_text("Editing your message")

    box(page).press("Escape")
    expect(box(page)).to_have_value("")
    expect(page.locator(".composer-task")).to_be_hidden()

    box(page).press("ArrowUp")
    box(page).fill("no mistake")
    box(page).press("Enter")
    expect(page.locator("li[data-own=true] .message-body")).to_contain_text("no mistake")
    expect(box(page)).to_have_value("")


def test_a_refused_edit_says_why_and_stays(page: Page) -> None:
    say(page, "first")
    expect(page.locator("li[data-own=true][data-state=sent]")).to_have_count(1)
    page.evaluate(
        "server.answers.edit = () => ({ ok: false, error: { code: 'x', detail: 'No.' } })"
    )
    box(page).press("ArrowUp")
    box(page).fill("second")
    box(page).press("Enter")
    expect(page.locator("#composer .composer-notice")).to_have_text("Not saved. No.")
    expect(box(page)).to_have_value("second")
    expect(box(page)).to_be_editable()


def test_an_edit_refused_while_one_is_elsewhere_is_told_and_waits_there(page: Page) -> None:
    say(page, "first")
    expect(page.locator("li[data-own=true][data-state=sent]")).to_have_count(1)
    page.evaluate("server.isMute = true")
    box(page).press("ArrowUp")
    box(page).fill("second")
    box(page).press("Enter")
    go_to(page, "other")
    expect(box(page)).to_have_value("")
    page.evaluate("""async () => {
      const edit = () => server.requests.find(({ op }) => op === "edit");
      while (!edit()) await new Promise((resolve) => setTimeout(resolve, 5));
      server.isMute = false;
      server.push({ ref: edit().ref, ok: false, error: { code: "not_allowed", detail: "No." } });
    }""")
    expect(page.locator(".toast")).to_have_text("Your edit in general was not saved. No.")
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_editable()

    go_to(page, "general")
    expect(box(page)).to_have_value("second")
    expect(page.locator("#composer .composer-notice")).to_have_text("Not saved. No.")
    box(page).press("Enter")
    expect(page.locator("li[data-own=true] .message-body")).to_contain_text("second")


def test_a_room_that_is_left_keeps_what_another_tab_writes_there(page: Page) -> None:
    say(page, "mine")
    expect(page.locator("li[data-own=true][data-state=sent]")).to_have_count(1)
    page.evaluate("localStorage.setItem('signet.draft.alice.general', 'of another tab')")
    box(page).press("ArrowUp")
    box(page).press("Escape")
    go_to(page, "other")
    assert page.evaluate("localStorage.getItem('signet.draft.alice.general')") == "of another tab"


def test_a_command_that_leads_elsewhere_does_not_stay_in_the_box(page: Page) -> None:
    say(page, "/join other")
    expect(box(page)).to_have_attribute("placeholder", "Message other")
    go_to(page, "general")
    expect(box(page)).to_have_value("")


def test_writing_many_lines_keeps_the_newest_message_in_view(page: Page) -> None:
    for _ in range(12):
        box(page).press("Shift+Enter")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(page.locator("#timeline li").last).to_be_in_viewport()
    expect(page.locator("#jump")).to_be_hidden()


def test_a_draft_keeps_what_it_answers_over_a_reload(page: Page) -> None:
    item = page.locator("#timeline li").last
    item.hover()
    item.get_by_role("button", name="Answer", exact=True).first.click()
    chip = page.locator(".composer-task")
    expect(chip).to_contain_text("Answering Bob")
    expect(chip).to_contain_text("old 120")
    box(page).fill("an answer")

    page.reload()
    expect(chip).to_contain_text("Answering Bob")
    expect(box(page)).to_have_value("an answer")

    box(page).press("Enter")
    expect(chip).to_be_hidden()
    expect(page.locator("li[data-own=true]")).to_have_attribute("data-state", "sent")
    assert last_post(page)["reply_to"] == "event-120"


def test_up_writes_a_refused_message_anew(page: Page) -> None:
    item = page.locator("#timeline li").last
    item.hover()
    item.get_by_role("button", name="Answer", exact=True).first.click()
    page.evaluate(
        "server.refusals.push({ code: 'not_found', detail: 'A file is not here any more.' })"
    )
    say(page, "see the report")
    expect(page.locator("li[data-own=true][data-state=failed]")).to_have_count(1)

    box(page).press("ArrowUp")
    expect(page.locator("li[data-own=true]")).to_have_count(0)
    expect(box(page)).to_have_value("see the report")
    expect(page.locator(".composer-task")).to_contain_text("Answering Bob")
    box(page).press("Enter")
    expect(page.locator("li[data-own=true]")).to_have_attribute("data-state", "sent")
    assert last_post(page)["reply_to"] == "event-120"


def test_people_are_named_with_the_keyboard_alone(page: Page) -> None:
    box(page).press_sequentially("hello @bo")
    options = page.get_by_role("option")
    expect(options).to_have_count(2)
    expect(box(page)).to_have_attribute("role", "combobox")
    expect(options.first).to_contain_text("Bob")
    expect(options.nth(1)).to_contain_text("not in this room")

    box(page).press("ArrowDown")
    active = box(page).get_attribute("aria-activedescendant")
    assert active == options.nth(1).get_attribute("id")
    box(page).press("ArrowUp")
    box(page).press("Tab")
    expect(box(page)).to_have_value("hello @bob ")
    expect(box(page)).to_be_focused()
    expect(box(page)).not_to_have_attribute("role", "combobox")


def test_escape_lets_the_word_be_and_enter_then_sends(page: Page) -> None:
    box(page).press_sequentially("see @bo")
    expect(page.get_by_role("option").first).to_be_visible()
    box(page).press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    box(page).press("Enter")
    expect(page.locator("li[data-own=true]")).to_contain_text("see @bo")


def test_emoji_are_written_by_name_or_picked(page: Page) -> None:
    box(page).press_sequentially("go :rocke")
    box(page).press("Enter")
    expect(box(page)).to_have_value("go 🚀 ")

    page.locator("#composer").get_by_role("button", name="Emoji").click()
    page.keyboard.type("tada")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("gridcell", name="tada")).to_be_focused()
    page.keyboard.press("Enter")
    expect(box(page)).to_have_value("go 🚀 🎉")
    expect(box(page)).to_be_focused()


def test_a_word_to_many_is_asked_about_first(page: Page) -> None:
    say(page, "@all lunch")
    ask = page.locator(".composer-ask")
    expect(ask).to_contain_text("@all tells all 32 people in general")
    page.keyboard.press("Escape")
    expect(ask).to_be_hidden()
    expect(box(page)).to_have_value("@all lunch")
    expect(page.locator("li[data-own=true]")).to_have_count(0)

    box(page).press("Enter")
    page.get_by_role("button", name="Send to all").click()
    expect(page.locator("li[data-own=true]")).to_contain_text("@all lunch")


def test_a_refused_message_goes_back_into_an_empty_box(page: Page) -> None:
    page.evaluate("server.refusals.push({ code: 'not_allowed', detail: 'Not now.' })")
    say(page, "with a tpyo")
    mine = page.locator("li[data-own=true]")
    box(page).fill("the next one")
    mine.get_by_role("button", name="Edit").click()
    expect(page.locator("#toasts")).to_have_text("Send what is in the box first, or clear it.")
    expect(box(page)).to_have_value("the next one")

    box(page).fill("")
    mine.get_by_role("button", name="Edit").click()
    expect(box(page)).to_have_value("with a tpyo")
    expect(box(page)).to_be_focused()
    expect(mine).to_have_count(0)


def test_a_refused_message_stays_where_nobody_may_write(page: Page) -> None:
    page.evaluate("server.refusals.push({ code: 'not_allowed', detail: 'Not now.' })")
    say(page, "too late")
    mine = page.locator("li[data-own=true]")
    expect(mine).to_have_attribute("data-state", "failed")
    change_room(page, archived=True)
    mine.get_by_role("button", name="Edit").click()
    expect(page.locator("#toasts")).to_contain_text("This room is archived")
    expect(mine).to_contain_text("too late")


def test_commands_act_or_say_what_is_wrong(page: Page) -> None:
    notice = page.locator("#composer .composer-notice")
    say(page, "/bogus")
    expect(notice).to_contain_text("There is no command /bogus")
    expect(box(page)).to_have_value("/bogus")

    page.evaluate("""() => { server.answers.invite = ({ room, user }) => ({ event: server.append(room,
      cast.note(0, "member.joined", cast.ALICE, { user: { id: 9, username: user, name: user } })) }); }""")
    say(page, "/invite @boris")
    expect(page.locator("#toasts")).to_have_text("boris can read this room now.")
    expect(notice).to_be_hidden()
    expect(box(page)).to_have_value("")

    say(page, "/topic nobody allows this")
    expect(notice).to_have_text("No.")
    say(page, "/help")
    expect(page.locator("#keys-dialog")).to_be_visible()
    expect(page.locator("#keys-dialog")).to_contain_text("/invite")
    page.keyboard.press("Escape")


def test_where_one_may_not_write_stands_why(page: Page) -> None:
    box(page).fill("half a thought")
    change_room(page, posting="moderators")
    expect(page.locator(".composer-shut")).to_have_text("Only moderators write in this room.")
    expect(box(page)).to_be_hidden()
    change_room(page, posting="members")
    expect(box(page)).to_have_value("half a thought")
    change_room(page, archived=True)
    expect(page.locator(".composer-shut")).to_contain_text("This room is archived")


def test_in_slow_mode_the_next_message_waits_and_says_how_long(page: Page) -> None:
    change_room(page, slow_seconds=90)
    wait = page.locator(".composer-wait")
    expect(wait).to_have_text("Slow mode: one message every 1 min 30 s. ")
    page.evaluate(
        "server.refusals.push({ code: 'rate_limited', detail: 'Slow.', retry_after: 75 })"
    )
    say(page, "too soon")
    expect(page.locator("li[data-own=true]")).to_have_attribute("data-state", "waiting")
    expect(wait).to_contain_text("The next one goes out in 1 min 1")
    box(page).fill("writing goes on")
    page.locator("li[data-own=true]").get_by_role("button", name="Delete").click()
    expect(box(page)).to_have_value("writing goes on")


def test_files_are_sent_with_the_message_once_they_have_arrived(page: Page) -> None:
    page.evaluate("""() => { globalThis.uploads = []; const plain = fetch;
      globalThis.fetch = (url, options = {}) => {
        if (!String(url).includes("/files/")) return plain(url, options);
        const { method = "GET" } = options;
        const reply = (body) => new Response(JSON.stringify(body));
        if (method === "GET") return Promise.resolve(reply(
          { file_bytes: 2048, per_message: 10, chunk_bytes: 1024, csrf: "x" }));
        if (method === "POST") return Promise.resolve(reply({ id: "f1", chunk_bytes: 1024 }));
        return new Promise((resolve) => uploads.push(() => resolve(reply(
          { received: 3, attachment: { id: "f1", name: "a.txt", size: 3, type: "text/plain" } }))));
      }; }""")
    page.locator("#composer .attach").hover()
    expect(page.locator("#composer .attach")).to_have_attribute(
        "title", "Attach files. Up to 10 files, 2 KB each."
    )
    files = page.locator("#composer input[type=file]")
    files.set_input_files({"name": "big.bin", "mimeType": "x/y", "buffer": b"x" * 4096})
    expect(page.locator("#composer .composer-notice")).to_have_text(
        "“big.bin” has 4 KB; a file may have 2 KB."
    )
    files.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"abc"})
    item = page.locator(".tray-item")
    expect(item).to_have_attribute("data-state", "uploading")

    say(page, "with a file")
    say(page, "not before it")
    mine = page.locator("li[data-own=true]")
    expect(mine.first).to_have_attribute("data-state", "uploading")
    expect(mine.last).to_have_attribute("data-state", "waiting")
    expect(item).to_have_count(0)
    page.evaluate("uploads[0]()")
    expect(mine.last).to_have_attribute("data-state", "sent")
    posts = "server.requests.filter(({ op }) => op === 'post').map((p) => [p.body, p.attachments ?? []])"
    assert page.evaluate(posts) == [["with a file", ["f1"]], ["not before it", []]]


DRAG = """globalThis.drag = (type, target = document.body) => {
  const data = new DataTransfer();
  data.items.add(new File(["x"], "dot.svg", { type: "image/svg+xml" }));
  const about = { dataTransfer: data, bubbles: true, cancelable: true };
  target.dispatchEvent(new DragEvent(type, about));
};"""


def test_a_drop_anywhere_is_taken_and_pictures_are_shown(page: Page) -> None:
    page.evaluate(DRAG)
    page.evaluate("""() => { globalThis.fetch = () => new Promise(() => {});
      drag("dragenter"); drag("dragover"); }""")
    expect(page.locator("#drop")).to_be_visible()
    page.evaluate("drag('drop')")
    expect(page.locator("#drop")).to_be_hidden()
    assert str(page.locator(".tray-item img").get_attribute("src")).startswith("blob:")
    page.get_by_role("button", name="dot.svg").click()
    expect(page.locator(".tray-item")).to_have_count(0)


def test_a_drag_that_has_left_the_page_shows_no_more_whatever_was_redrawn_below_it(
    page: Page,
) -> None:
    page.evaluate(DRAG)
    page.evaluate("""() => {
      const row = document.querySelector("#timeline li");
      drag("dragenter", row); drag("dragover", row);
      row.remove();
      drag("dragenter"); drag("dragleave", row); drag("dragover"); drag("dragleave"); }""")
    expect(page.locator("#drop")).to_be_hidden()
