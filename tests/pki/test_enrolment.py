from __future__ import annotations

import datetime as dt
import threading

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12
from django.db import connection, connections

from pki import enrolment, handout, people
from pki.errors import InvitationError, ProfileError, RequestError
from pki.handout import Format
from pki.models import AuditEntry, Certificate, Invitation, PrivateKey

PASSWORD = "swan-plum-kite-mole"


def redeem(token, at, **fields):
    wanted = {"format": Format.P12, "file_password": PASSWORD, **fields}
    return enrolment.redeem(token=token, at=at, **wanted)


def invite(user, at):
    return enrolment.invite(actor="admin", user=user, device="laptop", at=at)[1]


def test_link_becomes_a_certificate_whose_key_is_in_the_file_alone(pki, alice, at):
    kept = PrivateKey.objects.count()
    enrolled = redeem(invite(alice, at), at)

    key, certificate, _ = pkcs12.load_key_and_certificates(
        enrolled.handout.content, PASSWORD.encode()
    )
    assert key.public_key() == certificate.public_key()
    assert enrolled.certificate.owner == alice
    assert enrolled.certificate.device == "laptop"
    assert PrivateKey.objects.count() == kept


def test_token_is_kept_nowhere(pki, alice, at):
    token = invite(alice, at)
    redeem(token, at)

    for row in [*Invitation.objects.values(), *AuditEntry.objects.values()]:
        assert token not in str(row)


def test_link_works_once(pki, alice, at):
    token = invite(alice, at)
    redeem(token, at)

    with pytest.raises(InvitationError, match="has been used"):
        redeem(token, at)
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_link_ends_after_a_day(pki, alice, at):
    token = invite(alice, at)
    assert enrolment.find(token=token, at=at + dt.timedelta(hours=23)).user == alice

    with pytest.raises(InvitationError, match="too old"):
        redeem(token, at + dt.timedelta(hours=24))


def test_unknown_link_is_refused(pki, at):
    with pytest.raises(InvitationError, match="not known"):
        redeem("guessed", at)


def test_link_of_a_disabled_account_is_refused(pki, alice, at):
    token = invite(alice, at)
    people.disable_person(actor="admin", user=alice, at=at)

    with pytest.raises(InvitationError):
        redeem(token, at)
    with pytest.raises(RequestError, match="disabled"):
        invite(alice, at)


def test_refused_password_leaves_the_link_unused(pki, alice, at):
    token = invite(alice, at)
    with pytest.raises(RequestError, match="at least 12"):
        redeem(token, at, file_password="short")

    assert not Certificate.objects.filter(owner=alice).exists()
    assert redeem(token, at).certificate.owner == alice


def test_admin_without_a_password_must_choose_a_good_one(pki, at):
    admin = people.create_person(actor="test", username="root-admin", admin=True, at=at)
    token = invite(admin, at)
    for bad in (None, "", "12345678901", "password"):
        with pytest.raises(RequestError, match="password"):
            redeem(token, at, console_password=bad)

    redeem(token, at, console_password="correct horse battery staple")
    admin.refresh_from_db()
    assert admin.check_password("correct horse battery staple")


def test_link_does_not_change_a_console_password_that_is_set(pki, people, at):
    before = people.admin.password
    redeem(invite(people.admin, at), at, console_password="another one entirely")

    people.admin.refresh_from_db()
    assert people.admin.password == before


@pytest.mark.parametrize("device", ["", "   ", "x" * 65, "lap\x00top", "lap\u202etop"])
def test_bad_device_name_is_refused(pki, alice, at, device):
    with pytest.raises((RequestError, ProfileError)):
        enrolment.invite(actor="admin", user=alice, device=device, at=at)
    assert not Invitation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_redeem_at_once_one_gets_a_certificate(pki, alice, at):
    token = invite(alice, at)
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def race() -> None:
        start.wait()
        try:
            redeem(token, at)
            outcomes.append("certificate")
        except InvitationError:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(outcomes) == ["certificate", "refused"], connection.vendor
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_slow_work_is_done_before_the_transaction(pki, at, monkeypatch):
    """SQLite has one write lock: hashing a password under it would hold up every message."""
    inside = connection.savepoint_ids.copy()
    seen = {}

    def noted(name, function):
        def call(*args, **kwargs):
            seen[name] = connection.savepoint_ids == inside
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(people, "make_password", noted("hash", people.make_password))
    monkeypatch.setattr(handout, "make_key", noted("key", handout.make_key))
    admin = people.create_person(actor="test", username="chief", admin=True, at=at)
    redeem(invite(admin, at), at, console_password="correct horse battery staple")

    assert seen == {"hash": True, "key": True}
    assert AuditEntry.objects.filter(action="person.password_set", actor="chief").count() == 1
