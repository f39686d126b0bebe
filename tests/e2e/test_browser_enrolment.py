"""Enrolment in the browser when something is in the way: refusals, lost answers, approval."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, Route, expect, sync_playwright

from tests.e2e import enrolling, secrets_in
from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.enrolling import KEPT, Link, names_in, saved, shown_password, window
from tests.e2e.server import Signet
from tests.services import require

pytestmark = pytest.mark.browser
CONSOLE_PASSWORD = "correct horse battery staple"
ONCE = "lena gone dorit tina boss walter wanda nora-polling nora-reopening otto sven nils"
LINKS = dict.fromkeys(ONCE.split(), 1) | {"renate": 2, "ulla": 4}
RULES = """
from pki.models import CertificateProfile
CertificateProfile.objects.filter(name="person").update(**{rules!r})
"""
DECIDE = """
from django.utils import timezone
from pki import certification, people
from pki.models import CertificationRequest, User
at = timezone.now()
chief = User.objects.filter(username="chief").first() or people.create_person(
    actor="test", username="chief", admin=True, at=at
)
request = CertificationRequest.objects.get(owner__username={username!r})
certification.{verb}(actor="chief", approver=chief, request=request, at=at, **{facts!r})
"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    require("chromium", "certutil", "pk12util")
    with chosen_certificates(), sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def link(signet: Signet) -> Link:
    return enrolling.links(signet, LINKS)


# --- When something is in the way -----------------------------------------------------------


@pytest.fixture
def rules(signet: Signet) -> Iterator[Callable[..., None]]:
    """Change the profile of people for one test."""
    yield lambda **rules: signet.shell(RULES.format(rules=rules)) and None
    signet.shell(RULES.format(rules={"approvals": 0, "per_person": None}))


def decide(signet: Signet, verb: str, username: str, **facts: str) -> None:
    signet.shell(DECIDE.format(verb=verb, username=username, facts=facts))


def test_a_refusal_is_read_on_the_page_and_the_same_request_goes_again(
    playwright: Playwright, link: Link, rules: Callable[..., None], tmp_path: Path
) -> None:
    with window(playwright) as (page, sent):
        page.goto(link("renate"))
        saved(page, tmp_path)
        rules(per_person=1)
        page.goto(link("renate"))
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-error")).to_contain_text("renate has 1 valid certificate")

        rules(per_person=None)
        page.reload()  # the link is open still, and the browser has the key still
        file, password = saved(page, tmp_path)

        assert names_in(file, password) == ["renate"]
        first, refused, again = (post["csr"] for post in sent.posts())
        assert refused == again != first


def test_a_lost_answer_costs_nothing(
    playwright: Playwright, link: Link, signet: Signet, tmp_path: Path
) -> None:
    def lose(route: Route) -> None:
        route.fetch()  # the server has issued, and nobody hears of it
        route.abort()

    with window(playwright) as (page, sent):
        page.route("**/csr/", lose, times=1)
        page.goto(link("lena"))
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-error")).to_contain_text("cannot be reached")
        file, password = saved(page, tmp_path)

        assert names_in(file, password) == ["lena"]
        assert len({post["csr"] for post in sent.posts()}) == 1
    count = "from pki.models import Certificate as C; print(C.objects.filter(owner__username='lena').count())"
    assert signet.shell(count).strip() == "1"


def test_a_page_that_went_away_before_the_answer_goes_on_when_it_is_back(
    playwright: Playwright, link: Link, tmp_path: Path
) -> None:
    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    with window(playwright) as (page, _sent):
        page.route("**/csr/", lose, times=1)
        page.goto(link("gone"))
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-error")).to_be_visible()
        password = shown_password(page)

        page.reload()

        expect(page.locator("#enrol-status")).to_contain_text("ready")
        file, shown = saved(page, tmp_path, "#enrol-save")
        assert shown == password
        assert names_in(file, password) == ["gone"]
        assert page.evaluate(KEPT)[0] == []


def test_two_presses_are_one_request(playwright: Playwright, link: Link, tmp_path: Path) -> None:
    with window(playwright) as (page, sent):
        page.goto(link("dorit"))
        with page.expect_download():
            page.evaluate("""() => {
              for (let i = 0; i < 3; i += 1) document.getElementById("enrol-submit").click();
            }""")
        expect(page.locator("#enrol-status")).to_contain_text("goes to your downloads")
        assert len(sent.posts()) == 1


def test_two_windows_with_one_link_share_one_key(
    playwright: Playwright, link: Link, tmp_path: Path
) -> None:
    with window(playwright) as (page, sent):
        url = link("tina")
        other = page.context.new_page()
        for each in (page, other):
            each.goto(url)
            each.route("**/csr/", lambda route: route.abort())
        for each in (page, other):
            each.locator("#enrol-submit").click(no_wait_after=True)
        for each in (page, other):
            expect(each.locator("#enrol-error")).to_be_visible()
        assert len({post["csr"] for post in sent.posts()}) == 1
        assert shown_password(page) == shown_password(other)


