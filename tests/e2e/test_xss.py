"""Nothing that somebody writes runs: not in a message, a name or a file name, in chat or console.

Each text of the corpus calls `pwned()` in its own way. Besides that call, a script that the
Content-Security-Policy had to stop counts as a fault: it should never have become one.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.browser import PASSWORD, identity_of_admin, open_browser, wait_until
from tests.e2e.server import Signet
from tests.e2e.test_delivery import Client

pytestmark = pytest.mark.browser
CALL = "pwned()"
BODIES = [
    f"<script>{CALL}</script>",
    f"<SCRIPT\n>{CALL}</SCRIPT\t>",
    f"<scr<script>ipt>{CALL}</scr</script>ipt>",
    f"<img src=x onerror={CALL}>",
    f"<img/src='x'/onerror='{CALL}'>",
    f'<img src="x` `onerror={CALL}">',
    f"<svg onload={CALL}>",
    f"<svg><script>{CALL}</script></svg>",
    f"<svg><animate onbegin={CALL} attributeName=x dur=1s>",
    f"<math><mi//xlink:href='javascript:{CALL}'>x</mi></math>",
    f"<body onload={CALL}>",
    f"<details open ontoggle={CALL}>x</details>",
    f"<input autofocus onfocus={CALL}>",
    f"<video><source onerror={CALL}></video>",
    f"<iframe srcdoc='<script>parent.{CALL}</script>'></iframe>",
    f"<iframe src='javascript:{CALL}'></iframe>",
    f"<object data='javascript:{CALL}'></object>",
    f"<embed src='javascript:{CALL}'>",
    f"<form action='javascript:{CALL}'><button>press</button></form>",
    f"<a href='javascript:{CALL}'>press</a>",
    f"<style>@import 'javascript:{CALL}';</style>",
    f"<div style='background:url(javascript:{CALL})'>x</div>",
    f"<template><script>{CALL}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={CALL}>'>",
    f"<!--><img src=x onerror={CALL}>-->",
    f"<![CDATA[<img src=x onerror={CALL}>]]>",
    f"</textarea><script>{CALL}</script>",
    f"</script><script>{CALL}</script>",
    f"\u2028<script>{CALL}</script>",
    f"&lt;script&gt;{CALL}&lt;/script&gt;",
    f"&#60;img src=x onerror={CALL}&#62;",
    f"[press](javascript:{CALL})",
    f"[press](JaVaScRiPt:{CALL})",
    f"[press](java&#115;cript:{CALL})",
    f"[press](java\tscript:{CALL})",
    f"[press](  javascript:{CALL})",
    f"[press](<javascript:{CALL}>)",
    f"[press](data:text/html,<script>{CALL}</script>)",
    f"[press](vbscript:{CALL})",
    f'[press](https://example.org/"onmouseover="{CALL})',
    f"[press](https://example.org '\"onmouseover=\"{CALL}')",
    f'![x](x"onerror="{CALL})',
    f"![x](javascript:{CALL})",
    f"<javascript:{CALL}>",
    f'<https://example.org/"onclick={CALL}>',
    f'https://example.org/"onclick="{CALL}',
    f"[x]: javascript:{CALL}\n\n[x]",
    f'```"><img src=x onerror={CALL}>\ncode\n```',
    f"```html\n<img src=x onerror={CALL}>\n```",
    f'```python class="x" onmouseover={CALL}\nprint(1)\n```',
    f"`<img src=x onerror={CALL}>`",
    f"| <img src=x onerror={CALL}> |\n|---|\n| <svg onload={CALL}> |",
    f"> <img src=x onerror={CALL}>",
    f"1. <img src=x onerror={CALL}>",
    f"@<img src=x onerror={CALL}> @all",
    f"/me <img src=x onerror={CALL}>",
    f"**<b onmouseover={CALL}>**",
    f"~~<s onclick={CALL}>x</s>~~",
    f"\\<img src=x onerror={CALL}>",
    "<img src=x onerror=&#112;wned()>",
    "<a id=pwned><a id=pwned name=length>",
    "{{constructor.constructor('pwned()')()}}",
    "${pwned()} #{pwned()} <%= pwned() %>",
]
NAMES = [
    f"<img src=x onerror={CALL}>",
    f'"><svg onload={CALL}>',
    f"'-{CALL}-'",
    f"</title><script>{CALL}</script>",
]
FILES = [f"<img src=x onerror={CALL}>.png", f'"onerror="{CALL}.txt', f'x.svg"><script>{CALL}']
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='top.pwned()'><script>top.pwned()</script></svg>"
WATCH = """
window.found = [];
window.pwned = () => window.found.push("pwned was called");
document.addEventListener("securitypolicyviolation", (event) => {
  if (/^script-src|^require-trusted/.test(event.effectiveDirective)) {
    window.found.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
  }
});
"""
# Names come from administrators and are checked; here they are not, to look at the pages alone.
RENAME = """
from chat.models import Room
from pki.models import Certificate, User
names = {names!r}
User.objects.filter(username="mallory").update(name=names[0][:80])
Room.objects.filter(slug="corpus").update(name=names[1][:80], description=names[2])
Certificate.objects.filter(owner__username="mallory").update(device=names[3][:64])
"""


def upload(signet: Signet, identity: Path, name: str, content: bytes, media_type: str) -> str:
    """A file in the room, as somebody without a browser of ours sends it."""
    at = signet.url("/rooms/corpus/files/")
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=signet.client_context(identity)),
        urllib.request.HTTPCookieProcessor(),
    )

    def ask(method: str, url: str, body: bytes, kind: str) -> dict[str, object]:
        headers = {"Content-Type": kind, "Origin": signet.url("").rstrip("/"), **csrf}
        request = urllib.request.Request(url, body, headers, method=method)
        with opener.open(request, timeout=20) as answer:
            return dict(json.load(answer))

    with opener.open(at, timeout=20) as answer:
        csrf = {"X-CSRFToken": json.load(answer)["csrf"]}
    wish = {"name": name, "size": len(content), "type": media_type}
    begun = ask("POST", at, json.dumps(wish).encode(), "application/json")
    ask("PUT", f"{at}{begun['id']}/?offset=0", content, "application/octet-stream")
    return str(begun["id"])


async def write(signet: Signet, identity: Path) -> None:
    mallory = Client(signet, identity)
    await mallory.connect()
    fields = {"room": "corpus", "kind": "public", "description": NAMES[2]}
    assert (await mallory.ask("create", name="Corpus", **fields))["ok"]
    root = None
    for number, body in enumerate(BODIES):
        sent = {"room": "corpus", "client_id": f"x{number}", "body": body}
        if root is not None and number % 9 == 0:
            sent["reply_to"] = root
        reply = await mallory.ask("post", **sent)
        assert reply["ok"], (body, reply)
        root = reply["event"]["id"]
    for number, name in enumerate(FILES):
        file = await asyncio.to_thread(upload, signet, identity, name, SVG, "image/svg+xml")
        sent = {"room": "corpus", "client_id": f"f{number}", "body": "", "attachments": [file]}
        assert (await mallory.ask("post", **sent))["ok"]
    edited = {"room": "corpus", "message": root, "body": BODIES[3]}
    assert (await mallory.ask("edit", **edited))["ok"]
    assert (await mallory.ask("pin", room="corpus", message=root))["ok"]
    await mallory.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, signet: Signet) -> Iterator[BrowserContext]:
    """Alice's browser, in whose room Mallory has written the whole corpus."""
    folder = tmp_path_factory.mktemp("xss")
    file = identity_of_admin(signet, folder, name="Alice")
    asyncio.run(write(signet, signet.issue("mallory")))
    signet.shell(RENAME.format(names=NAMES))
    with open_browser(signet, folder / "alice", file) as opened:
        opened.add_init_script(WATCH)
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    assert page.evaluate("window.found") == []
    assert dialogs == []
    page.close()


