"""The whole of it in real browsers: make run, enrol, issue, chat, revoke."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Playwright, expect, sync_playwright

from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.server import Signet
from tests.services import require

pytestmark = pytest.mark.browser
CONSOLE_PASSWORD = "correct horse battery staple"


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    require("chromium", "certutil", "pk12util")
    with chosen_certificates(), sync_playwright() as running:
        yield running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Signet]:
    """`make run` in an empty home, as the README says."""
    require("make")
    deployment = Signet(tmp_path / "var")
    deployment.start("make", "run")
    yield deployment
    if deployment.process:
        deployment.stop()


def enrol(profile: Profile, link: str, *, console_password: str | None = None) -> None:
    """Open the one-time link, download the file, import it – as a person would."""
    with profile.open() as browser:
        page = browser.pages[0]
        page.goto(link)
        password = page.locator("#file-password").inner_text().strip()
        if console_password:
            page.get_by_label("Console password", exact=True).fill(console_password)
            page.get_by_label("Console password, again").fill(console_password)
        with page.expect_download() as download:
            page.locator("#enrol-submit").click()
        file = profile.home / "identity.p12"
        download.value.save_as(file)
    profile.install(file, password)


def unlock_console(page: Page, signet: Signet) -> None:
    page.goto(signet.url("/console/"))
    page.get_by_label("Password").fill(CONSOLE_PASSWORD)
    page.get_by_role("button", name=re.compile("unlock", re.I)).click()
    expect(page).to_have_url(signet.url("/console/"))


def submit(page: Page) -> None:
    page.locator(".sg-buttons button[type=submit]").click()


def make_link(page: Page, signet: Signet, username: str, name: str) -> str:
    """Add a person in the console and make their enrolment link."""
    page.goto(signet.url("/console/pki/user/add/"))
    page.locator("input[name=username]").fill(username)
    page.locator("input[name=name]").fill(name)
    submit(page)
    page.goto(signet.url("/console/pki/certificate/add/"))
    owner = page.locator("select[name=owner]")
    value = owner.locator("option", has_text=name).get_attribute("value")
    owner.select_option(value, force=True)
    page.locator("input[name=device]").fill("laptop")
    page.locator("input[name=way][value=link]").check()
    submit(page)
    shown = page.locator("#content, main").first.inner_text()
    found = re.search(r"https://\S+/enrol/[\w-]+/", page.content())
    assert found, shown
    return found.group()


def say(page: Page, text: str) -> None:
    page.locator("#composer-input").fill(text)
    page.locator("#composer-input").press("Enter")


def message(page: Page, text: str) -> Locator:
    return page.locator("#timeline").get_by_text(text, exact=True)


def revoke(page: Page, signet: Signet, username: str) -> float:
    """Select the certificate in the console, choose a reason, confirm; when that was."""
    page.goto(signet.url(f"/console/pki/certificate/?q={username}"))
    page.locator("input.action-select").first.check()
    page.locator("select[name=action]").select_option("revoke_selected", force=True)
    page.get_by_role("button", name="Run").click()
    page.locator("input[name=reason][value=keyCompromise]").check()
    submit(page)
    expect(page.get_by_text(re.compile("revoked", re.I)).first).to_be_visible()
    return time.time()


def chatting(browser: BrowserContext, signet: Signet) -> Page:
    page = browser.new_page()
    page.goto(signet.url("/rooms/general/"))
    expect(page.locator("#composer-input")).to_be_enabled()
    return page


def test_from_make_run_to_a_revoked_person(
    running: Signet, playwright: Playwright, tmp_path: Path
) -> None:
    alice, bob = (Profile(playwright, tmp_path / name) for name in ("alice", "bob"))
    for profile in (alice, bob):
        profile.trust(running.root)

    enrol(alice, running.printed_link(), console_password=CONSOLE_PASSWORD)

    with alice.open() as admin_browser:
        console = admin_browser.pages[0]
        unlock_console(console, running)
        link = make_link(console, running, "bob", "Bob Example")
        enrol(bob, link)
        with bob.open() as bob_browser:
            alice_chat = chatting(admin_browser, running)
            bob_chat = chatting(bob_browser, running)

            say(alice_chat, "Hello Bob, who are you?")
            expect(message(bob_chat, "Hello Bob, who are you?")).to_be_visible()
            say(bob_chat, "My certificate says it.")
            expect(message(alice_chat, "My certificate says it.")).to_be_visible()

            done = revoke(console, running, "bob")

            expect(bob_chat.locator("#stopped")).to_contain_text("revoked")
            close = bob_chat.evaluate("window.socketCloses[0]")
            assert close["code"] == 4501
            assert close["at"] / 1000 - done < 5  # a second, and time for a slow machine

            answer = bob_chat.reload()
            assert answer is not None
            assert answer.status == 401
            expect(bob_chat.locator("main")).to_contain_text("revoked")

            say(alice_chat, "I am still here.")
            expect(message(alice_chat, "I am still here.")).to_be_visible()
            expect(alice_chat.locator("#timeline")).to_contain_text("My certificate says it.")

    # Ctrl-C reaches the whole group; make reports it as its own end.
    assert running.stop(by=signal.SIGINT) in (0, -signal.SIGINT)
    assert "Traceback" not in running.log.read_text()
