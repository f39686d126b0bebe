"""Questions about many certificates."""

from __future__ import annotations

import datetime as dt

import pytest

from pki.models import Certificate, Invitation
from pki.querysets import moment, rows_of
from pki.revocation import revoke
from tests.factories import PKI, Device, People, make_device

DAY = dt.timedelta(days=1)


@pytest.fixture
def devices(pki: PKI, people: People, at: dt.datetime) -> dict[str, Device]:
    """Alice's laptop is fine, her phone is revoked, Bob's certificate ends in a month."""
    laptop = make_device(people.alice, pki.issuing, device="laptop", at=at)
    phone = make_device(people.alice, pki.issuing, device="phone", at=at)
    bob = make_device(people.bob, pki.issuing, at=at)
    revoke(actor="alice", certificate=phone.certificate, reason="superseded", at=at)
    Certificate.objects.filter(pk=bob.certificate.pk).update(not_after=at + 30 * DAY)
    return {"laptop": laptop, "phone": phone, "bob": bob}


def test_states(devices: dict[str, Device], at: dt.datetime) -> None:
    people = Certificate.objects.of_people()
    rows = {name: device.certificate for name, device in devices.items()}
    assert set(people) == set(rows.values())
    assert set(people.active(at)) == {rows["laptop"], rows["bob"]}
    assert set(people.active(at + 31 * DAY)) == {rows["laptop"]}
    assert set(people.revoked()) == {rows["phone"]}
    assert set(people.expired(at + 31 * DAY)) == {rows["bob"]}
    assert set(people.expiring_before(at + 60 * DAY, at=at)) == {rows["bob"]}


def test_numbers_are_found_however_they_are_typed(devices: dict[str, Device]) -> None:
    laptop = devices["laptop"].certificate
    typed = f"0{laptop.serial.upper()}"
    assert Certificate.objects.with_serial(typed).get() == laptop
    assert Certificate.objects.with_sha256(laptop.fingerprint).get() == laptop


def test_search(devices: dict[str, Device]) -> None:
    laptop = devices["laptop"].certificate
    search = Certificate.objects.search
    assert list(search(laptop.serial)) == [laptop]
    assert list(search(laptop.serial.upper())) == [laptop]
    assert list(search(laptop.fingerprint)) == [laptop]
    assert set(search("ALICE")) == {laptop, devices["phone"].certificate}
    assert list(search("mallory")) == []


def test_open_invitations(people: People, at: dt.datetime) -> None:
    def invite(token: str, **fields: object) -> Invitation:
        given = {"user": people.alice, "device": "phone", "expires_at": at + DAY} | fields
        return Invitation.objects.create(token_sha256=token, created_by="admin", **given)

    fresh = invite("a")
    invite("b", expires_at=at)
    invite("c", redeemed_at=at)
    assert list(Invitation.objects.open(at)) == [fresh]


def test_a_written_out_query_finds_the_times_that_the_rows_have(
    devices: dict[str, Device], at: dt.datetime
) -> None:
    certificates = Certificate.objects.order_by("pk")
    found = rows_of("SELECT not_before, revoked_at FROM pki_certificate ORDER BY id")
    assert [(moment(begins), moment(revoked)) for begins, revoked in found] == list(
        certificates.values_list("not_before", "revoked_at")
    )
    assert [revoked for _, revoked in found if revoked]
