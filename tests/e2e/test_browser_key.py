"""Enrolment with a key made in the browser: the file works, and neither key nor password left."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from playwright.sync_api import Page, Playwright, Route, expect, sync_playwright

from tests.e2e import enrolling, secrets_in
from tests.e2e.browser import Profile, chosen_certificates
from tests.e2e.enrolling import KEPT, Link, Sent, names_in, saved, shown_password, window
from tests.e2e.server import Signet
from tests.e2e.wire import Wire, recorded
from tests.openssl import openssl
from tests.services import require

pytestmark = pytest.mark.browser
CSP = (
    "base-uri 'none'; connect-src 'self'; default-src 'none'; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; manifest-src 'self'; "
    "require-trusted-types-for 'script'; script-src 'self'; style-src 'self'; trusted-types signet"
)
SERVER_CERTIFICATE = """
from cryptography import x509
from django.utils import timezone
from pki import handout, issuance
from pki.models import CertificateAuthority
key = handout.make_key()
row = issuance.issue(issuance.prepare(
    actor="test", authority=CertificateAuthority.objects.issuing(timezone.now()).first(),
    profile="server", public_key=key.public_key(), hosts=["localhost"], at=timezone.now(),
))
packed = handout.pack(
    key=key, chain=handout.chain_of(row), format=handout.Format.PEM, password=None, name="x"
)
open({out!r}, "wb").write(packed.content)
"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    require("chromium", "certutil", "pk12util")
    with chosen_certificates(), sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def link(signet: Signet) -> Link:
    return enrolling.links(signet, {"olga": 2, "leaky": 1})


@dataclass(frozen=True)
class Enrolled:
    """The whole path, walked once: what was sent, and the file that came of it."""

    file: Path
    password: str
    sent: Sent
    told: bytes
    wire: bytes
    csr: str
    kept: list[object]
    policy: str

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        key = pkcs12.load_key_and_certificates(self.file.read_bytes(), self.password.encode())[0]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


