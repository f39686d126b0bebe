from __future__ import annotations

import datetime as dt
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs12
from django.contrib.auth.models import Permission
from django.db import connection, connections, transaction

from pki import certification, enrolment, handout, people, revocation
from pki import people as persons
from pki.errors import (
    InvitationError,
    KeyReuseError,
    NotAllowedError,
    ProfileError,
    RequestError,
    StateError,
)
from pki.handout import Format
from pki.models import AuditEntry, Certificate, CertificateProfile, Invitation, PrivateKey
from tests.factories import make_device, make_person
from tests.locks import held_up, needs_row_locks

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


# --- With a CSR -----------------------------------------------------------------------------


def make_csr(key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())


def redeem_with_csr(token, csr, at, **fields):
    return enrolment.redeem_with_csr(token=token, csr=csr, at=at, **fields)


@pytest.fixture
def approval(pki):
    CertificateProfile.objects.filter(name="person").update(approvals=1)


def test_csr_uses_the_link_up_and_is_certified(pki, alice, at):
    token, csr = invite(alice, at), make_csr()
    asked = redeem_with_csr(token, csr, at)

    assert asked.certificate.owner == alice
    assert asked.certificate.spki_sha256 == certification.spki_of(csr)
    invitation = Invitation.objects.get()
    assert (invitation.redeemed_at, invitation.certificate) == (at, asked.certificate)
    with pytest.raises(InvitationError, match="has been used"):
        redeem(token, at)


def test_same_csr_again_is_the_same_answer_and_another_is_refused(pki, alice, at):
    token, key = invite(alice, at), ec.generate_private_key(ec.SECP256R1())
    first = redeem_with_csr(token, make_csr(key), at)

    assert redeem_with_csr(token, make_csr(key), at) == first
    with pytest.raises(InvitationError, match="has been used"):
        redeem_with_csr(token, make_csr(), at)
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_answer_may_be_fetched_again_for_a_day(pki, alice, at):
    token, csr = invite(alice, at), make_csr()
    asked = redeem_with_csr(token, csr, at)
    late = at + dt.timedelta(hours=23)

    assert enrolment.request_behind(token=token, at=late) == asked
    for fetch in (
        lambda: enrolment.request_behind(token=token, at=at + dt.timedelta(hours=24)),
        lambda: redeem_with_csr(token, csr, at + dt.timedelta(hours=24)),
    ):
        with pytest.raises(InvitationError, match="has been used"):
            fetch()


def test_waiting_request_may_be_asked_after_however_long(approval, alice, at):
    token = invite(alice, at)
    asked = redeem_with_csr(token, make_csr(), at)

    found = enrolment.request_behind(token=token, at=at + dt.timedelta(days=30))

    assert (found, found.state, found.certificate) == (asked, "waiting", None)


def test_no_key_is_made_here_where_certificates_need_approval(approval, alice, at):
    token = invite(alice, at)
    with pytest.raises(ProfileError, match="Request it: request_certificate"):
        redeem(token, at)
    with pytest.raises(ProfileError, match="must approve"):
        enrolment.hand_out(
            actor="admin", user=alice, device="x", format=Format.PEM, password=None, at=at
        )

    assert not Certificate.objects.filter(owner=alice).exists()
    assert enrolment.find(token=token, at=at).user == alice


def test_refused_csr_leaves_the_link_unused(pki, alice, bob, at):
    key = ec.generate_private_key(ec.SECP256R1())
    redeem_with_csr(invite(bob, at), make_csr(key), at)
    token = invite(alice, at)

    with pytest.raises(KeyReuseError):
        redeem_with_csr(token, make_csr(key), at)

    assert enrolment.find(token=token, at=at).user == alice
    refused = AuditEntry.objects.filter(action__endswith=".refused").get()
    assert refused.actor == "alice"


def test_admin_chooses_the_console_password_with_the_csr(pki, at):
    admin = people.create_person(actor="test", username="chief", admin=True, at=at)
    token = invite(admin, at)
    with pytest.raises(RequestError, match="password"):
        redeem_with_csr(token, make_csr(), at)

    redeem_with_csr(token, make_csr(), at, console_password="correct horse battery staple")

    admin.refresh_from_db()
    assert admin.check_password("correct horse battery staple")