def test_an_admin_chooses_the_console_password_on_the_way(
    playwright: Playwright, link: Link, tmp_path: Path
) -> None:
    with window(playwright) as (page, sent):
        page.goto(link("boss"))
        page.get_by_label("Console password", exact=True).fill(CONSOLE_PASSWORD)
        page.get_by_label("Console password, again").fill("another")
        page.locator("#enrol-submit").click()
        field = page.get_by_label("Console password, again")
        expect(field).to_have_accessible_description(re.compile("differ"))
        expect(field).to_be_focused()

        field.fill(CONSOLE_PASSWORD)
        file, password = saved(page, tmp_path)

        assert names_in(file, password) == ["boss"]
        expect(field).to_be_hidden()
        assert sent.posts()[0]["csr"] == sent.posts()[1]["csr"]


# --- Waiting for approval -------------------------------------------------------------------


def test_the_key_waits_for_approval_in_the_browser_through_its_end(
    playwright: Playwright,
    signet: Signet,
    link: Link,
    rules: Callable[..., None],
    tmp_path: Path,
) -> None:
    rules(approvals=1)
    profile = Profile(playwright, tmp_path / "walter")
    profile.trust(signet.root)
    url = link("walter")
    with profile.open() as browser:
        page = browser.pages[0]
        page.goto(url)
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-status")).to_contain_text("administrator has yet to approve")
        password = shown_password(page)
        page.reload()
        expect(page.locator("#enrol-status")).to_contain_text("waits in this browser")
        assert len(page.evaluate(KEPT)[0]) == 1
        assert url.split("/")[-2] not in json.dumps(page.evaluate(KEPT))
    with profile.open() as browser:
        page = browser.pages[0]
        page.goto(url)
        expect(page.locator("#enrol-status")).to_contain_text("waits in this browser")

        decide(signet, "approve", "walter")

        expect(page.locator("#enrol-save")).to_be_visible(timeout=15_000)
        file, shown = saved(page, tmp_path, "#enrol-save")
        assert shown == password
        assert page.evaluate(KEPT)[0] == []
    assert names_in(file, password) == ["walter"]


def test_another_browser_is_told_where_the_key_is(
    playwright: Playwright, signet: Signet, link: Link, rules: Callable[..., None]
) -> None:
    rules(approvals=1)
    url = link("wanda")
    with window(playwright) as (page, _sent):
        page.goto(url)
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-status")).to_contain_text("waits")
        with window(playwright) as (other, _):
            other.goto(url)
            expect(other.locator("#enrol-elsewhere")).to_be_visible()
            expect(other.locator("#file-password")).to_be_hidden()


@pytest.mark.parametrize("after", ["polling", "reopening"])
def test_a_rejection_is_read_with_its_reason_and_ends_the_key(
    playwright: Playwright, signet: Signet, link: Link, rules: Callable[..., None], after: str
) -> None:
    rules(approvals=1)
    with window(playwright) as (page, _sent):
        url = link(f"nora-{after}")
        page.goto(url)
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-status")).to_contain_text("waits")
        if after == "reopening":
            page.goto("about:blank")
        decide(signet, "reject", f"nora-{after}", reason="Not on this laptop")
        if after == "reopening":
            page.goto(url)
        expect(page.locator("#enrol-status")).to_contain_text("Not on this laptop", timeout=15_000)
        expect(page.locator("#enrol-status")).to_contain_text("removed from this browser")
        expect(page.locator("#file-password")).to_be_hidden()
        assert page.evaluate(KEPT)[0] == []


def test_a_person_removes_the_waiting_key(
    playwright: Playwright, link: Link, rules: Callable[..., None]
) -> None:
    rules(approvals=1)
    with window(playwright) as (page, _sent):
        page.goto(link("otto"))
        page.locator("#enrol-submit").click()
        expect(page.locator("#enrol-status")).to_contain_text("waits")
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Remove the key").click()
        expect(page.locator("#enrol-status")).to_contain_text("ask for a new link")
        assert page.evaluate(KEPT)[0] == []


# --- The other way --------------------------------------------------------------------------


def test_the_server_makes_the_key_when_asked(
    playwright: Playwright, link: Link, tmp_path: Path
) -> None:
    with window(playwright) as (page, sent):
        page.goto(link("sven"))
        own = shown_password(page)
        page.get_by_label("Compatible").check()
        file, password = saved(page, tmp_path)

        assert password != own
        assert names_in(file, password) == ["sven"]
        assert secrets_in.found(secrets_in.forms_of_password(own), sent.everything) == set()
        assert sent.posts() == []


def test_without_scripts_the_page_works_as_ever(
    playwright: Playwright, link: Link, tmp_path: Path
) -> None:
    with window(playwright, java_script_enabled=False) as (page, _sent):
        page.goto(link("nils"))
        expect(page.get_by_label("In this browser")).to_be_hidden()
        file, password = saved(page, tmp_path)
        assert names_in(file, password) == ["nils"]


@pytest.mark.parametrize(
    ("agent", "choice"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0", "browser"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/150.0", "browser"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/605.1", "p12-compat"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/150.0", "p12-compat"),
    ],
)
def test_what_a_device_can_import_is_chosen_beforehand(
    playwright: Playwright, link: Link, agent: str, choice: str
) -> None:
    with window(playwright, user_agent=agent) as (page, _sent):
        page.goto(link("ulla"))
        chosen = "() => document.getElementById('enrol-form').elements.format.value"
        assert page.evaluate(chosen) == choice
        expect(page.get_by_text("On the server: Modern")).to_be_hidden()
