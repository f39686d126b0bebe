"""Revocations that wait for their time."""

from __future__ import annotations

import datetime as dt

import pytest

from pki import audit, crl, upkeep
from pki.errors import AlreadyRevokedError, AuthorityError, RequestError, StateError
from pki.models import AuditEntry, Certificate, PlannedRevocation
from pki.revocation import cancel_plan, carry_out_planned, plan, release, revoke
from tests.factories import PKI, People, make_device

HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)


@pytest.fixture
def certificate(pki: PKI, people: People, at: dt.datetime) -> Certificate:
    return make_device(people.alice, pki.issuing, at=at).certificate


@pytest.fixture
def planned(certificate: Certificate, at: dt.datetime) -> PlannedRevocation:
    return planning(certificate, at)


def planning(
    certificate: Certificate, at: dt.datetime, after: dt.timedelta = HOUR
) -> PlannedRevocation:
    return plan(
        actor="bob",
        certificate=certificate,
        reason="cessationOfOperation",
        at_time=at + after,
        at=at,
    )


def test_plan_is_carried_out_in_its_time(
    pki: PKI, certificate: Certificate, planned: PlannedRevocation, at: dt.datetime
) -> None:
    assert carry_out_planned(at=at + HOUR - SECOND) == 0
    certificate.refresh_from_db()
    assert certificate.revoked_at is None
    upkeep.carry_out(at=at + HOUR)
    certificate.refresh_from_db()
    assert certificate.revoked_at == at + HOUR
    assert certificate.revocation_reason == "cessationOfOperation"
    assert not PlannedRevocation.objects.exists()
    row = crl.latest(pki.issuing)
    assert row is not None
    assert row.entries == 1
    actions = AuditEntry.objects.filter(target=f"certificate {certificate.serial}")
    assert [(entry.action, entry.actor) for entry in actions[:2]] == [
        ("certificate.revoked", "bob"),
        ("certificate.revocation_planned", "bob"),
    ]
    assert carry_out_planned(at=at + HOUR) == 0
    audit.verify()


def test_plan_bites_within_seconds(
    certificate: Certificate, planned: PlannedRevocation, at: dt.datetime
) -> None:
    upkeep.carry_out_punctual(at=at + HOUR - SECOND)
    certificate.refresh_from_db()
    assert certificate.revoked_at is None
    upkeep.carry_out_punctual(at=at + HOUR + SECOND)
    certificate.refresh_from_db()
    assert certificate.revoked_at == at + HOUR + SECOND


def test_plan_may_be_cancelled(
    certificate: Certificate, planned: PlannedRevocation, at: dt.datetime
) -> None:
    cancel_plan(actor="admin", certificate=certificate, at=at)
    assert carry_out_planned(at=at + HOUR) == 0
    certificate.refresh_from_db()
    assert certificate.revoked_at is None
    assert AuditEntry.objects.all()[0].action == "certificate.plan_cancelled"
    with pytest.raises(StateError, match="No revocation"):
        cancel_plan(actor="admin", certificate=certificate, at=at)


def test_plan_is_refused(pki: PKI, certificate: Certificate, at: dt.datetime) -> None:
    for after in (-HOUR, dt.timedelta(0), certificate.not_after - at + SECOND):
        with pytest.raises(RequestError, match="ahead"):
            planning(certificate, at, after)
    ends = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
    with pytest.raises(RequestError, match=rf"before the certificate expires \({ends}\)"):
        planning(certificate, at, certificate.not_after - at + SECOND)
    with pytest.raises(RequestError, match="keyCompromise"):
        plan(actor="b", certificate=certificate, reason="no", at_time=at + HOUR, at=at)
    with pytest.raises(AuthorityError, match="signed itself"):
        planning(pki.root.certificate, at)
    assert not PlannedRevocation.objects.exists()
    planning(certificate, at)
    with pytest.raises(StateError, match="already"):
        planning(certificate, at, 2 * HOUR)
    revoke(actor="a", certificate=certificate, reason="superseded", at=at)
    assert not PlannedRevocation.objects.exists()
    with pytest.raises(AlreadyRevokedError):
        planning(certificate, at)


def test_hold_keeps_the_plan(
    certificate: Certificate, planned: PlannedRevocation, at: dt.datetime
) -> None:
    revoke(actor="a", certificate=certificate, reason="certificateHold", at=at)
    release(actor="a", certificate=certificate, at=at)
    revoke(actor="a", certificate=certificate, reason="certificateHold", at=at)
    assert carry_out_planned(at=at + HOUR) == 1
    certificate.refresh_from_db()
    assert (certificate.revocation_reason, certificate.revoked_at) == ("cessationOfOperation", at)


def test_what_is_revoked_already_is_skipped(
    certificate: Certificate, planned: PlannedRevocation, at: dt.datetime
) -> None:
    Certificate.objects.filter(pk=certificate.pk).update(
        revoked_at=at, revocation_reason="keyCompromise"
    )
    assert carry_out_planned(at=at + HOUR) == 0
    certificate.refresh_from_db()
    assert certificate.revocation_reason == "keyCompromise"
    assert not PlannedRevocation.objects.exists()


def test_one_that_fails_stays_planned_and_keeps_no_other_from_its_turn(
    pki: PKI,
    people: People,
    certificate: Certificate,
    planned: PlannedRevocation,
    at: dt.datetime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    PlannedRevocation.objects.filter(pk=planned.pk).update(reason="because")
    other = make_device(people.bob, pki.issuing, at=at).certificate
    planning(other, at, 2 * HOUR)
    assert carry_out_planned(at=at + 2 * HOUR) == 1
    other.refresh_from_db()
    assert other.revoked_at == at + 2 * HOUR
    assert PlannedRevocation.objects.get().pk == planned.pk
    assert "The planned revocation of" in caplog.text


def test_planned_hold_is_put_on_once(certificate: Certificate, at: dt.datetime) -> None:
    then = at + HOUR
    plan(actor="bob", certificate=certificate, reason="certificateHold", at_time=then, at=at)
    assert carry_out_planned(at=then) == 1
    assert not PlannedRevocation.objects.exists()
    release(actor="bob", certificate=Certificate.objects.get(pk=certificate.pk), at=then)
    assert carry_out_planned(at=then) == 0
