from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import DESKTOP, chat_site, open_general
from tests.e2e.modules import chromium_page
from tests.e2e.server import Signet

expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def signet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signet]:
    """One running deployment for all tests that only need a server."""
    deployment = Signet(tmp_path_factory.mktemp("signet") / "var")
    deployment.set_up()
    deployment.shell(REQUIRED_ENDPOINT.format(port=deployment.required))
    deployment.start()
    yield deployment
    if deployment.process:
        deployment.stop()


@pytest.fixture
def own_signet(tmp_path: Path) -> Iterator[Signet]:
    """A deployment of the test's own, set up but not started; it may be killed."""
    deployment = Signet(tmp_path / "var")
    deployment.set_up()
    yield deployment
    if deployment.process:
        deployment.kill()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The chat page with a server inside the page, for one file of tests."""
    with chat_site("general", "other", "far", "den") as url:
        yield url


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with chromium_page(f"{address}/rooms/other/", viewport=DESKTOP) as page:
        yield page


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    browser_page.set_viewport_size(DESKTOP)
    return open_general(browser_page, address)


REQUIRED_ENDPOINT = """
from pki.models import Endpoint
main = Endpoint.objects.get(name="main")
Endpoint.objects.create(
    name="strict", address="127.0.0.1", port={port}, certificate=main.certificate,
    client_certificate="required", truststore=main.truststore, serves="main",
)
"""