@pytest.mark.django_db(transaction=True)
def test_page_that_sends_its_csr_twice_at_once_gets_one_certificate(pki, alice, at):
    token, csr = invite(alice, at), make_csr()
    outcomes, start = [], threading.Barrier(2)

    def race() -> None:
        start.wait()
        try:
            outcomes.append(redeem_with_csr(token, csr, at).pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(outcomes) == 2
    assert len(set(outcomes)) == 1
    assert Certificate.objects.filter(owner=alice).count() == 1


# --- Links ----------------------------------------------------------------------------------


def test_withdrawn_link_works_no_more(pki, alice, at):
    token = invite(alice, at)
    enrolment.withdraw_link(actor="admin", invitation=Invitation.objects.get(), at=at)

    with pytest.raises(InvitationError):
        redeem(token, at)
    entry = AuditEntry.objects.filter(action="invitation.withdrawn").get()
    assert (entry.actor, entry.target) == ("admin", "alice")
    with pytest.raises(StateError, match="used, or has ended"):
        enrolment.withdraw_link(actor="admin", invitation=Invitation.objects.get(), at=at)


def test_used_link_cannot_be_withdrawn(pki, alice, at):
    redeem(invite(alice, at), at)
    with pytest.raises(StateError):
        enrolment.withdraw_link(actor="admin", invitation=Invitation.objects.get(), at=at)


def once(user, at, key, *, device="laptop", actor="admin"):
    return enrolment.invite(actor=actor, user=user, device=device, once=key, at=at)


def test_form_sent_twice_makes_one_link(pki, alice, bob, at):
    first, token = once(alice, at, "form")

    assert once(alice, at, "form") == (first, token)
    assert AuditEntry.objects.filter(action="invitation.created").count() == 1
    others = [
        once(alice, at, "other form")[1],
        once(alice, at, "form", device="phone")[1],
        once(alice, at, "form", actor="alice")[1],
        once(bob, at, "form")[1],
    ]
    assert len({token, *others}) == 5


def test_form_sent_again_after_its_link_was_used_makes_none(pki, alice, at):
    _, token = once(alice, at, "form")
    redeem(token, at)

    with pytest.raises(StateError, match="has been used since"):
        once(alice, at, "form")
    assert Invitation.objects.count() == 1


def test_form_sent_twice_at_once_makes_one_link(pki, alice, at, monkeypatch):
    """Neither has found the other's when both write: the database says who was second."""
    first, token = once(alice, at, "form")
    look, answers = enrolment._made_with, [None]
    monkeypatch.setattr(
        enrolment,
        "_made_with",
        lambda token, at: answers.pop() if answers else look(token, at=at),
    )

    assert once(alice, at, "form") == (first, token)
    assert AuditEntry.objects.filter(action="invitation.created").count() == 1


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_form_sent_again_before_its_link_is_written_waits_for_it(pki, alice, at):
    with transaction.atomic():
        first = once(alice, at, "form")
        again = held_up(lambda: once(alice, at, "form"))
    assert again.result(30) == first


# --- Links of people who open the console ---------------------------------------------------


SECRET = "correct horse battery staple"


@pytest.fixture
def lesser(db):
    """May issue for ordinary people, and for nobody of the console."""
    user = make_person("lesser", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="issue_certificate"))
    return user


def link_by(maker, user, at, **fields):
    return enrolment.invite(actor=maker, user=user, device="phone", at=at, **fields)[1]


def give_console(user, *, everything=False):
    """Past the verb, which would end the link itself."""
    user.is_staff, user.is_superuser = True, everything
    user.save()


