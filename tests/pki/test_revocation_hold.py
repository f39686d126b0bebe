"""Holds: put on, taken off, made final; and certificates from elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from pki import audit, crl, crl_tbs
from pki.changes import current_version
from pki.errors import (
    AlreadyRevokedError,
    AuthorityError,
    CertificateRevokedError,
    PKIError,
    RequestError,
    StateError,
)
from pki.identity import identify
from pki.models import AuditEntry, Certificate, RevocationList
from pki.revocation import release, revoke, revoke_many
from pki.signals import certificate_released, certificate_revoked
from tests.factories import PKI, Device, People, make_device, make_people, make_pki

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def device(pki: PKI, people: People, at: dt.datetime) -> Device:
    return make_device(people.alice, pki.issuing, at=at)


@pytest.fixture
def held(device: Device, at: dt.datetime) -> Device:
    revoke(actor="admin", certificate=device.certificate, reason="certificateHold", at=at)
    return device


def listed(pki: PKI) -> dict[int, tuple[str, dt.datetime]]:
    row = crl.latest(pki.issuing, with_der=True)
    assert row is not None
    entries = crl_tbs.read(bytes(row.der)).values()
    return {entry.serial: (entry.reason, entry.at) for entry in entries}


def test_hold_keeps_out_and_release_lets_in(
    pki: PKI, device: Device, at: dt.datetime, django_capture_on_commit_callbacks
) -> None:
    heard: list[str] = []

    def hear_revoked(**news: Any) -> None:
        heard.append(f"{news['reason']} {news['certificate_id'] == device.certificate.pk}")

    def hear_released(**news: Any) -> None:
        heard.append(f"released {news['sha256'] == device.certificate.sha256}")

    certificate_revoked.connect(hear_revoked)
    certificate_released.connect(hear_released)
    version = current_version()
    assert identify(chain=device.chain, at=at)
    with django_capture_on_commit_callbacks(execute=True):
        revoke(actor="admin", certificate=device.certificate, reason="certificateHold", at=at)
    assert listed(pki) == {device.x509.serial_number: ("certificateHold", at)}
    with pytest.raises(CertificateRevokedError):
        identify(chain=device.chain, at=at)
    with django_capture_on_commit_callbacks(execute=True):
        release(actor="admin", certificate=device.certificate, at=at + HOUR)
    certificate_revoked.disconnect(hear_revoked)
    certificate_released.disconnect(hear_released)

    assert heard == ["certificateHold True", "released True"]
    assert identify(chain=device.chain, at=at + HOUR)
    assert listed(pki) == {}
    assert (device.certificate.revoked_at, device.certificate.revocation_reason) == (None, "")
    assert current_version() == version + 2
    assert AuditEntry.objects.filter(action="certificate.released", actor="admin").count() == 1
    audit.verify()


def test_only_a_hold_is_released(pki: PKI, device: Device, at: dt.datetime) -> None:
    with pytest.raises(StateError, match="is not on hold"):
        release(actor="admin", certificate=device.certificate, at=at)
    revoke(actor="admin", certificate=device.certificate, reason="superseded", at=at)
    with pytest.raises(StateError, match="is revoked for good"):
        release(actor="admin", certificate=device.certificate, at=at)
    device.certificate.refresh_from_db()
    assert device.certificate.revoked_at == at
    assert len(listed(pki)) == 1


def test_final_reason_keeps_the_date_of_the_hold(pki: PKI, held: Device, at: dt.datetime) -> None:
    revoke(actor="bob", certificate=held.certificate, reason="keyCompromise", at=at + HOUR)
    assert listed(pki) == {held.x509.serial_number: ("keyCompromise", at)}
    entry = AuditEntry.objects.filter(action="certificate.revoked")[0]
    assert (entry.actor, entry.detail["was_on_hold"]) == ("bob", True)
    with pytest.raises(StateError):
        release(actor="admin", certificate=held.certificate, at=at + HOUR)


def test_hold_twice_or_after_the_end(held: Device, at: dt.datetime) -> None:
    for _ in range(2):
        with pytest.raises(AlreadyRevokedError):
            revoke(actor="a", certificate=held.certificate, reason="certificateHold", at=at)
        revoke(
            actor="a", certificate=held.certificate, reason="superseded", at=at
        ) if held.certificate.revocation_reason == "certificateHold" else None
    assert held.certificate.revocation_reason == "superseded"


def test_hold_that_was_released_meanwhile(pki: PKI, held: Device, at: dt.datetime) -> None:
    stale = Certificate.objects.get(pk=held.certificate.pk)
    release(actor="alice", certificate=held.certificate, at=at)
    with pytest.raises(StateError, match="released meanwhile"):
        revoke(actor="bob", certificate=stale, reason="superseded", at=at)
    assert listed(pki) == {}


def test_hold_that_was_put_on_meanwhile(pki: PKI, held: Device, at: dt.datetime) -> None:
    stale = Certificate.objects.get(pk=held.certificate.pk)
    stale.revoked_at, stale.revocation_reason = None, ""
    revoke(actor="bob", certificate=stale, reason="superseded", at=at + HOUR)
    assert listed(pki) == {held.x509.serial_number: ("superseded", at)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_two_admins_take_different_steps_at_once(at: dt.datetime, round_: int) -> None:
    """One makes the hold final, one ends it: one of them is told that it came too late."""
    pki, people = make_pki(at=at), make_people()
    certificate = make_device(people.alice, pki.issuing, at=at).certificate
    revoke(actor="admin", certificate=certificate, reason="certificateHold", at=at)
    start, outcomes = Barrier(2), {}

    def attempt(name: str, step: Callable[[Certificate], object]) -> None:
        own = Certificate.objects.get(pk=certificate.pk)
        start.wait(timeout=10)
        try:
            step(own)
            outcomes[name] = None
        except PKIError as error:
            outcomes[name] = error
        finally:
            connection.close()

    steps: dict[str, Callable[[Certificate], object]] = {
        "revoke": lambda own: revoke(actor="a", certificate=own, reason="superseded", at=at),
        "release": lambda own: release(actor="b", certificate=own, at=at),
    }
    threads = [Thread(target=attempt, args=item) for item in steps.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    certificate.refresh_from_db()
    [winner] = [name for name, error in outcomes.items() if error is None]
    [loser] = [error for error in outcomes.values() if error is not None]
    assert isinstance(loser, StateError)
    assert certificate.revocation_reason == {"revoke": "superseded", "release": ""}[winner]
    assert len(listed(pki)) == (1 if winner == "revoke" else 0)
    audit.verify()


# --- From elsewhere -------------------------------------------------------------------------


@pytest.fixture
def outside(pki: PKI, device: Device) -> Device:
    """As adopted: its CA has a row here and its key there."""
    Certificate.objects.filter(pk=pki.issuing.certificate_id).update(key=None, is_outside=True)
    Certificate.objects.filter(pk=device.certificate.pk).update(is_outside=True)
    device.certificate.refresh_from_db()
    return device


def test_outside_certificate_is_blocked_without_a_crl_of_ours(
    outside: Device, at: dt.datetime
) -> None:
    crls, version = RevocationList.objects.count(), current_version()
    mine = outside.certificate
    revoke(actor="admin", certificate=outside.certificate, reason="certificateHold", at=at)
    assert mine.status_at(at) is Certificate.Status.REVOKED
    assert current_version() == version + 1
    assert AuditEntry.objects.all()[0].action == "certificate.revoked"
    release(actor="admin", certificate=outside.certificate, at=at)
    assert mine.status_at(at) is Certificate.Status.VALID
    done = revoke_many(
        actor="admin", certificates=[outside.certificate.pk], reason="superseded", at=at
    )
    assert (done.revoked, done.left) == (1, 0)
    assert RevocationList.objects.count() == crls


def test_outside_certificate_whose_ca_has_no_row(outside: Device, at: dt.datetime) -> None:
    Certificate.objects.filter(pk=outside.certificate.pk).update(authority=None)
    lone = Certificate.objects.get(pk=outside.certificate.pk)
    revoke(actor="admin", certificate=lone, reason="superseded", at=at)
    assert lone.revoked_at == at


def test_outside_root_signed_itself(pki: PKI, at: dt.datetime) -> None:
    Certificate.objects.filter(pk=pki.root.certificate_id).update(is_outside=True)
    root = Certificate.objects.get(pk=pki.root.certificate_id)
    with pytest.raises(AuthorityError, match="signed itself"):
        revoke(actor="admin", certificate=root, reason="superseded", at=at)
    with pytest.raises(RequestError):
        release(actor="admin", certificate=root, at=at)