@pytest.fixture(scope="module")
def wire(signet: Signet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    identity = tmp_path_factory.mktemp("wire") / "server.pem"
    signet.shell(SERVER_CERTIFICATE.format(out=str(identity)))
    with recorded(signet.enrol, identity) as wire:
        yield wire


@pytest.fixture(scope="module")
def profile(
    playwright: Playwright, signet: Signet, tmp_path_factory: pytest.TempPathFactory
) -> Profile:
    profile = Profile(playwright, tmp_path_factory.mktemp("profile") / "olga")
    profile.trust(signet.root)
    return profile


@pytest.fixture(scope="module")
def enrolled(profile: Profile, wire: Wire, link: Link) -> Enrolled:
    with profile.open() as browser:
        sent = Sent().watch(browser)
        page = browser.pages[0]
        answer = page.goto(link("olga", port=wire.port))
        assert answer is not None
        before = shown_password(page)
        file, password = saved(page, profile.home)
        expect(page.locator("#enrol-status")).to_contain_text("removed from this browser")
        assert password == before
        kept = page.evaluate(KEPT)
        told = sent.everything
    policy = answer.headers["content-security-policy"]
    csr = sent.posts()[0]["csr"]
    return Enrolled(file, password, sent, told, wire.heard, csr, kept, policy)


# --- The file -------------------------------------------------------------------------------


def test_the_file_is_for_the_person_and_holds_the_chain(enrolled: Enrolled, signet: Signet) -> None:
    assert enrolled.file.name == "olga-laptop.p12"
    assert names_in(enrolled.file, enrolled.password) == ["olga"]
    read = pkcs12.load_pkcs12(enrolled.file.read_bytes(), enrolled.password.encode())
    root = read.additional_certs[-1].certificate
    assert root.public_bytes(Encoding.PEM).strip() in signet.root.read_bytes()


def test_openssl_and_java_read_the_file(enrolled: Enrolled) -> None:
    given = f"pass:{enrolled.password}"
    shown = openssl("pkcs12", "-in", enrolled.file, "-info", "-nodes", "-passin", given)
    assert "AES-256-CBC" in shown
    assert shown.count("BEGIN CERTIFICATE") == 3
    require("keytool")
    java = subprocess.run(
        ["keytool", "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12",
         "-keystore", enrolled.file, "-storepass", enrolled.password],
        capture_output=True, text=True, timeout=60, check=False,
    ).stdout  # fmt: skip
    assert "PrivateKeyEntry" in java
    assert "Certificate chain length: 3" in java


def test_the_request_that_left_is_sound_and_for_the_key_in_the_file(enrolled: Enrolled) -> None:
    shown = openssl("req", "-verify", "-noout", "-pubkey", stdin=enrolled.csr.encode())
    public = enrolled.key.public_key()
    assert "verify OK" in shown
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert pem.decode().strip() in shown


def test_the_person_signs_in_with_the_file(
    enrolled: Enrolled, profile: Profile, signet: Signet
) -> None:
    profile.install(enrolled.file, enrolled.password)
    with profile.open() as browser:
        page = browser.pages[0]
        page.goto(signet.url("/devices/"))
        expect(page.locator("#whoami")).to_have_attribute("data-username", "olga")


# --- What left the browser ------------------------------------------------------------------


def leaks(enrolled: Enrolled, sent: bytes) -> set[str]:
    key = secrets_in.found(secrets_in.forms_of_key(enrolled.key), sent)
    return key | secrets_in.found(secrets_in.forms_of_password(enrolled.password), sent)


def test_neither_key_nor_password_left_the_page(enrolled: Enrolled) -> None:
    assert b"csr=-----BEGIN+CERTIFICATE+REQUEST" in enrolled.wire
    assert b"csr=-----BEGIN+CERTIFICATE+REQUEST" in enrolled.told
    assert leaks(enrolled, enrolled.wire) == set()
    assert leaks(enrolled, enrolled.told) == set()
    assert enrolled.sent.sockets == []
    assert b"Upgrade: websocket" not in enrolled.wire
    fields = enrolled.sent.posts()[0]
    assert set(fields) == {"csr", "csrfmiddlewaretoken"}


def test_nothing_stays_behind(enrolled: Enrolled) -> None:
    assert enrolled.kept == [[], {}, {}]
    assert enrolled.sent.own_notes == []


def test_the_page_may_run_its_own_scripts_only(enrolled: Enrolled) -> None:
    assert "; ".join(sorted(enrolled.policy.split("; "))) == CSP


LEAKS = {
    "body": "(s, url) => fetch(url, {method: 'POST', body: Uint8Array.from(s.raw)})",
    "url": "(s, url) => fetch(`${url}?key=${encodeURIComponent(s.pkcs8)}`)",
    "header": "(s, url) => fetch(url, {headers: {'X-Key': s.hex}})",
    "jwk": "(s, url) => fetch(url, {method: 'POST', body: JSON.stringify({kty: 'EC', d: s.d})})",
    "pem": "(s, url) => fetch(url, {method: 'POST', body: new URLSearchParams({k: s.pem})})",
    "password": "(s, url) => fetch(url, {method: 'PUT', body: s.password})",
    "beacon": "(s, url) => { navigator.sendBeacon(url, s.password); }",
    "image": "(s, url) => { new Image().src = `/static/${btoa(s.password)}.png`; }",
}


@pytest.fixture(scope="module")
def leaking(playwright: Playwright, wire: Wire, link: Link) -> Iterator[tuple[Page, Sent]]:
    with window(playwright) as (page, sent):
        page.goto(link("olga", port=wire.port))
        yield page, sent


@pytest.mark.parametrize("way", LEAKS)
def test_a_key_or_password_that_leaves_is_noticed(
    enrolled: Enrolled, leaking: tuple[Page, Sent], wire: Wire, way: str
) -> None:
    """The control: the page is made to send the true secret, and both ears hear it."""
    page, sent = leaking
    known, told = len(wire.heard), len(sent.requests)
    page.evaluate(
        f"""async ([secrets, url]) => {{
          const answer = await ({LEAKS[way]})(secrets, url);
          await answer?.text();
        }}""",
        [_ways_to_write(enrolled), page.locator("#enrol-form").get_attribute("data-status-url")],
    )
    deadline = time.monotonic() + 30
    while not leaks(enrolled, wire.heard[known:]) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert leaks(enrolled, wire.heard[known:]) != set()
    assert leaks(enrolled, b"".join(map(enrolling.bytes_of, sent.requests[told:]))) != set()


def _ways_to_write(enrolled: Enrolled) -> dict[str, object]:
    der = enrolled.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    pem = enrolled.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    d = enrolled.key.private_numbers().private_value.to_bytes(32, "big")
    return {
        "raw": list(der),
        "pkcs8": base64.b64encode(der).decode(),
        "pem": pem.decode(),
        "hex": der.hex(),
        "d": base64.urlsafe_b64encode(d).decode().rstrip("="),
        "password": enrolled.password,
    }


def test_a_module_that_sends_the_key_along_is_noticed(
    playwright: Playwright, wire: Wire, link: Link, tmp_path: Path
) -> None:
    """The control once more, with the product's own module changed on its way to the browser."""

    def change(route: Route) -> None:
        source = route.fetch().text()
        changed = source.replace(
            "consolePasswords: consolePasswords(),",
            "consolePasswords: { k: JSON.stringify("
            "await crypto.subtle.exportKey('jwk', record.key.privateKey)) },",
        )
        assert changed != source
        route.fulfill(body=changed, content_type="text/javascript")

    known = len(wire.heard)
    with window(playwright) as (page, sent):
        page.route("**/enrol-here.js", change)
        page.goto(link("leaky", port=wire.port))
        file, password = saved(page, tmp_path)
        everything = sent.everything
    key = pkcs12.load_key_and_certificates(file.read_bytes(), password.encode())[0]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    for heard in (everything, wire.heard[known:]):
        assert "base64url at 0" in secrets_in.found(secrets_in.forms_of_key(key), heard)
