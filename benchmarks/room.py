"""A room of 10,000 messages in a real Chromium: python benchmarks/room.py [--messages N]

Prints how long it takes to open, how smoothly one scrolls through all of it, searches, changes rooms
and is told of a burst, and what the page holds. A long task is one that keeps the page from
answering for more than 50 ms.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Page, expect, sync_playwright
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.server import Signet

PASSWORD = "swan-plum-kite-mole"  # noqa: S105 (of a deployment that lives for a minute)
FILL = """
import datetime as dt, uuid
from django.db import transaction
from django.utils import timezone
from chat import messages, rooms
from chat.models import Membership, Room
from pki.identity import identify
from pki.models import Certificate
now = timezone.now()
people = [identify(chain=[bytes(c.der)], at=now) for c in Certificate.objects.exclude(owner=None)]
rooms.create_room(
    actor=people[0], room="long", name="Long", kind="public",
    members=[one.username for one in people[1:]], at=now,
)
bodies = [
    "A short line.", "Something **longer**, with `code` in it and a link: https://example.org/page",
    "```python\\nfor number in range(10):\\n    print(number)\\n```",
    "> quoted\\n\\nand answered, over two paragraphs of some length, so that lines have to wrap.",
]
start = now - dt.timedelta(days=30)
for first in range(0, {count}, 500):
    with transaction.atomic():
        for number in range(first, min(first + 500, {count})):
            messages.post_message(
                actor=people[number // 3 % len(people)], room="long", client_id=str(uuid.uuid4()),
                body=f"{{bodies[number % 4]}}\\n\\nword{{number}}",
                at=start + dt.timedelta(seconds=number * 60),
            )
for other in range({rooms}):
    rooms.create_room(
        actor=people[0], room=f"other-{{other}}", name=f"Other {{other}}", kind="public",
        members=[one.username for one in people[1:]], at=now,
    )
    with transaction.atomic():
        for number in range(100):
            messages.post_message(
                actor=people[number // 3 % len(people)], room=f"other-{{other}}",
                client_id=str(uuid.uuid4()),
                body=f"{{bodies[number % 4]}}\\n\\nroom {{other}} line {{number}}",
                at=start + dt.timedelta(seconds=number * 60),
            )
for room in Room.objects.all():
    Membership.objects.filter(room=room).update(read_seq=room.last_seq)
"""
ROOMS = 30
BURST = 200
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
}).observe({ type: "longtask", buffered: true });
"""
SCROLL = """
async ({ back, most }) => {
  const [scroller, list] = ["scroller", "timeline"].map((id) => document.getElementById(id));
  const end = () => Number((back ? list.firstElementChild : list.lastElementChild).dataset.seq);
  const isThrough = () => back ? !document.getElementById("room-start").hidden : end() >= most;
  let [elements, still, before] = [0, 0, end()];
  while (!isThrough() && still < 200) {
    const far = back ? 0 : scroller.scrollHeight;
    scroller.scrollTop = far + (back ? 1 : -1) * (still % 2) * 30;
    await new Promise((done) => setTimeout(done, 50));
    still = end() === before ? still + 1 : 0;
    before = end();
    elements = Math.max(elements, document.all.length);
  }
  return [end(), elements];
}
"""
SHOWN = """(words) => {
  const all = document.querySelectorAll("#timeline .message-body");
  return all.length > 0 && all[all.length - 1].textContent.includes(words) && performance.now();
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        signet = Signet(Path(folder) / "var")
        signet.set_up()
        password = Path(folder) / "password"
        password.write_text(PASSWORD)
        files = {}
        for name in ("alice", "bob"):
            files[name] = Path(folder) / f"{name}.p12"
            signet.manage(
                *("issue_certificate", name, "--create-user", "--device", "laptop"),
                *("--out", str(files[name]), "--password-file", str(password)),
            )
        bob = signet.issue("bob", "--device", "desktop")
        fill(signet, options.messages)
        signet.start()
        try:
            with chosen_certificates():
                profile = Profile(playwright, Path(folder) / "alice")
                profile.trust(signet.root)
                profile.install(files["alice"], PASSWORD)
                with profile.open() as context:
                    context.add_init_script(WATCH)
                    measure(context.new_page(), signet, bob, options.messages)
        finally:
            signet.stop()


def fill(signet: Signet, count: int) -> None:
    print(f"Writing {count:,} messages …", flush=True)
    signet.shell(FILL.format(count=count, rooms=ROOMS))


def measure(page: Page, signet: Signet, bob: Path, count: int) -> None:
    print("| what | here | goal |\n|---|---|---|")
    page.goto(signet.url("/devices/"))  # the connection and the certificate have been chosen
    for visit in ("first visit", "second visit"):
        page.goto("about:blank")
        page.goto(signet.url("/rooms/long/"), wait_until="commit")
        took = page.wait_for_function(SHOWN, arg=f"word{count - 1}", polling="raf").json_value()
        say(f"opened, {visit}, until the newest message is shown", f"{took:.0f} ms", "< 1,000 ms")
        expect(page.locator("#chat")).to_have_attribute("data-connection", "open")
        page.wait_for_timeout(1000)
        tasks(page, f"while opening, {visit}")
    holds(page, "at the end of the room")
    most = int(page.locator("#timeline > li").last.get_attribute("data-seq") or 0)
    for way, back in (("back", True), ("forward again", False)):
        reached, elements = page.evaluate(SCROLL, {"back": back, "most": most})
        tasks(page, f"while scrolling {way} to number {reached}")
        holds(page, f"after scrolling {way}, at most {elements:,} elements on the way")
    search(page, count)
    change_rooms(page)
    burst(page, signet, bob)


def search(page: Page, count: int) -> None:
    page.locator(".room-bar [data-panel=search], .room-bar [data-aside=search]").first.click()
    box = page.locator("#aside input[type=search], aside input[type=search]").first
    box.fill(f"word{count // 2}")
    page.evaluate("window.asked = performance.now()")
    box.press("Enter")
    hit = f"""() => [...document.querySelectorAll(".hit .hit-text")].some(
        (text) => text.textContent.includes("word{count // 2}")) && performance.now() - asked"""
    took = page.wait_for_function(hit, polling="raf").json_value()
    say("a search, until the hit is shown", f"{took:.0f} ms", "")
    tasks(page, "while searching")


def change_rooms(page: Page) -> None:
    """Twice through all rooms: what is not known yet, and what is."""
    for turn in ("first", "second"):
        took = []
        for room in range(ROOMS):
            page.evaluate(
                """(slug) => {
                  window.asked = performance.now();
                  document.querySelector(`a[data-room="${slug}"]`).click();
                }""",
                f"other-{room}",
            )
            shown = page.wait_for_function(SHOWN, arg=f"room {room} line 99", polling="raf")
            took.append(shown.json_value() - page.evaluate("asked"))
            page.wait_for_timeout(100)
        middle, most = sorted(took)[ROOMS // 2], max(took)
        say(
            f"to another room of {ROOMS}, {turn} time: half within, all within",
            f"{middle:.0f} ms, {most:.0f} ms",
            "",
        )
        tasks(page, f"while changing rooms, {turn} time")
    holds(page, f"after {2 * ROOMS} changes of room")


def burst(page: Page, signet: Signet, bob: Path) -> None:
    """Somebody says a lot at once in the room that is open."""
    room = f"other-{ROOMS - 1}"
    page.evaluate("window.asked = performance.now()")
    with connect(
        signet.url("/ws/chat/").replace("https", "wss"),
        ssl=signet.client_context(bob),
        subprotocols=[Subprotocol("signet.v1.json")],
        max_size=None,
    ) as socket:
        socket.recv()
        for number in range(BURST):
            fields = {"room": room, "client_id": str(uuid.uuid4()), "body": f"burst {number}."}
            socket.send(json.dumps({"op": "post", "ref": str(number), **fields}))
        shown = page.wait_for_function(SHOWN, arg=f"burst {BURST - 1}.", polling="raf").json_value()
    took = shown - page.evaluate("asked")
    say(f"{BURST} messages at once, until the last is shown", f"{took:.0f} ms", "")
    tasks(page, f"while {BURST} messages come in")


def say(what: str, here: str, goal: str) -> None:
    print(f"| {what} | {here} | {goal} |", flush=True)


def tasks(page: Page, when: str) -> None:
    durations = page.evaluate("window.longTasks.splice(0)")
    say(f"long tasks {when}: how many, the longest", longest(durations), "< 100 ms")


def longest(durations: list[int]) -> str:
    return f"{len(durations)}, {max(durations)} ms" if durations else "none"


def holds(page: Page, when: str) -> None:
    count = page.evaluate("document.all.length")
    say(f"heap and elements {when}", f"{heap(page):.1f} MB, {count:,}", "bounded")


def heap(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    return float(found["JSHeapUsedSize"]) / 1024**2


if __name__ == "__main__":
    main()
