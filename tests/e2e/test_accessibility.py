"""axe finds nothing serious on any page, light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.axe import faults
from tests.e2e.browser import PASSWORD, identity_of_admin, open_browser
from tests.e2e.server import Signet

pytestmark = pytest.mark.browser
# Every page of the console: its start, each list, each form to add and the first thing of each list.
CONSOLE = """
from django.contrib import admin
from django.urls import reverse
from pki.models import User
alice = User.objects.get(username="alice")
class Request:
    user = alice
    method = "GET"
    GET = {}
    identity = None
print("/console/")
for model, options in admin.site._registry.items():
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    print(reverse(f"{name}_changelist"))
    if options.has_add_permission(Request()):
        print(reverse(f"{name}_add"))
    first = model._default_manager.order_by("pk").first()
    if first is not None:
        print(reverse(f"{name}_change", args=[first.pk]))
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, signet: Signet) -> Iterator[BrowserContext]:
    """Alice's browser; she runs the console and has written in General."""
    folder = tmp_path_factory.mktemp("axe")
    file = identity_of_admin(signet, folder, name="Alice Ahlberg")
    with open_browser(signet, folder / "alice", file) as opened:
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    yield page
    page.close()


def test_axe_finds_what_is_wrong(page: Page) -> None:
    page.set_content(
        "<p style='color: #999; background: #aaa'>grey</p><img src='x'><button></button>"
    )
    assert {fault["id"] for fault in faults(page)} >= {"color-contrast", "image-alt", "button-name"}


def test_pages_of_everybody(page: Page, signet: Signet) -> None:
    found = []
    addresses = [
        signet.url("/devices/"),
        signet.url("/devices/requests/"),
        signet.url("/nowhere/"),
        signet.url("/rooms/nowhere/"),
        signet.url("/", port=signet.enrol),
        signet.url("/enrol/wrong/", port=signet.enrol),
        signet.printed_link() if "/enrol/" in signet.log.read_text() else signet.url("/devices/"),
    ]
    for address in addresses:
        page.goto(address)
        found += faults(page)
    assert found == [], json.dumps(found, indent=1)


def test_console(page: Page, signet: Signet) -> None:
    page.goto(signet.url("/console/"))
    found = faults(page, reload=True)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Expiries by month")).to_be_visible()
    addresses = signet.shell(CONSOLE).split()
    assert len(addresses) > 30
    for address in addresses:
        page.goto(signet.url(address))
        found += faults(page, reload=True)
    assert found == [], json.dumps(found, indent=1)
