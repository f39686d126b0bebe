"""OCSP over HTTP: both methods, what caches are told, and what they are not."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from django.db import DatabaseError

from pki import ocsp as ours
from pki import responder
from pki.answers import Answer
from pki.views.ocsp import decoded, http_headers
from tests.client import Visitor
from tests.factories import make_device

Status = ocsp.OCSPResponseStatus
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def empty_cache():
    ours.cache.clear()


@pytest.fixture
def device(pki, alice):
    return make_device(alice, pki.issuing)


def asked(device, pki, *, nonce=None, serial=None):
    issuer = x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    builder = ocsp.OCSPRequestBuilder().add_certificate(device.x509, issuer, SHA256())
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    if serial:
        name, key = ours._issuers(bytes(pki.issuing.certificate.der))["sha256"]
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, SHA256())
    return builder.build().public_bytes(Encoding.DER)


def get(pki, request, **headers):
    encoded = quote(base64.b64encode(request).decode(), safe="")
    return Visitor(serves="public").get(f"/ocsp/{pki.issuing.slug}/{encoded}", **headers)


def post(pki, request):
    return Visitor(serves="public").post(
        f"/ocsp/{pki.issuing.slug}/", request, content_type="application/ocsp-request"
    )


def test_get_tells_caches_to_keep_it_for_a_minute(pki, device):
    answer = get(pki, asked(device, pki))
    said = ocsp.load_der_ocsp_response(answer.content)
    assert answer["Cache-Control"] == "max-age=60, public, no-transform, must-revalidate"
    date, expires = map(parsedate_to_datetime, (answer["Date"], answer["Expires"]))
    assert expires - date == 60 * SECOND
    assert expires < said.next_update_utc
    assert parsedate_to_datetime(answer["Last-Modified"]) == said.this_update_utc
    assert answer["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()[:32]}"'
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_a_cache_that_has_it_already_is_told_so(pki, device):
    request = asked(device, pki)
    tag = get(pki, request)["ETag"]
    assert get(pki, request, headers={"If-None-Match": tag}).status_code == 304
    assert get(pki, request, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("kind", ["post", "nonce", "unknown", "malformed", "unauthorized"])
def test_what_nobody_may_keep(pki, device, kind):
    answers = {
        "post": lambda: post(pki, asked(device, pki)),
        "nonce": lambda: get(pki, asked(device, pki, nonce=b"n" * 32)),
        "unknown": lambda: get(pki, asked(device, pki, serial=5)),
        "malformed": lambda: get(pki, b"garbage"),
        "unauthorized": lambda: Visitor(serves="public").post(
            f"/ocsp/{pki.root.slug}/", asked(device, pki), content_type="application/ocsp-request"
        ),
    }
    answer = answers[kind]()
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/ocsp-response"
    assert answer["Cache-Control"] == "no-store"
    assert not answer.has_header("ETag")
    assert not answer.has_header("Expires")


def test_headers_never_go_beyond_the_end_of_an_answer():
    at = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    headers = http_headers(Answer(b"", at, at + 31 * SECOND), at=at, is_get=True)
    assert headers["Cache-Control"].startswith("max-age=30,")
    for end in (at, at + SECOND, at - SECOND):
        headers = http_headers(Answer(b"", at, end), at=at, is_get=True)
        assert headers["Cache-Control"] == "no-store"


ODD = b"\x30" + b"\xfb\xff\xfe" * 7  # its base64 has "/" and "+", two of them in a row


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text,
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="/"),
        lambda text: "/" + text,
        lambda text: "//" + quote(text, safe=""),
    ],
    ids=["bare", "escaped", "slashes bare", "slash in front", "two in front"],
)
def test_base64_as_readers_write_it(write):
    for der in (ODD, b"\x30" + b"\xff" * 20, b"\x30\x03\x02\x01\x05"):
        assert decoded(write(base64.b64encode(der).decode())) == der


@pytest.mark.parametrize("text", ["%", "MA", "M A=", "é", "A" * 8000, "MA==garbage", "-_-_"])
def test_what_is_no_base64_is_empty(text):
    assert decoded(text) == b""


def test_get_with_slashes_and_pluses_through_all_middleware(pki, device):
    nonces = (bytes([n]) * 30 + b"\xfb\xff\xbf\xff\xff" for n in range(200))
    request = next(
        r
        for r in (asked(device, pki, nonce=n) for n in nonces)
        if {"/", "+"} <= set(base64.b64encode(r).decode())
    )
    for safe in ("", "/", "/+="):
        text = quote(base64.b64encode(request).decode(), safe=safe)
        answer = Visitor(serves="public").get(f"/ocsp/{pki.issuing.slug}//{text}")
        assert ocsp.load_der_ocsp_response(answer.content).response_status is Status.SUCCESSFUL


def test_the_longest_request_and_one_more(pki, device):
    assert len(decoded(base64.b64encode(b"0" * 4096).decode())) == 4096
    answer = post(pki, asked(device, pki) + b"0" * 5000)
    assert ocsp.load_der_ocsp_response(answer.content).response_status is Status.MALFORMED_REQUEST


def test_a_database_that_is_away_says_try_later(pki, device, monkeypatch, caplog):
    def fail(*_, **__):
        raise DatabaseError("connection refused")

    monkeypatch.setattr(ours, "answer", fail)
    answer = post(pki, asked(device, pki))
    assert ocsp.load_der_ocsp_response(answer.content).response_status is Status.TRY_LATER
    assert answer["Cache-Control"] == "no-store"
    assert "connection refused" in caplog.text


def test_a_token_that_is_away_says_try_later(pki, device, monkeypatch):
    from pki.errors import KeyBackendError

    def fail(*_, **__):
        raise KeyBackendError("The token is away.")

    monkeypatch.setattr(responder, "sign", fail)
    answer = post(pki, asked(device, pki))
    assert ocsp.load_der_ocsp_response(answer.content).response_status is Status.TRY_LATER
