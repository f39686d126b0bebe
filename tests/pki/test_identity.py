"""Who a connection is, and when it stops being that."""

from __future__ import annotations

import datetime as dt
import importlib
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pki import people as accounts
from pki.errors import (
    AccountDisabledError,
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateNotYetValidError,
    CertificateRevokedError,
    IdentityError,
    NoCertificateError,
    WrongPurposeError,
)
from pki.identity import describe, describe_changed, identify, recheck, refusals
from pki.models import Certificate, CertificateProfile
from pki.revocation import revoke
from tests import certs
from tests.factories import PKI, People, make_device, make_identity, make_server_certificate


def test_identify_alice(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, device="laptop", at=at)
    identity = identify(chain=laptop.chain, at=at)
    assert identity.user_id == people.alice.pk
    assert (identity.username, identity.name, identity.device) == ("alice", "Alice", "laptop")
    assert identity.is_staff is False
    assert identity.serial == f"{laptop.x509.serial_number:x}"
    assert identity.not_after == laptop.x509.not_valid_after_utc


def test_identify_with_leaf_alone(pki: PKI, people: People, at: dt.datetime) -> None:
    """Browsers on NSS send no intermediate."""
    laptop = make_device(people.alice, pki.issuing, at=at)
    assert identify(chain=[laptop.der], at=at).username == "alice"


