"""Throw-away identities are nobody's, for nobody, and gone soon."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from cryptography import x509
from django.db import transaction

from pki import people, probes, truststore
from pki.errors import RequestError, StateError
from pki.identity import (
    AccountDisabledError,
    CertificateRevokedError,
    WrongPurposeError,
    identify,
)
from pki.models import AuditEntry, Certificate, PrivateKey, User
from tests.certs import make_ca
from tests.factories import ACTOR, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def good(pki, at):
    return probes.issue_good(actor=ACTOR, authority=pki.issuing, at=at)


def test_good_one_is_sound_and_signs_nobody_in(pki, good, at):
    path = truststore.verify(truststore.snapshot(pki.truststore), good.chain, at=at)

    assert path[0].subject.rfc4514_string() == "CN=endpoint-test"
    with pytest.raises(AccountDisabledError):
        identify(chain=good.chain, at=at)


def test_it_lasts_minutes_and_its_key_is_not_kept(pki, at):
    before = PrivateKey.objects.count()
    good = probes.issue_good(actor=ACTOR, authority=pki.issuing, at=at)

    assert good.row.not_after - at < dt.timedelta(minutes=10)
    assert good.row.key is None
    assert PrivateKey.objects.count() == before


def test_account_is_closed_again_even_where_issuing_fails(pki, at, monkeypatch):
    probes.issue_good(actor=ACTOR, authority=pki.issuing, at=at)

    def fail(_):
        raise StateError("no")

    monkeypatch.setattr(probes.issuance, "issue", fail)
    with pytest.raises(StateError), transaction.atomic():
        probes.issue_good(actor=ACTOR, authority=pki.issuing, at=at)

    assert not User.objects.get(username=probes.USERNAME).is_active


def test_one_that_expires_is_valid_for_a_moment(pki, at):
    soon = probes.issue_expiring(actor=ACTOR, authority=pki.issuing, at=at)

    assert dt.timedelta(0) < soon.row.not_after - at <= dt.timedelta(seconds=3)


def test_server_is_nobody(pki, at):
    server = probes.issue_server(actor=ACTOR, authority=pki.issuing, at=at)

    leaf = x509.load_der_x509_certificate(server.chain[0])
    assert leaf.subject.rfc4514_string() == f"CN={probes.HOST}"
    with pytest.raises(WrongPurposeError):
        identify(chain=server.chain, at=at)


def test_foreign_one_writes_nothing(pki, at):
    before = Certificate.objects.count(), AuditEntry.objects.count()
    foreign = probes.foreign(at=at)

    assert (Certificate.objects.count(), AuditEntry.objects.count()) == before
    foreign.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_withdrawn_ones_are_revoked_and_the_foreign_one_is_left_alone(pki, good, at):
    probes.withdraw(actor=ACTOR, probes=[good, probes.foreign(at=at)], at=at)

    with pytest.raises(CertificateRevokedError):
        identify(chain=good.chain, at=at)
    actions = AuditEntry.objects.values_list("action", flat=True)
    assert {"certificate.issued", "certificate.revoked"} <= set(actions)


@pytest.mark.parametrize("fields", [{"is_staff": True}, {"password": "swan-plum-kite"}])
def test_person_of_that_name_who_was_here_before_is_not_taken(pki, at, fields):
    person = make_person(probes.USERNAME, **fields)

    with pytest.raises(StateError, match="There is a person with the username endpoint-test"):
        probes.issue_good(actor=ACTOR, authority=pki.issuing, at=at)

    person.refresh_from_db()
    assert person.is_active
    assert not person.certificates.exists()


def test_nobody_gets_that_name(db, at):
    with pytest.raises(RequestError, match="calls this machine 'endpoint-test'"):
        people.create_person(actor=ACTOR, username=probes.USERNAME, at=at)


def test_authority_is_one_that_the_store_trusts(pki, at):
    assert probes.authority_in(pki.truststore, at=at) == pki.issuing
    other = truststore.create_truststore(actor=ACTOR, name="partners", at=at)
    assert probes.authority_in(other, at=at) is None
    truststore.add_anchor(
        actor=ACTOR, truststore=other, certificate=make_ca("Partner Root").der, at=at
    )
    assert probes.authority_in(other, at=at) is None
