"""The page of failed handshakes: read, filtered, and believed in nothing."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from django.utils import timezone

from pki import audit
from project.models import HandshakeFailure
from project.tls import advice
from tests.certs import made_odd, make_ca
from tests.factories import make_device, make_endpoint
from tests.pki.admin.conftest import queries_of, text_of

LIST = "/console/project/handshakefailure/"
ODD = made_odd(make_ca("Mallory CA").issue("alice").der)


def failed(reason="certificate revoked", *, endpoint="main", certificate=None, **more):
    fields = {"at": timezone.now(), "peer": "192.0.2.7:4711", **more}
    return HandshakeFailure.objects.create(
        endpoint=endpoint,
        reason=reason,
        advice=advice.advice(reason),
        certificate=certificate,
        sha256=hashlib.sha256(certificate).hexdigest() if certificate else "",
        **fields,
    )


def test_list_says_who_why_and_what_to_do(console):
    failed(subject="CN=mallory")

    shown = text_of(console.get(LIST))

    for words in ("certificate revoked", advice.REVOKED, "CN=mallory", "192.0.2.7:4711"):
        assert words in shown


@pytest.mark.parametrize(
    ("peer", "later", "is_marked"),
    [
        ("127.0.0.1:4711", 5, True),
        ("192.0.2.7:4711", 5, False),
        ("127.0.0.1:4711", 31, False),
        ("127.0.0.1:4711", -1, False),
    ],
)
def test_failures_of_a_test_are_marked(console, pki, peer, later, is_marked):
    make_endpoint(pki, pki.truststore)
    row = failed(peer=peer)
    tested = row.at + dt.timedelta(seconds=later)
    audit.record(actor="admin", action="endpoint.tested", target="main", detail={}, at=tested)
    audit.record(actor="admin", action="endpoint.tested", target="enrol", detail={}, at=row.at)

    for page in (LIST, f"{LIST}{row.pk}/change/"):
        assert ("by a test of this endpoint" in text_of(console.get(page))) == is_marked


def test_reasons_of_a_day_are_counted(console):
    failed(count=41)
    failed("HTTP_REQUEST", endpoint="enrol", count=2)
    failed("HTTP_REQUEST", at=timezone.now() - dt.timedelta(days=2), count=900)

    bars = console.get(LIST).context["reasons"]
    assert [(bar["reason"], bar["number"]) for bar in bars] == [
        ("certificate revoked", 41),
        ("HTTP_REQUEST", 2),
    ]
    bars = console.get(f"{LIST}?endpoint=enrol").context["reasons"]
    assert [(bar["reason"], bar["number"]) for bar in bars] == [("HTTP_REQUEST", 2)]


def test_many_reasons_end_in_one_bar(console):
    for number in range(12):
        failed(f"reason {number:02}")

    bars = console.get(LIST).context["reasons"]

    assert len(bars) == 9
    assert (bars[-1]["reason"], bars[-1]["number"]) == ("other reasons", 4)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("endpoint=enrol", ["HTTP_REQUEST"]),
        ("reason=certificate+revoked", ["certificate revoked"]),
        ("endpoint=enrol&reason=certificate+revoked", []),
        ("q=mallory", ["certificate revoked"]),
    ],
)
def test_list_is_filtered(console, query, shown):
    failed(subject="CN=mallory")
    failed("HTTP_REQUEST", endpoint="enrol")

    rows = console.get(f"{LIST}?{query}").context["cl"].queryset

    assert [row.reason for row in rows] == shown


def test_empty_list_says_so(console):
    shown = text_of(console.get(LIST))
    assert "There are no failed handshakes yet." in shown
    assert "reasons-of-a-day" not in shown


def test_foreign_certificate_is_shown_and_not_believed(console):
    leaf = make_ca("Mallory CA").issue("admin")
    row = failed("unable to get local issuer certificate", certificate=leaf.der)

    shown = text_of(console.get(f"{LIST}{row.pk}/change/"))

    for words in ("not issued here", "CN=admin", "CN=Mallory CA", advice.NOT_OURS):
        assert words in shown


def test_certificate_of_ours_is_recognised_by_every_byte(console, pki, people):
    device = make_device(people.bob, pki.issuing)
    row = failed(certificate=device.der)

    shown = text_of(console.get(f"{LIST}{row.pk}/change/"))

    assert "ours, valid" in shown
    assert f"/console/pki/certificate/?q={device.certificate.sha256}" in shown


@pytest.mark.parametrize("der", [b"", b"nonsense", b"\x30\x00", *ODD])
def test_certificate_that_cannot_be_read_is_shown_as_that(console, der):
    row = failed(certificate=der)
    assert "cannot be read" in text_of(console.get(f"{LIST}{row.pk}/change/"))


def test_text_of_a_stranger_is_no_markup(console):
    row = failed(subject="CN=<script>alert(1)</script>", server_name="<b>x")
    for path in (LIST, f"{LIST}{row.pk}/change/"):
        shown = text_of(console.get(path))
        assert "<script>alert" not in shown
        assert "<b>x" not in shown


def test_list_takes_no_more_queries_when_there_are_more(console):
    failed()
    before = queries_of(console, LIST)
    for number in range(20):
        failed(peer=f"192.0.2.{number}:1", certificate=b"x")

    assert queries_of(console, LIST) == before


def test_clerk_who_may_see_it_sees_it_and_changes_nothing(clerk):
    row = failed()
    visitor = clerk("view_handshakefailure")

    assert visitor.get(LIST).status_code == 200
    page = visitor.get(f"{LIST}{row.pk}/change/")
    assert page.status_code == 200
    assert 'name="_save"' not in text_of(page)
    assert visitor.post(f"{LIST}{row.pk}/delete/").status_code == 404
    assert visitor.get(f"{LIST}add/").status_code == 404
    assert HandshakeFailure.objects.count() == 1


def test_clerk_without_the_right_does_not(clerk):
    row = failed()
    visitor = clerk("view_endpoint")

    assert visitor.get(LIST).status_code == 404
    assert visitor.get(f"{LIST}{row.pk}/change/").status_code == 404


def test_plain_words_come_first_and_those_of_openssl_after_the_advice(console):
    row = failed("WRONG_VERSION_NUMBER")
    shown = text_of(console.get(f"{LIST}{row.pk}/change/"))
    first, then, last = map(
        shown.index, ("What came was not TLS", advice.NOT_TLS, "WRONG_VERSION_NUMBER")
    )
    assert first < then < last


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("certificate has expired", "certificate has expired"),
        ("HTTP_REQUEST", "plain HTTP to a TLS port"),
        ("TLSV13_ALERT_MISSING_EXTENSION", "the client said: missing extension"),
        ("BAD_EXTENSION", "bad extension"),
    ],
)
def test_reason_is_said_plainly(reason, said):
    assert advice.plainly(reason) == said
