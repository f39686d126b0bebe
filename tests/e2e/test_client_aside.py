"""What is around a room: the list, the switcher, the directory and the column on the right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import wait_until
from tests.e2e.chat_page import ALICE, DESKTOP, chat_html, open_general
from tests.e2e.modules import chromium_page, site
from tests.e2e.test_client_templates import FIND_FAULTS

pytestmark = pytest.mark.browser
SEEDED = {"room": "seeded", "name": "Seeded room", "kind": "private", "description": "For bears"}
# What the server of the page answers; CAROL can be found and is in no room.
ANSWERS = """
() => {
  globalThis.CAROL = { id: 3, username: "carol", name: "Carol" };
  globalThis.team = [
    { user: cast.ALICE, role: "owner" }, { user: cast.BOB, role: "member" },
  ];
  globalThis.bans = [];
  globalThis.told = (op) => server.requests.filter((request) => request.op === op).at(-1);
  const event = (type, data) => server.append("general", cast.note(0, type, cast.ALICE, data));
  const found = (seq) => ({
    event: server.logs.general[seq - 1], room: "general", name: "General",
    snippet: { text: `an old ${seq} <b>`, marks: [[3, 6]] },
    ...(seq === 2 && { files: [{ text: "old <i>.pdf", marks: [[0, 3]] }] }),
  });
  server.answers = {
    members: () => ({ members: team, bans }),
    people: ({ query }) => ({ people: CAROL.username.startsWith(query) ? [CAROL] : [] }),
    rooms: () => ({ rooms: [
      { room: "general", name: "General", description: "", members: 2, joined: true },
      { room: "garden", name: "Garden", description: "Plants", members: 7, joined: false },
    ]}),
    join: ({ room }, user) => {
      server.logs[room] = [];
      const joined = cast.note(1, "member.joined", user, { user, role: "member", name: room });
      return { event: server.append(room, joined) };
    },
    invite: ({ user }) => {
      team = [...team, { user: CAROL, role: "member" }];
      return { event: event("member.joined", { user: CAROL, role: "member" }) };
    },
    ban: ({ user, reason }) => {
      team = team.filter((member) => member.user.username !== user);
      bans = [{ user: cast.BOB, by: cast.ALICE, reason, at: "2026-03-03T12:00:00Z" }];
      return { event: event("member.left", { user: cast.BOB, banned: true, reason }) };
    },
    unban: () => { bans = []; return {}; },
    notify: () => ({}),
    change: (change) => {
      const { op, ref, room, ...changed } = change;
      return { event: event("room.changed", changed) };
    },
    report: () => ({}),
    pins: () => ({ events: [server.logs.general[4]],
      later: [cast.note(900, "message.pinned", cast.BOB, { message: server.logs.general[4].id })] }),
    thread: ({ message }) => ({
      events: server.logs.general.filter((e) => e.id === message || e.data.thread === message),
      later: [], more: false,
    }),
    search: ({ before }) => before ? { hits: [found(2)], more: false }
      : { hits: [found(9), found(8)], more: true },
  };
  server.push({ ev: "room", room: "general", name: "general", kind: "public", role: "owner",
    description: "What matters", head: 120, read: 120 });
}
"""


def seeded() -> dict[str, Any]:
    said = {"body": "from the page", "html": "<p>from the page</p>", "client_id": "x"}
    event = {"ev": "event", "room": "seeded", "seq": 1, "id": "one", "type": "message.posted"}
    event |= {"at": "2026-03-03T12:00:00Z", "by": {"id": 2, "username": "bob", "name": "Bob"}}
    event |= {"certificate": {"serial": "aa"}, "data": said}
    here = {**SEEDED, "head": 1, "read": 1, "role": "member", "archived": False, "unread": 0}
    return {
        "user": ALICE,
        "certificate": {},
        "epoch": "first",
        "limits": {"body_bytes": 1000},
        "rooms": [{**here, "posting": "members", "notify": "all", "others": [], "mentions": 0}],
        "log": {
            "history": {"room": "seeded", "events": [event], "later": [], "more": False},
            "sync": {"rooms": {"seeded": {"events": [], "more": False, "head": 1}}},
        },
    }


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pages = {"/rooms/general/": chat_html("/rooms/general/", "general")}
    pages["/rooms/seeded/"] = chat_html("/rooms/seeded/", "seeded", seeded())
    with site(pages) as url:
        yield url


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with chromium_page(f"{address}/rooms/general/", viewport=DESKTOP) as page:
        yield page


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    """The room General, which Alice owns; Bob is in it."""
    browser_page.set_viewport_size(DESKTOP)
    open_general(browser_page, address).evaluate(ANSWERS)
    expect(browser_page.locator("#room-kind")).to_have_text("What matters")
    return browser_page


def aside(page: Page) -> Locator:
    return page.get_by_role("complementary")


def told(page: Page, op: str) -> dict[str, Any]:
    request: dict[str, Any] = page.evaluate("(op) => told(op)", op)
    return {name: value for name, value in request.items() if name not in ("op", "ref")}


def open_members(page: Page) -> Locator:
    page.locator("#show-members").click()
    bob = aside(page).get_by_role("listitem").filter(has_text="Bob")
    expect(bob).to_be_visible()
    return bob


def test_page_shows_what_came_with_it_before_a_socket_is_open(page: Page, address: str) -> None:
    page.add_init_script("globalThis.isSlow = true")
    page.route(
        "**/tests/client_page.js",
        lambda route: route.fulfill(body=NO_SOCKET, content_type="text/javascript"),
    )
    page.goto(f"{address}/rooms/seeded/")
    expect(page.locator("#timeline li")).to_contain_text("from the page")
    expect(page.locator("#room-name")).to_have_text("Seeded room")
    expect(page.locator("[data-room=seeded]")).to_have_attribute("aria-current", "page")
    assert page.locator("#shell").count() == 0
    page.unroute("**/tests/client_page.js")


NO_SOCKET = "globalThis.WebSocket = class { send() {} close() {} };"


def test_what_is_asked_before_the_socket_is_open_waits_for_it(page: Page) -> None:
    page.evaluate("server.close(1012)")
    page.locator("#show-pins").click()
    expect(aside(page)).to_contain_text("Looking…")
    expect(aside(page)).to_contain_text("Pinned by Bob")


def test_switcher_goes_to_a_room(page: Page) -> None:
    page.locator("#find-room").focus()
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Room or person")
    expect(box).to_be_focused()
    box.press_sequentially("oth")
    expect(page.get_by_role("option", name="other")).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(page.locator("#room")).to_have_attribute("data-slug", "other")
    expect(page.locator("#switcher-dialog")).to_be_hidden()
    expect(page.locator("#composer-input")).to_be_focused()


def test_switcher_begins_a_conversation_and_joins_rooms(page: Page) -> None:
    page.locator("#find-room").click()
    box = page.get_by_role("combobox", name="Room or person")
    box.fill("car")
    page.get_by_role("option", name="Carol").click()
    expect(page.locator("#room")).to_have_attribute("data-slug", re.compile("^dm-alice-carol-"))
    assert told(page, "create")["members"] == ["carol"]

    page.locator("#find-room").click()
    box.fill("gar")
    expect(page.get_by_role("option")).to_have_count(1)
    box.press("ArrowDown")
    box.press("Enter")
    expect(page.locator("#room")).to_have_attribute("data-slug", "garden")


def test_directory_lists_joins_and_says_what_is_refused(page: Page) -> None:
    page.locator("#browse-rooms").click()
    dialog = page.get_by_role("dialog", name="Rooms to join")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    expect(dialog.get_by_role("status")).to_have_text("2 rooms")
    expect(dialog).to_contain_text("Plants")
    page.evaluate("delete server.answers.join")
    dialog.get_by_role("button", name="Join Garden").click()
    expect(dialog.get_by_role("alert")).to_have_text("No.")

    dialog.get_by_role("searchbox").fill("https://chat.test/rooms/hidden/")
    expect(dialog.get_by_role("button", name="Join hidden")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("#browse-rooms")).to_be_focused()


def test_people_are_chosen_for_a_new_room(page: Page) -> None:
    page.locator("#new-room").click()
    dialog = page.get_by_role("dialog", name="New room")
    dialog.get_by_text("Only the people you name").click()
    dialog.get_by_label("Name", exact=True).fill("Burrow")
    box = dialog.get_by_role("combobox")
    box.fill("nobody")
    page.locator("#create-submit").click()
    expect(dialog.get_by_role("alert")).to_contain_text("“nobody” is nobody yet")

    box.fill("ca")
    expect(dialog.get_by_role("option", name="Carol")).to_be_visible()
    box.press("Enter")
    expect(dialog.locator(".chip")).to_have_text("Carol")
    page.locator("#create-submit").click()
    expect(page.locator("#room-name")).to_have_text("Burrow")
    assert told(page, "create") == {
        "room": "burrow", "name": "Burrow", "kind": "private", "members": ["carol"]
    }  # fmt: skip


def test_a_room_that_was_given_up_is_made_and_not_opened(page: Page) -> None:
    """Its answer comes when something else is open."""
    page.evaluate("""() => {
      const receive = server.receive.bind(server);
      server.receive = (socket, request) => {
        if (request.op === "create") globalThis.answerCreate = () => receive(socket, request);
        else receive(socket, request);
      };
    }""")
    page.locator("#new-room").click()
    page.get_by_role("dialog", name="New room").get_by_label("Name", exact=True).fill("Burrow")
    page.locator("#create-submit").click()
    wait_until(page, "globalThis.answerCreate")
    page.keyboard.press("Escape")
    page.locator("#browse-rooms").click()

    page.evaluate("answerCreate()")

    expect(page.locator("#toasts")).to_have_text("“Burrow” is in your list now.")
    expect(page.locator("#room")).to_have_attribute("data-slug", "general")
    expect(page.get_by_role("dialog", name="Rooms to join")).to_be_visible()


def test_head_of_a_room_counts_its_people(page: Page) -> None:
    open_members(page)
    expect(page.locator("#show-members")).to_have_accessible_name("2 people in this room")


def test_somebody_is_brought_in(page: Page) -> None:
    open_members(page)
    box = aside(page).get_by_label("Bring somebody in")
    box.fill("car")
    aside(page).get_by_role("option", name="Carol").click()
    aside(page).get_by_role("button", name="Bring them in").click()
    expect(aside(page).locator(".member").filter(has_text="Carol")).to_be_visible()
    expect(page.locator("#member-count")).to_have_text("3")


def test_a_ban_asks_for_its_reason_and_can_be_lifted(page: Page) -> None:
    bob = open_members(page)
    bob.get_by_role("button", name="What you can do about Bob").click()
    bob.get_by_role("button", name="Ban").click()
    dialog = page.get_by_role("dialog", name="Ban Bob?")
    dialog.get_by_role("button", name="Ban", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text(
        "Give a reason: the others in the room see it."
    )
    dialog.get_by_role("textbox").fill("spam")
    dialog.get_by_role("button", name="Ban", exact=True).click()
    expect(dialog).to_be_hidden()
    assert told(page, "ban") == {"room": "general", "user": "bob", "reason": "spam"}

    expect(aside(page)).to_contain_text("“spam”, said Alice")
    aside(page).get_by_role("button", name="Lift the ban of Bob").click()
    expect(aside(page)).not_to_contain_text("May not come back")


def test_a_refused_removal_is_said_where_it_was_asked(page: Page) -> None:
    bob = open_members(page)
    bob.get_by_role("button", name="What you can do about Bob").click()
    bob.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog", name="Remove Bob?")
    dialog.get_by_role("button", name="Remove").click()
    expect(dialog.get_by_role("alert")).to_have_text("No.")


def test_people_and_the_focus_on_them_outlast_a_break(page: Page) -> None:
    button = open_members(page).get_by_role("button", name="What you can do about Bob")
    button.focus()
    page.evaluate("() => { server.isMute = true; server.close(1012); }")
    chat = page.locator("#chat")
    expect(chat).not_to_have_attribute("data-connection", "open")
    expect(chat).to_have_attribute("data-connection", "open")
    expect(button).to_be_focused()


def test_settings_change_what_differs_and_archive_can_be_undone(page: Page) -> None:
    page.locator("#show-settings").click()
    aside(page).get_by_label("What it is for").fill("Everything")
    aside(page).get_by_role("button", name="Save").click()
    expect(page.locator("#room-kind")).to_have_text("Everything")
    assert told(page, "change") == {"room": "general", "description": "Everything"}

    aside(page).get_by_role("button", name="Archive the room").click()
    expect(page.locator(".list-fold [data-room=general]")).to_be_visible()
    aside(page).get_by_role("button", name="Open the room again").click()
    expect(page.locator("[data-section=rooms] [data-room=general]")).to_be_visible()


def test_a_room_can_be_muted(page: Page) -> None:
    page.locator("#show-settings").click()
    aside(page).get_by_label("Nothing").check()
    expect(page.locator("[data-room=general]")).to_contain_text("muted")
    assert told(page, "notify") == {"room": "general", "level": "nothing"}


def test_leaving_is_asked_about(page: Page) -> None:
    page.locator("#show-settings").click()
    aside(page).get_by_role("button", name="Leave the room").click()
    dialog = page.get_by_role("dialog", name="Leave general?")
    dialog.get_by_role("button", name="Stay").click()
    expect(page.locator("#room")).to_have_attribute("data-slug", "general")
    aside(page).get_by_role("button", name="Leave the room").click()
    dialog.get_by_role("button", name="Leave", exact=True).click()
    expect(page.locator("[data-room=general]")).to_have_count(0)


def test_search_marks_what_was_found_and_goes_there(page: Page) -> None:
    page.keyboard.press("Control+Shift+f")
    box = aside(page).get_by_role("searchbox")
    expect(box).to_be_focused()
    box.fill("old")
    box.press("Enter")
    hits = aside(page).get_by_role("list", name="Messages found").get_by_role("listitem")
    expect(hits).to_have_count(2)
    expect(hits.first.locator("mark")).to_have_text("old")
    expect(hits.first).to_contain_text("<b>")  # a text and not markup
    expect(aside(page).get_by_role("status")).to_have_text("The newest 2 messages.")

    aside(page).get_by_role("button", name="More").click()
    expect(hits).to_have_count(3)
    expect(hits.nth(2).get_by_role("link")).to_be_focused()
    expect(hits.nth(2)).to_contain_text("old <i>.pdf")  # the name of a file
    expect(hits.nth(2).locator("mark")).to_have_text(["old", "old"])
    assert told(page, "search") == {"query": "old", "before": "event-8"}

    hits.first.get_by_role("link").click()
    expect(page.locator("#timeline .is-target, #timeline li:focus")).to_contain_text("old 9")


def test_a_search_that_is_refused_says_why(page: Page) -> None:
    page.evaluate("delete server.answers.search")
    page.locator("#show-search").click()
    aside(page).get_by_role("searchbox").fill("old")
    page.keyboard.press("Enter")
    expect(aside(page).get_by_role("alert")).to_have_text("No.")


def test_pins_lead_to_their_place(page: Page) -> None:
    page.locator("#show-pins").click()
    pinned = aside(page).get_by_role("list", name="Pinned messages").get_by_role("listitem")
    expect(pinned).to_have_count(1)
    expect(pinned).to_contain_text("Pinned by Bob")
    pinned.get_by_role("button", name="Show in the room").click()
    expect(page.locator("#timeline li:focus")).to_contain_text("old 5")


def open_thread(page: Page) -> Locator:
    """The thread under the message that came last."""
    page.evaluate("""() => {
      const root = server.logs.general.at(-1).id;
      server.say(cast.BOB, "an answer", { data: { thread: root } });
    }""")
    page.locator("#timeline").get_by_role("button", name="1 answer").click()
    thread = aside(page).get_by_role("list", name="Messages of this thread")
    expect(thread.get_by_role("listitem")).to_have_count(2)
    return thread


def test_a_thread_is_read_answered_and_live(page: Page) -> None:
    thread = open_thread(page)
    expect(aside(page)).to_contain_text("1 answer.")
    box = page.locator("#thread-composer-input")
    expect(box).to_be_focused()
    box.fill("mine")
    box.press("Enter")
    expect(thread.get_by_role("listitem").last).to_contain_text("mine")
    assert told(page, "post")["thread"] == "event-120"
    expect(page.locator("#timeline")).not_to_contain_text("mine")

    page.evaluate("""() => void server.say(cast.BOB, "live", { data: { thread: "event-120" } })""")
    expect(thread.get_by_role("listitem").last).to_contain_text("live")
    expect(aside(page)).to_contain_text("3 answers.")


def test_what_an_answer_in_a_thread_quotes_is_looked_for(page: Page) -> None:
    open_thread(page)
    page.evaluate("""() => void server.say(cast.BOB, "as I said",
      { data: { thread: "event-120", reply_to: "event-nowhere" } })""")
    aside(page).get_by_role("button", name="an earlier message").click()
    expect(page.locator("#toasts")).to_have_text("This message is not to be found any more.")


def test_a_refused_answer_in_a_thread_goes_back_into_its_box(page: Page) -> None:
    thread = open_thread(page)
    page.evaluate("server.refusals.push({ code: 'not_allowed', detail: 'Not now.' })")
    box = page.locator("#thread-composer-input")
    box.fill("mine")
    box.press("Enter")
    thread.get_by_role("button", name="Edit").click()
    expect(box).to_have_value("mine")
    expect(box).to_be_focused()
    expect(page.locator("#composer-input")).to_have_value("")
    expect(thread.get_by_role("listitem")).to_have_count(2)


def test_a_column_that_covers_the_room_makes_way_for_what_it_found(page: Page) -> None:
    page.set_viewport_size({"width": 900, "height": 700})
    page.locator("#show-pins").click()
    aside(page).get_by_role("button", name="Show in the room").click()
    expect(aside(page)).to_be_hidden()
    expect(page.locator("#timeline li:focus")).to_contain_text("old 5")


def do_with_last(page: Page, deed: str) -> None:
    page.locator("#timeline li").last.focus()
    page.keyboard.press("Shift+F10")
    page.get_by_role("menuitem", name=deed).click()


def test_reporting_needs_a_reason(page: Page) -> None:
    do_with_last(page, "Report")
    dialog = page.get_by_role("dialog", name="Report this message?")
    dialog.get_by_role("button", name="Report").click()
    expect(dialog.get_by_role("alert")).to_have_text(
        "Say what is wrong with it; only those who moderate see it."
    )
    expect(dialog.get_by_role("textbox")).to_be_focused()
    dialog.get_by_role("textbox").fill("rude")
    dialog.get_by_role("button", name="Report").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#toasts")).to_contain_text("Reported.")
    assert told(page, "report") == {"room": "general", "message": "event-120", "reason": "rude"}


def test_deleting_is_asked_about(page: Page) -> None:
    do_with_last(page, "Delete")
    dialog = page.get_by_role("dialog", name="Delete this message?")
    dialog.get_by_role("textbox").fill("off topic")  # offered for what others wrote
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog).to_be_hidden()
    assert told(page, "delete") == {
        "room": "general",
        "message": "event-120",
        "reason": "off topic",
    }


def test_earlier_versions_of_a_message_can_be_read(page: Page) -> None:
    page.evaluate("""() => void server.append("general", cast.note(0, "message.edited", cast.BOB,
      { message: "event-120", body: "corrected", html: "<p><b>corrected</b></p>" }))""")
    expect(page.locator("#timeline")).to_contain_text("corrected")
    page.locator("#timeline").get_by_role("button", name="edited").click()
    versions = page.get_by_role("dialog", name="What this message said").get_by_role("listitem")
    expect(versions).to_have_count(2)
    expect(versions.first).to_contain_text("corrected")
    expect(versions.last).to_contain_text("old 120")


def test_column_closes_with_escape_and_gives_the_focus_back(page: Page) -> None:
    button = page.locator("#show-members")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#aside-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(aside(page)).to_be_hidden()
    expect(button).to_be_focused()


def test_escape_closes_a_menu_before_the_column(page: Page) -> None:
    thread = open_thread(page)
    thread.get_by_role("listitem").last.focus()
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(aside(page)).to_be_visible()


NO_POPOVERS = """
delete HTMLElement.prototype.popover;
for (const name of ["showPopover", "hidePopover", "togglePopover"]) delete HTMLElement.prototype[name];
const { querySelector } = Document.prototype;
Document.prototype.querySelector = function (selector) {
  if (selector.includes(":popover-open")) throw new SyntaxError("Firefox 124 does not know this.");
  return querySelector.call(this, selector);
};
"""


def test_menu_and_keys_work_in_browsers_without_popovers(page: Page, address: str) -> None:
    browser = page.context.browser
    assert browser
    old = browser.new_page(viewport=DESKTOP)
    old.add_init_script(NO_POPOVERS)
    old.goto(f"{address}/rooms/general/")
    open_general(old, address)
    old.locator("#show-pins").click()
    menu = old.get_by_role("menu")
    last = old.locator("#timeline li").last
    last.focus()
    old.keyboard.press("Shift+F10")
    expect(menu.get_by_role("menuitem", name="👍")).to_be_focused()
    old.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(last).to_be_focused()
    expect(aside(old)).to_be_visible()

    old.keyboard.press("Shift+F10")
    old.locator("#room-name").click()
    expect(menu).to_be_hidden()
    do_with_last(old, "Details")
    expect(menu).to_be_hidden()
    old.keyboard.press("Control+k")
    expect(old.get_by_role("combobox", name="Room or person")).to_be_focused()
    old.close()


def test_column_follows_to_the_next_room(page: Page) -> None:
    open_members(page)
    page.locator("[data-room=other]").click()
    expect(page.locator("#room")).to_have_attribute("data-slug", "other")
    expect(aside(page)).to_be_visible()
    wait_until(page, "told('members').room === 'other'")


def test_keys_walk_the_rooms_and_count_all_as_read(page: Page) -> None:
    page.evaluate("""() => void server.say(cast.BOB, "news", { room: "other" })""")
    link = page.locator("[data-room=other]")
    expect(link).to_have_attribute("data-unread", "1")
    page.keyboard.press("Shift+Escape")
    expect(link).to_have_attribute("data-unread", "0")
    wait_until(page, "server.reads['1.other'] === 1")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.locator("#room")).to_have_attribute("data-slug", "other")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#room")).to_have_attribute("data-slug", "general")


def test_mentions_have_a_badge_of_their_own(page: Page) -> None:
    page.evaluate(
        """() => void server.say(cast.BOB, "you!", { room: "other", data: { mentions: [1] } })"""
    )
    link = page.locator("[data-room=other]")
    expect(link).to_have_attribute("data-mentions", "1")
    expect(link).to_have_accessible_name(re.compile("@1 for you.*1 unread"))


def test_a_narrow_screen_shows_the_column_as_a_page_with_a_way_back(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    open_members(page)
    expect(page.locator("#composer-input")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.go_back()
    expect(page.locator("#composer-input")).to_be_visible()
    expect(aside(page)).to_be_hidden()

    open_members(page)
    page.get_by_role("button", name="Back to the room").click()
    expect(page.locator("#composer-input")).to_be_visible()


@pytest.mark.parametrize("place", ["", "#message-118"])
@pytest.mark.parametrize("way", ["Escape", "back"])
def test_a_column_that_was_a_page_gives_the_focus_back(page: Page, way: str, place: str) -> None:
    page.set_viewport_size({"width": 900, "height": 700})
    page.evaluate("(place) => { location.hash = place; }", place)
    if place:
        expect(page.locator("#timeline li:focus")).to_contain_text("old 118")
    button = page.locator("#show-pins")
    button.focus()
    page.keyboard.press("Enter")
    expect(aside(page)).to_contain_text("Pinned by Bob")
    page.keyboard.press("Escape") if way == "Escape" else page.go_back()
    wait_until(page, "!history.state?.isAside")
    expect(aside(page)).to_be_hidden()
    expect(button).to_be_focused()


def test_panels_have_no_faults_on_a_phone(page: Page, address: str) -> None:
    browser = page.context.browser
    assert browser
    phone = browser.new_page(
        viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    phone.goto(f"{address}/rooms/general/")
    expect(phone.locator("#timeline li").last).to_contain_text("old 120")
    phone.evaluate(ANSWERS)
    phone.locator("#show-members").tap()
    for panel in ("members", "pins", "search", "settings"):
        tab = phone.locator(f"#aside-tabs [data-panel={panel}]")
        tab.tap()
        expect(tab).to_have_attribute("aria-current", "true")
        faults = phone.evaluate(FIND_FAULTS)
        assert [fault for fault in faults if not is_allowed(fault)] == [], panel
    phone.close()


def is_allowed(fault: str) -> bool:
    """The label around a box is what one touches; the composer's script sets its own height."""
    return 'type="checkbox"' in fault or fault == "script or style in the markup"
