"""Every page in a real browser: no script or style in the markup, a name on everything, room at 320."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from playwright.sync_api import Page, expect

from pki import errors
from pki.forms import DeviceForm, EnrolForm, RevokeForm
from tests.e2e.modules import chromium_page, rendered, site

pytestmark = pytest.mark.browser
NOW = dt.datetime(2026, 3, 3, 14, 2, tzinfo=dt.UTC)
SHA256 = "ab12" * 16
MAIN, ENROL = "https://chat.test:8443/", "https://chat.test:8444/"
PRESENTED = {
    "subject": "CN=alice,O=Example",
    "issuer": "CN=Example Issuing CA,O=Example",
    "serial": "4f2a9c01d37be8",
    "sha256": SHA256,
    "not_before": "2026-03-04T00:00:00+00:00",
    "not_after": "2026-03-01T10:30:00+00:00",
}
REFUSALS: dict[type[errors.IdentityError], str] = {
    errors.NoCertificateError: "Your browser sent no certificate",
    errors.CertificateNotTrustedError: "This certificate was not issued here",
    errors.WrongPurposeError: "This certificate is for something else",
    errors.CertificateExpiredError: "Your certificate has expired",
    errors.CertificateNotYetValidError: "Your certificate is not valid yet",
    errors.CertificateRevokedError: "Your certificate was revoked",
    errors.AccountDisabledError: "Your account is disabled",
}
FIND_FAULTS = """
() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) faults.push("wider than the screen");
  const seen = (element) => element.getClientRects().length > 0;
  for (const element of document.querySelectorAll("a, button, input, select, textarea, summary")) {
    if (!seen(element) || element.type === "hidden" || element.matches(".skip")) continue;
    const name = element.ariaLabel || element.textContent.trim() || element.labels?.[0]?.textContent;
    if (!name) faults.push(`no name: ${element.outerHTML}`);
    const { height } = element.getBoundingClientRect();
    const isInText = getComputedStyle(element).display === "inline" || element.type === "radio";
    if (!isInText && height < 43.5) faults.push(`only ${height} high: ${element.outerHTML}`);
  }
  if ([...document.querySelectorAll("h1")].filter(seen).length !== 1) faults.push("not one h1");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  faults.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `twice: #${id}`));
  for (const attribute of ["aria-describedby", "aria-labelledby", "aria-controls", "for"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const named = element.getAttribute(attribute).split(" ").filter((id) => !ids.includes(id));
      faults.push(...named.map((id) => `${attribute} names a missing #${id}`));
    }
  }
  if (document.querySelector("[style], style, [onclick], script:not([src]):not([type='application/json'])")) {
    faults.push("script or style in the markup");
  }
  return faults;
}
"""


def identity() -> SimpleNamespace:
    return SimpleNamespace(username="alice", name="Alice", serial="4f2a9c01d37be8", is_staff=True)


def certificate(pk: int, status: str, *, device: str, is_this: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        pk=pk,
        status=status,
        device=device,
        is_this=is_this,
        serial=f"4f2a9c01d37be{pk}",
        fingerprint="AB:12:" * 31 + "AB:12",
        not_before=NOW,
        not_after=NOW + dt.timedelta(days=90),
        revoked_at=NOW if status == "revoked" else None,
        get_revocation_reason_display="the key was lost or stolen",
    )


def enrol(
    *, is_staff: bool, data: Mapping[str, str] | None = None, needs_approval: bool = False
) -> dict[str, Any]:
    user: Any = SimpleNamespace(
        is_staff=is_staff, is_active=True, has_usable_password=lambda: False, name="Alice"
    )
    form: forms.Form = EnrolForm(dict(data) if data else None, user=user)
    return {
        "invitation": SimpleNamespace(user="Alice", device="laptop", expires_at=NOW),
        "form": form,
        "needs_approval": needs_approval,
        "csr_url": "/enrol/x/csr/",
        "status_url": "/enrol/x/status/",
        "file_password": "abcd-efgh-jkmn-pqrs",
        "main_url": MAIN,
        "truststore_downloads": ANCHORS,
    }


ANCHORS = [{"name": "Example Root", "sha256": SHA256, "url": "/ca/root.cer", "not_after": NOW}]
ASKED = SimpleNamespace(
    owner="Alice",
    device="laptop",
    state="waiting",
    requested_at=NOW,
    get_state_display="waiting for approval",
)
LINK: dict[str, Any] = {
    "url": f"{ENROL}enrol/{'x' * 43}/",
    "invitation": SimpleNamespace(device="phone", expires_at=NOW),
}


def refusal(error: type[errors.IdentityError]) -> dict[str, Any]:
    return {
        "error": error(),
        "certificate": None if error is errors.NoCertificateError else PRESENTED,
        "moment": NOW,
        "reason": "the key was lost or stolen",
        "enrol_url": ENROL,
        "main_url": MAIN,
        "request": SimpleNamespace(identity=None, path="/"),
    }


def pages() -> dict[str, str]:
    request = SimpleNamespace(identity=identity(), path="/devices/")
    rows = [
        certificate(1, "valid", device="laptop", is_this=True),
        certificate(2, "valid", device="phone"),
        certificate(3, "revoked", device="old phone"),
        certificate(4, "expired", device="tablet"),
    ]
    devices = {"certificates": rows, "form": DeviceForm(), "link": None, "request": request}
    wrong = {"format": "p12", "password": "x" * 19, "console_password1": "one"}
    made = {f"/refused/{error.code}/": ("pki/refused.html", refusal(error)) for error in REFUSALS}
    made |= {
        "/enrol/": ("pki/enrol.html", enrol(is_staff=False)),
        "/enrol/admin/": ("pki/enrol.html", enrol(is_staff=True)),
        "/enrol/approved/": ("pki/enrol.html", enrol(is_staff=False, needs_approval=True)),
        "/enrol/asked/": (
            "pki/request_status.html",
            {"asked": ASKED, "answer": {"detail": "Wait."}, "status_url": "/x", "main_url": MAIN},
        ),
        "/enrol/wrong/": ("pki/enrol.html", enrol(is_staff=True, data=wrong)),
        "/enrol/refused/": ("pki/enrol_refused.html", {"error": "This link was used already."}),
        "/enrol/home/": ("pki/enrol_home.html", {"anchors": ANCHORS, "main_url": MAIN}),
        "/devices/": ("pki/devices.html", devices),
        "/devices/link/": ("pki/devices.html", {**devices, "link": LINK}),
        "/devices/revoke/": (
            "pki/device_revoke.html",
            {"certificate": rows[0], "form": RevokeForm(), "request": request},
        ),
    }
    made |= {f"/{name}/": (f"{name}.html", {}) for name in ("400", "403", "csrf", "404", "500")}
    return {path: rendered(template, context) for path, (template, context) in made.items()}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with site(pages()) as url:
        yield url


@pytest.fixture(scope="module")
def phone(address: str) -> Iterator[Page]:
    with chromium_page(
        f"{address}/404/", viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True
    ) as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_faults_on_a_small_screen(phone: Page, address: str, scheme: str) -> None:
    phone.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for path in pages():
        phone.goto(address + path)
        assert phone.evaluate(FIND_FAULTS) == [], path


@pytest.mark.parametrize(("error", "heading"), REFUSALS.items(), ids=lambda value: str(value)[-30:])
def test_each_refusal_has_its_own_words_and_a_way_out(
    phone: Page, address: str, error: type[errors.IdentityError], heading: str
) -> None:
    phone.goto(f"{address}/refused/{error.code}/")
    expect(phone.get_by_role("heading", level=1)).to_have_text(heading)
    expect(phone.locator("#refusal")).to_have_attribute("data-code", error.code)
    assert phone.locator(".steps li").count() >= 1
    expect(phone.get_by_role("link", name="Try again")).to_have_attribute("href", MAIN)
    expect(phone.get_by_role("link", name="Help with certificates")).to_have_attribute(
        "href", ENROL
    )


def test_the_password_of_the_file_is_the_one_that_is_sent(phone: Page, address: str) -> None:
    phone.goto(f"{address}/enrol/wrong/")
    shown = phone.locator("#file-password").inner_text()
    assert phone.locator("input[name=password]").input_value() == shown
    expect(phone.get_by_role("button", name="Copy")).to_be_visible()


def test_an_error_is_read_out_with_its_field(phone: Page, address: str) -> None:
    phone.goto(f"{address}/enrol/wrong/")
    field = phone.get_by_label("Console password, again")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("This field is required.")
    first = phone.get_by_label("Console password", exact=True)
    expect(first).to_have_attribute("aria-invalid", "true")
    expect(first).to_have_accessible_description(re.compile("At least 8 characters.* too short"))


def test_the_button_works_once(phone: Page, address: str) -> None:
    phone.goto(f"{address}/enrol/")
    phone.get_by_label("Compatible").check()
    phone.evaluate("""() => {
      posts = 0;
      document.getElementById("enrol-form").addEventListener("submit", (event) => {
        if (!event.defaultPrevented) posts += 1;
        event.preventDefault();
      });
    }""")
    for _ in range(2):
        phone.locator("#enrol-submit").click(force=True)
    assert phone.evaluate("posts") == 1
    expect(phone.locator("#downloaded")).to_be_visible()


def test_a_device_can_be_revoked_unless_its_certificate_is_over(phone: Page, address: str) -> None:
    phone.goto(f"{address}/devices/")
    links = phone.get_by_role("link", name="Revoke").all()
    assert [link.get_attribute("href") for link in links] == [
        "/devices/1/revoke/",
        "/devices/2/revoke/",
    ]
    expect(phone.locator("[data-status=revoked]")).to_contain_text("the key was lost or stolen")


def test_a_new_link_is_shown_with_a_copy_button(phone: Page, address: str) -> None:
    phone.goto(f"{address}/devices/link/")
    expect(phone.locator("#enrol-link")).to_have_text(LINK["url"])
    expect(phone.locator("#new-link")).to_contain_text("A link for “phone”")