def looked(page: Page) -> None:
    """Hover over and focus whatever there is: some texts wait for that."""
    page.wait_for_timeout(300)
    page.evaluate(
        """() => {
          for (const element of document.querySelectorAll("main *")) {
            for (const kind of ["mouseover", "mouseenter", "focus"]) {
              element.dispatchEvent(new Event(kind, { bubbles: true }));
            }
          }
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.found") == []


def test_watch_sees_what_runs(context: BrowserContext, signet: Signet) -> None:
    page = context.new_page()
    page.goto(signet.url("/devices/"))
    page.evaluate(
        """() => {
          const image = document.createElement("img");
          try {
            image.setAttribute("onerror", "pwned()");
          } catch {
            // Trusted Types refuse it, which is told as well.
          }
          image.src = "/nowhere";
          document.body.append(image);
        }"""
    )
    wait_until(page, "window.found.length > 0")
    page.close()


def test_chat(page: Page, signet: Signet) -> None:
    page.goto(signet.url("/rooms/corpus/"))
    page.locator("#outside-join").click()
    expect(page.locator("#timeline")).to_contain_text("press")
    page.locator("#scroller").evaluate("(e) => { e.scrollTop = 0 }")
    expect(page.locator("#timeline li").first).to_be_visible()
    looked(page)
    links = page.locator("#timeline a").evaluate_all("(all) => all.map((a) => a.protocol)")
    assert set(links) <= {"https:", "http:", "mailto:"}
    page.goto(signet.url("/"))
    looked(page)


def test_console(page: Page, signet: Signet) -> None:
    page.goto(signet.url("/console/"))
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Expiries by month")).to_be_visible()
    lists = ["chat/room", "chat/event", "chat/membership", "pki/user", "pki/certificate"]
    for address in [*lists, "pki/auditentry", "project/liveconnection"]:
        page.goto(signet.url(f"/console/{address}/"))
        looked(page)
        first = page.locator("#result_list tbody a, table tbody a").first
        if first.count():
            page.goto(signet.url(first.get_attribute("href") or "/console/"))
            looked(page)
