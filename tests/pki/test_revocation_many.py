"""Many certificates at once: in batches, listed at any moment, and to be gone on with."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pki import audit, crl, crl_tbs, revocation
from pki.errors import RequestError, StoppedError
from pki.models import AuditEntry, Certificate
from pki.revocation import revoke, revoke_many
from pki.signals import certificate_revoked
from tests.factories import PKI, People, make_device


@pytest.fixture
def keys(pki: PKI, people: People, at: dt.datetime, monkeypatch) -> list[int]:
    monkeypatch.setattr(revocation, "BATCH", 2)
    devices = [make_device(people.alice, pki.issuing, device=f"d{n}", at=at) for n in range(5)]
    return [device.certificate.pk for device in devices]


def listed(pki: PKI) -> set[str]:
    row = crl.latest(pki.issuing, with_der=True)
    assert row is not None
    return {f"{serial:x}" for serial in crl_tbs.read(bytes(row.der))}


def revoked(keys: list[int]) -> set[str]:
    rows = Certificate.objects.revoked().filter(pk__in=keys)
    return set(rows.values_list("serial", flat=True))


def test_all_are_revoked_recorded_and_announced(
    pki: PKI, keys: list[int], at: dt.datetime, django_capture_on_commit_callbacks
) -> None:
    heard: list[int] = []

    def hear(**news: Any) -> None:
        heard.append(news["certificate_id"])

    seen: list[tuple[int, int]] = []
    certificate_revoked.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        done = revoke_many(
            actor="admin",
            certificates=[*keys, keys[0]],
            reason="superseded",
            at=at,
            progress=lambda *numbers: seen.append(numbers),
        )
    certificate_revoked.disconnect(hear)
    assert (done.revoked, done.left) == (5, 0)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert sorted(heard) == sorted(keys)
    assert listed(pki) == revoked(keys)
    assert len(revoked(keys)) == 5
    entries = AuditEntry.objects.filter(action="certificate.revoked", actor="admin")
    assert {e.detail["reason"] for e in entries} == {"superseded"}
    assert len(entries) == 5
    newest = crl.latest(pki.issuing)
    assert newest is not None
    assert newest.number == 4, "one CRL a batch"
    audit.verify()


def test_stopped_leaves_nothing_unlisted_and_is_gone_on_with(
    pki: PKI, keys: list[int], at: dt.datetime
) -> None:
    def stop(done: int, total: int) -> None:
        raise StoppedError(done, total)

    with pytest.raises(StoppedError, match="2 of 5"):
        revoke_many(actor="a", certificates=keys, reason="superseded", at=at, progress=stop)
    assert len(revoked(keys)) == 2
    assert listed(pki) == revoked(keys)
    done = revoke_many(actor="a", certificates=keys, reason="superseded", at=at)
    assert (done.revoked, done.left) == (3, 2)
    assert len(listed(pki)) == 5


def test_what_cannot_be_revoked_is_left(pki: PKI, keys: list[int], at: dt.datetime) -> None:
    then = at - dt.timedelta(hours=1)
    for key, reason in zip(keys, ["keyCompromise", "certificateHold"], strict=False):
        chosen = Certificate.objects.get(pk=key)
        revoke(actor="a", certificate=chosen, reason=reason, at=then)
    root = pki.root.certificate_id
    done = revoke_many(actor="a", certificates=[root, 999_999, *keys], reason="superseded", at=at)
    assert (done.revoked, done.left) == (4, 3)
    first, second, third = (Certificate.objects.get(pk=key) for key in keys[:3])
    assert (first.revocation_reason, first.revoked_at) == ("keyCompromise", then)
    assert (second.revocation_reason, second.revoked_at) == ("superseded", then)
    assert (third.revocation_reason, third.revoked_at) == ("superseded", at)
    assert Certificate.objects.get(pk=root).revoked_at is None


def test_hold_changes_no_hold(pki: PKI, keys: list[int], at: dt.datetime) -> None:
    revoke_many(actor="a", certificates=keys[:2], reason="certificateHold", at=at)
    later = at + dt.timedelta(hours=1)
    done = revoke_many(actor="a", certificates=keys, reason="certificateHold", at=later)
    assert (done.revoked, done.left) == (3, 2)
    assert Certificate.objects.get(pk=keys[0]).revoked_at == at


def test_cas_come_last(pki: PKI, keys: list[int], at: dt.datetime) -> None:
    issuing = pki.issuing.certificate_id
    revoke_many(actor="a", certificates=[issuing, *keys], reason="superseded", at=at)
    last = AuditEntry.objects.filter(action="certificate.revoked")[0]
    assert last.target == f"certificate {pki.issuing.certificate.serial}"
    assert len(listed(pki)) == 5


def test_no_reason(keys: list[int], at: dt.datetime) -> None:
    with pytest.raises(RequestError, match="keyCompromise"):
        revoke_many(actor="a", certificates=keys, reason="because", at=at)
    assert revoked(keys) == set()