def test_identify_takes_one_query(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        identify(chain=laptop.chain, at=at)
    assert len(queries) == 1


@pytest.mark.parametrize("chain", [[], [b""]])
def test_identify_without_certificate(db: None, chain: list[bytes], at: dt.datetime) -> None:
    with pytest.raises(NoCertificateError):
        identify(chain=chain, at=at)


def test_identify_mallory_with_alices_name(pki: PKI, people: People, at: dt.datetime) -> None:
    """Same subject, same issuer name, even the same serial: another CA is another CA."""
    alice = make_device(people.alice, pki.issuing, at=at)
    forged = certs.make_ca("Test Issuing").issue("alice", serial=alice.x509.serial_number)
    assert identify(chain=alice.chain, at=at).username == "alice"
    with pytest.raises(CertificateNotTrustedError):
        identify(chain=[forged.der, *alice.chain], at=at)


@pytest.mark.parametrize("garbage", [b"\x00", b"not a certificate", b"\x30\x82" * 9999])
def test_identify_garbage(pki: PKI, garbage: bytes, at: dt.datetime) -> None:
    with pytest.raises(CertificateNotTrustedError):
        identify(chain=[garbage], at=at)


def test_identify_with_one_bit_changed(pki: PKI, people: People, at: dt.datetime) -> None:
    der = bytearray(make_device(people.alice, pki.issuing, at=at).der)
    der[-1] ^= 1
    with pytest.raises(CertificateNotTrustedError):
        identify(chain=[bytes(der)], at=at)


def test_identify_with_server_certificate(pki: PKI, at: dt.datetime) -> None:
    server = make_server_certificate(pki.issuing, at=at)
    with pytest.raises(WrongPurposeError):
        identify(chain=[bytes(server.der)], at=at)


def test_identify_with_ca_certificate(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(WrongPurposeError):
        identify(chain=[bytes(pki.issuing.certificate.der)], at=at)


def test_server_certificate_with_owner_is_nobody(pki: PKI, people: People, at: dt.datetime) -> None:
    """What was said when it was issued decides, even if a row was given an owner."""
    server = make_server_certificate(pki.issuing, at=at)
    Certificate.objects.filter(pk=server.pk).update(owner=people.admin)
    with pytest.raises(WrongPurposeError):
        identify(chain=[bytes(server.der)], at=at)


def test_identify_at_the_edges_of_validity(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    first, last = laptop.x509.not_valid_before_utc, laptop.x509.not_valid_after_utc
    assert identify(chain=laptop.chain, at=last).username == "alice"
    with pytest.raises(CertificateExpiredError):
        identify(chain=laptop.chain, at=last + dt.timedelta(seconds=1))
    with pytest.raises(CertificateNotYetValidError):
        identify(chain=laptop.chain, at=first - dt.timedelta(seconds=1))


def test_identify_after_revocation(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, at=at)
    phone = make_device(people.alice, pki.issuing, device="phone", at=at)
    assert identify(chain=laptop.chain, at=at)
    revoke(actor="alice", certificate=laptop.certificate, reason="superseded", at=at)
    with pytest.raises(CertificateRevokedError):
        identify(chain=laptop.chain, at=at)
    assert identify(chain=phone.chain, at=at).device == "phone"


def test_revocation_of_ca_reaches_everybody_below(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    identity = make_identity(people.alice, pki.issuing, at=at)
    recheck(identity, at=at)
    revoke(actor="admin", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    with pytest.raises(CertificateRevokedError):
        recheck(identity, at=at)


def test_recheck_after_account_was_disabled(pki: PKI, people: People, at: dt.datetime) -> None:
    identity = make_identity(people.alice, pki.issuing, at=at)
    recheck(identity, at=at)
    accounts.disable_person(actor="admin", user=people.alice, at=at)
    with pytest.raises(AccountDisabledError):
        recheck(identity, at=at)


def test_recheck_tells_what_has_changed_in_one_query(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    identity = make_identity(people.alice, pki.issuing, at=at)
    assert recheck(identity, at=at) == identity
    accounts.change_person(
        actor="admin", user=people.alice, changes={"name": "Alicia", "is_staff": True}, at=at
    )
    with CaptureQueriesContext(connection) as queries:
        now = recheck(identity, at=at)
    assert (now.name, now.is_staff, now.sha256) == ("Alicia", True, identity.sha256)
    assert len(queries) == 1


def test_recheck_of_unknown_certificate(pki: PKI, people: People, at: dt.datetime) -> None:
    identity = make_identity(people.alice, pki.issuing, at=at)
    Certificate.objects.filter(pk=identity.certificate_id).delete()
    with pytest.raises(CertificateNotTrustedError):
        recheck(identity, at=at)


def test_refusals_of_many_in_one_query(pki: PKI, people: People, at: dt.datetime) -> None:
    good = [make_identity(user, pki.issuing, at=at) for user in (people.alice, people.bob)]
    bad = make_identity(people.charlie, pki.issuing, at=at)
    assert refusals([*good, bad], at=at) == {}
    certificate = Certificate.objects.get(pk=bad.certificate_id)
    revoke(actor="admin", certificate=certificate, reason="unspecified", at=at)
    with CaptureQueriesContext(connection) as queries:
        refused = refusals([*good, bad], at=at)
    assert len(queries) == 1
    assert {sha256: type(error) for sha256, error in refused.items()} == {
        bad.sha256: CertificateRevokedError
    }


def test_refusals_of_nobody(db: None, at: dt.datetime) -> None:
    assert refusals([], at=at) == {}


def test_every_refusal_has_its_own_code() -> None:
    kinds = [IdentityError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)


def test_identity_is_what_was_said_when_it_was_issued(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    """A profile that is edited or removed later makes nobody an identity, and unmakes none."""
    device = make_device(people.alice, pki.issuing)
    CertificateProfile.objects.filter(name="person").update(
        enabled=False, purpose="mail", extended_key_usage=["emailProtection"]
    )
    assert identify(chain=device.chain, at=at).username == "alice"
    Certificate.objects.filter(pk=device.certificate.pk).update(signs_in=False)
    with pytest.raises(WrongPurposeError):
        identify(chain=device.chain, at=at)


def test_certificates_from_before_sign_in_as_before(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    device = make_device(people.alice, pki.issuing)
    server = make_server_certificate(pki.issuing)
    Certificate.objects.update(signs_in=False)
    migration = importlib.import_module("pki.migrations.0002_authority_whole")
    migration.say_who_signs_in(apps, SimpleNamespace(connection=connection))
    assert identify(chain=device.chain, at=at).username == "alice"
    server.refresh_from_db()
    assert not server.signs_in


HOUR = dt.timedelta(hours=1)


def test_describe_says_what_a_certificate_says(pki: PKI, people: People, at: dt.datetime) -> None:
    laptop = make_device(people.alice, pki.issuing, device="laptop", at=at)
    (facts,) = describe([laptop.certificate.serial, "abc"], at=at)
    assert facts.subject == laptop.x509.subject.rfc4514_string()
    assert facts.issuer == pki.issuing.certificate.subject
    assert (facts.owner_id, facts.username, facts.name) == (people.alice.pk, "alice", "Alice")
    assert (facts.device, facts.sha256) == ("laptop", laptop.certificate.sha256)
    assert (facts.not_before, facts.not_after) == (
        laptop.x509.not_valid_before_utc,
        laptop.x509.not_valid_after_utc,
    )
    assert (facts.state, facts.revoked_at, facts.reason) == ("good", None, "")


def test_describe_takes_one_query(pki: PKI, people: People, at: dt.datetime) -> None:
    serials = [make_device(people.bob, pki.issuing, at=at).certificate.serial for _ in range(5)]
    with CaptureQueriesContext(connection) as queries:
        assert len(describe(serials, at=at)) == 5
    assert len(queries) == 1


@pytest.mark.parametrize(
    ("reason", "state"), [("keyCompromise", "revoked"), ("certificateHold", "held")]
)
def test_describe_says_since_when_one_is_revoked_and_why(
    pki: PKI, people: People, at: dt.datetime, reason: str, state: str
) -> None:
    device = make_device(people.bob, pki.issuing, at=at)
    revoke(actor="tests", certificate=device.certificate, reason=reason, at=at)
    (facts,) = describe([device.certificate.serial], at=at)
    assert (facts.state, facts.revoked_at, facts.reason) == (state, at, reason)


def test_describe_knows_the_times_of_a_certificate(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    device = make_device(people.bob, pki.issuing, at=at)
    row = device.certificate
    moments = {row.not_after + HOUR: "expired", row.not_before - HOUR: "not_yet_valid", at: "good"}
    for moment, state in moments.items():
        assert [facts.state for facts in describe([row.serial], at=moment)] == [state]


def test_describe_tells_that_the_authority_above_was_revoked(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    row = make_device(people.bob, pki.issuing, at=at).certificate
    revoke(actor="tests", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    (facts,) = describe([row.serial], at=at)
    assert (facts.state, facts.revoked_at, facts.reason) == ("revoked", at, "authority")
    changed = describe_changed(since=at - HOUR, at=at)
    assert [(one.serial, one.reason) for one in changed] == [(row.serial, "authority")]


def test_describe_changed_finds_what_happened_meanwhile_and_what_is_on_hold(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    made = {
        name: make_device(people.bob, pki.issuing, at=at).certificate
        for name in ("good", "revoked", "before", "held", "asked")
    }
    for name, reason, moment in [
        ("before", "keyCompromise", at - 2 * HOUR),
        ("held", "certificateHold", at - 2 * HOUR),
        ("revoked", "keyCompromise", at),
    ]:
        revoke(actor="tests", certificate=made[name], reason=reason, at=moment)
    found = describe_changed(since=at - HOUR, at=at, also=[made["asked"].serial])
    assert {one.serial for one in found} == {made[n].serial for n in ("revoked", "held", "asked")}


def test_server_certificate_is_described_to_nobody(pki: PKI, at: dt.datetime) -> None:
    server = make_server_certificate(pki.issuing, hosts=("localhost",), at=at)
    assert describe([server.serial], at=at) == []