WAYS = {
    "file": lambda token, at: redeem(token, at, console_password=SECRET),
    "csr": lambda token, at: redeem_with_csr(token, make_csr(), at, console_password=SECRET),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("everything", [False, True], ids=["console", "administrator"])
def test_link_made_by_lesser_staff_ends_with_the_console(pki, lesser, bob, at, way, everything):
    token = link_by("lesser", bob, at)
    give_console(bob, everything=everything)

    with pytest.raises(InvitationError, match="may make none for you now"):
        WAYS[way](token, at)

    bob.refresh_from_db()
    assert not bob.has_usable_password()
    assert not Certificate.objects.filter(owner=bob).exists()


@pytest.mark.parametrize("way", WAYS)
def test_console_given_while_the_link_is_redeemed_refuses_it(
    pki, lesser, bob, at, way, monkeypatch
):
    token = link_by("lesser", bob, at)
    found = enrolment.find

    def find(**arguments):
        invitation = found(**arguments)
        people.change_person(
            actor="admin",
            user=bob,
            changes={"is_staff": True},
            at=at + dt.timedelta(seconds=1),
        )
        return invitation

    monkeypatch.setattr(enrolment, "find", find)
    with pytest.raises(InvitationError):
        WAYS[way](token, at)
    assert not Certificate.objects.filter(owner=bob).exists()
    assert Invitation.objects.get().redeemed_at is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("maker", ["admin", "bob", "bootstrap", "command:root"])
def test_link_for_the_console_by_who_may_make_it_works(pki, people, at, way, maker):
    token = link_by(maker, people.bob, at)
    give_console(people.bob)

    WAYS[way](token, at)

    people.bob.refresh_from_db()
    assert people.bob.check_password(SECRET)
    assert Certificate.objects.filter(owner=people.bob).exists()


def test_link_for_the_console_ends_with_its_makers_rights(pki, people, at):
    token = link_by("admin", people.bob, at)
    give_console(people.bob)
    enrolment.find(token=token, at=at)
    type(people.admin).objects.filter(pk=people.admin.pk).update(is_superuser=False)

    with pytest.raises(InvitationError, match="may make none"):
        enrolment.find(token=token, at=at)


def test_link_of_lesser_staff_works_for_an_ordinary_person(pki, lesser, alice, at):
    assert redeem(link_by("lesser", alice, at), at).certificate.owner == alice


# --- The console password of a request that waits -------------------------------------------


@pytest.fixture
def chief_waits(approval, people, at):
    """Bob of the console has chosen a password, and his request waits."""
    give_console(people.bob)
    token = link_by("bob", people.bob, at)
    return redeem_with_csr(token, make_csr(), at, console_password=SECRET)


def password_opens(user):
    user.refresh_from_db()
    return user.check_password(SECRET)


def test_password_opens_nothing_before_the_request_is_issued(chief_waits, people, at):
    assert not password_opens(people.bob)
    assert enrolment.needs_console_password(people.bob)

    certification.approve(actor="admin", approver=people.admin, request=chief_waits, at=at)

    assert password_opens(people.bob)
    assert AuditEntry.objects.filter(action="person.password_set").count() == 1


@pytest.mark.parametrize("end", ["reject", "withdraw"])
def test_password_goes_with_the_request(chief_waits, people, at, end):
    if end == "reject":
        certification.reject(
            actor="admin", approver=people.admin, request=chief_waits, reason="Not he.", at=at
        )
    else:
        certification.withdraw(actor="bob", requester=people.bob, request=chief_waits, at=at)

    people.bob.refresh_from_db()
    assert not password_opens(people.bob)
    assert not people.bob.password.startswith(f"!{chief_waits.invitation_id}:")
    assert AuditEntry.objects.filter(action="person.password_dropped", target="bob").exists()
    certification.submit_again(actor="bob", requester=people.bob, request=chief_waits, at=at)
    certification.approve(actor="admin", approver=people.admin, request=chief_waits, at=at)
    assert not password_opens(people.bob)


def test_request_through_a_link_of_lesser_staff_is_not_issued_to_the_console(
    approval, lesser, people, at
):
    asked = redeem_with_csr(link_by("lesser", people.bob, at), make_csr(), at)
    give_console(people.bob)

    with pytest.raises(StateError, match="Whoever made the link"):
        certification.approve(actor="admin", approver=people.admin, request=asked, at=at)
    assert not Certificate.objects.filter(owner=people.bob).exists()


# --- Asked for with a certificate that is revoked by now ------------------------------------


@pytest.fixture
def stolen(pki, bob):
    return make_device(bob, pki.issuing).certificate


def invite_with(certificate, user, at):
    return enrolment.invite(
        actor=user.username, user=user, device="phone", asked_with=certificate.pk, at=at
    )[1]


def revoke(certificate, at):
    revocation.revoke(actor="admin", certificate=certificate, reason="keyCompromise", at=at)


def reopen_links(at):
    """As a link stands that was written while its certificate was being revoked."""
    assert Invitation.objects.update(expires_at=at + enrolment.LINK_LIFETIME)


def test_no_link_is_made_with_a_revoked_certificate(stolen, bob, at):
    assert invite_with(stolen, bob, at)
    revoke(stolen, at)

    with pytest.raises(NotAllowedError, match="has been revoked"):
        invite_with(stolen, bob, at)
    assert Invitation.objects.count() == 1


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_no_link_outlives_the_revocation_it_is_made_during(stolen, bob, at):
    with transaction.atomic():
        revoke(stolen, at)
        inviting = held_up(lambda: invite_with(stolen, bob, at))
    with pytest.raises(NotAllowedError, match="has been revoked"):
        inviting.result(30)
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("way", WAYS)
def test_open_link_of_a_revoked_certificate_gives_nothing(stolen, bob, at, way):
    token = invite_with(stolen, bob, at)
    assert enrolment.find(token=token, at=at)
    revoke(stolen, at)
    reopen_links(at)

    with pytest.raises(InvitationError, match="asked for with a certificate that was revoked"):
        WAYS[way](token, at)
    assert not Certificate.objects.active(at).filter(owner=bob).exists()


@pytest.mark.parametrize("way", WAYS)
def test_certificate_revoked_while_its_link_is_redeemed_counts(stolen, bob, at, way, monkeypatch):
    token = invite_with(stolen, bob, at)
    use_up = enrolment._use_up

    def revoked_since(invitation, *, at):
        revoke(stolen, at)
        reopen_links(at)
        use_up(invitation, at=at)

    monkeypatch.setattr(enrolment, "_use_up", revoked_since)
    with pytest.raises(InvitationError, match="asked for with a certificate that was revoked"):
        WAYS[way](token, at)
    assert not Certificate.objects.active(at).filter(owner=bob).exclude(pk=stolen.pk).exists()


# --- What is locked first -------------------------------------------------------------------


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", WAYS)
def test_person_is_locked_before_their_link(pki, people, at, way):
    """As whoever gives somebody the console does, which ends their links."""
    give_console(people.bob)
    token = link_by("admin", people.bob, at)
    with transaction.atomic():
        persons.lock_person(people.bob)
        redeeming = held_up(lambda: WAYS[way](token, at))
        persons.change_person(actor="admin", user=people.bob, changes={"is_superuser": True}, at=at)
    with pytest.raises(InvitationError, match=r"has been used|is too old"):
        redeeming.result(30)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_owner_of_an_approved_request_is_locked_before_the_audit_trail(chief_waits, people, at):
    with transaction.atomic():
        persons.lock_person(people.bob)
        approving = held_up(
            lambda: certification.approve(
                actor="admin", approver=people.admin, request=chief_waits, at=at
            )
        )
        persons.change_person(actor="admin", user=people.bob, changes={"name": "Robert"}, at=at)
    assert approving.result(30).state == "issued"
    assert password_opens(people.bob)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_certificate_of_whoever_invites_is_locked_before_the_audit_trail(stolen, bob, at):
    """As whoever revokes it does, who ends its links."""
    with transaction.atomic():
        list(Certificate.objects.select_for_update(no_key=True).filter(pk=stolen.pk))
        inviting = held_up(lambda: invite_with(stolen, bob, at))
        revoke(stolen, at)
    with pytest.raises(NotAllowedError, match="has been revoked"):
        inviting.result(30)
