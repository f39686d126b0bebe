from __future__ import annotations

import datetime as dt
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from django.contrib.auth.models import Permission
from django.db import connections, transaction

from pki import certification, enrolment, revocation
from pki import people as persons
from pki.errors import (
    KeyReuseError,
    LintError,
    NotAllowedError,
    PKIError,
    ProfileError,
    RequestError,
    StateError,
)
from pki.models import (
    Approval,
    AuditEntry,
    Certificate,
    CertificateProfile,
    CertificationRequest,
    Endpoint,
)
from tests.factories import make_device, make_person, make_server_certificate
from tests.locks import held_up, needs_row_locks

State = CertificationRequest.State


def make_csr(key=None, *extensions):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), SHA256())


def approvals(number, profile="person"):
    assert CertificateProfile.objects.filter(name=profile).update(approvals=number)


def submit(owner, at, csr=None, **fields):
    wanted = {"requester": owner, "profile": "person", "device": "laptop", **fields}
    return certification.submit(
        actor=owner.username, csr=csr or make_csr(), owner=owner, at=at, **wanted
    )


def approve(approver, request, at):
    return certification.approve(actor=approver.username, approver=approver, request=request, at=at)


def reject(approver, request, at, reason="Wrong device."):
    return certification.reject(
        actor=approver.username, approver=approver, request=request, reason=reason, at=at
    )


def refusals():
    return list(
        AuditEntry.objects.filter(action__endswith=".refused").values_list("action", flat=True)
    )


@pytest.fixture
def admin(people):
    return people.admin


@pytest.fixture
def chief(people):
    return make_person("chief", is_staff=True, is_superuser=True)


@pytest.fixture
def waiting(pki, alice, at):
    approvals(1)
    return submit(alice, at)


def test_request_is_issued_at_once_where_nobody_approves(pki, alice, at):
    csr = make_csr()
    request = submit(alice, at, csr)

    assert request.state == State.ISSUED
    leaf = x509.load_der_x509_certificate(bytes(request.certificate.der))
    assert leaf.public_key() == csr.public_key()
    assert leaf.subject.rfc4514_string() == "CN=alice"
    assert request.certificate.device == "laptop"
    assert request.decided_at == at


def test_request_waits_for_approval_and_is_then_issued(waiting, alice, admin, at):
    assert waiting.state == State.WAITING
    assert not Certificate.objects.filter(owner=alice).exists()

    done = approve(admin, waiting, at)

    assert done.state == State.ISSUED
    assert done.certificate.owner == alice
    assert done.certificate.issued_by == "admin"
    actions = AuditEntry.objects.values_list("action", flat=True)[:3]
    assert list(actions) == ["certificate.issued", "request.approved", "request.submitted"]


def test_what_the_csr_asks_beyond_the_profile_is_kept(waiting):
    assert any("somebody else" in sentence for sentence in waiting.differences)


def test_requester_does_not_approve(pki, admin, at):
    approvals(1)
    request = submit(admin, at)

    with pytest.raises(NotAllowedError, match="somebody else must approve"):
        approve(admin, request, at)

    request.refresh_from_db()
    assert request.state == State.WAITING
    assert not Approval.objects.exists()
    assert refusals() == ["request.approve.refused"]


def test_staff_who_asked_for_somebody_do_not_approve_either(pki, alice, admin, at):
    approvals(1)
    request = certification.submit(
        actor="admin",
        requester=admin,
        profile="person",
        csr=make_csr(),
        owner=alice,
        device="phone",
        at=at,
    )
    with pytest.raises(NotAllowedError, match="You asked for this"):
        approve(admin, request, at)


def test_whoever_made_the_link_does_not_approve_what_came_through_it(pki, alice, admin, chief, at):
    """They had the token in their hands, and could have opened the link themselves."""
    approvals(1)
    _, token = enrolment.invite(actor="admin", user=alice, device="phone", at=at)
    request = enrolment.redeem_with_csr(token=token, csr=make_csr(), at=at)

    with pytest.raises(NotAllowedError, match="You made the link"):
        approve(admin, request, at)
    assert approve(chief, request, at).state == State.ISSUED


def test_two_approvals_take_two_people(pki, alice, admin, chief, at):
    approvals(2)
    request = submit(alice, at)

    assert approve(admin, request, at).state == State.WAITING
    with pytest.raises(StateError, match="somebody else too"):
        approve(admin, request, at)
    assert not Certificate.objects.filter(owner=alice).exists()
    assert approve(chief, request, at).state == State.ISSUED


def test_approving_needs_the_right_and_reaches_no_staff(waiting, people, bob, at):
    with pytest.raises(NotAllowedError, match="may not decide"):
        approve(bob, waiting, at)
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename="issue_certificate"))
    with pytest.raises(NotAllowedError, match="may not decide"):
        approve(type(bob).objects.get(pk=bob.pk), waiting, at)

    bob.user_permissions.set(Permission.objects.filter(codename="decide_certificationrequest"))
    clerk = type(bob).objects.get(pk=bob.pk)
    of_admin = submit(people.admin, at)
    with pytest.raises(NotAllowedError, match="may not decide"):
        approve(clerk, of_admin, at)
    assert approve(clerk, waiting, at).state == State.ISSUED


def test_decided_request_is_not_decided_again(waiting, alice, admin, chief, at):
    approve(admin, waiting, at)

    for verb in (approve, reject):
        with pytest.raises(StateError, match="already issued"):
            verb(chief, waiting, at)
    with pytest.raises(StateError, match="already issued"):
        certification.withdraw(actor="alice", requester=alice, request=waiting, at=at)
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_approval_checks_everything_again(waiting, alice, admin, at):
    persons.disable_person(actor="admin", user=alice, at=at)

    with pytest.raises(ProfileError, match="disabled"):
        approve(admin, waiting, at)

    waiting.refresh_from_db()
    assert waiting.state == State.WAITING
    assert not Approval.objects.exists()
    assert refusals() == ["request.approve.refused"]


def test_what_the_linter_finds_at_approval_is_kept(waiting, admin, at, monkeypatch):
    def finds(candidate):
        raise LintError(["names: no such name"])

    monkeypatch.setattr(certification.issuance.lint, "lint", finds)
    with pytest.raises(LintError):
        approve(admin, waiting, at)

    waiting.refresh_from_db()
    assert (waiting.state, waiting.findings) == (State.WAITING, ["names: no such name"])


def test_nothing_is_issued_for_a_thief_once_the_theft_is_known(pki, alice, admin, at):
    approvals(0)
    stolen = make_device(alice, pki.issuing).certificate
    approvals(1)
    request = submit(alice, at)
    _, token = enrolment.invite(
        actor="alice", user=alice, device="phone", asked_with=stolen.pk, at=at
    )
    through_link = enrolment.redeem_with_csr(token=token, csr=make_csr(), at=at)
    revocation.revoke(actor="alice", certificate=stolen, reason="keyCompromise", at=at)

    for asked in (request, through_link):
        with pytest.raises(StateError, match="was revoked"):
            approve(admin, asked, at)


def test_rejection_has_a_reason_and_may_be_undone_by_asking_again(waiting, alice, admin, at):
    with pytest.raises(ProfileError, match="reason"):
        reject(admin, waiting, at, reason="  ")
    reject(admin, waiting, at)
    assert (waiting.state, waiting.reason) == (State.REJECTED, "Wrong device.")

    again = certification.submit_again(actor="alice", requester=alice, request=waiting, at=at)

    assert (again.state, again.reason, again.decided_at) == (State.WAITING, "", None)
    assert approve(admin, again, at).state == State.ISSUED


def test_rejected_request_collects_no_approvals(pki, alice, admin, chief, at):
    approvals(2)
    request = submit(alice, at)
    reject(admin, request, at)

    with pytest.raises(StateError, match="already rejected"):
        approve(chief, request, at)
    assert not Approval.objects.exists()


def test_asking_again_voids_what_was_approved(pki, alice, admin, chief, at):
    approvals(2)
    request = submit(alice, at)
    approve(admin, request, at)
    reject(chief, request, at)

    certification.submit_again(actor="alice", requester=alice, request=request, at=at)

    assert not Approval.objects.exists()
    assert approve(chief, request, at).state == State.WAITING


def test_only_the_requester_withdraws_and_asks_again(waiting, alice, bob, at):
    with pytest.raises(NotAllowedError, match="somebody else's"):
        certification.withdraw(actor="bob", requester=bob, request=waiting, at=at)
    certification.withdraw(actor="alice", requester=alice, request=waiting, at=at)
    assert waiting.state == State.WITHDRAWN
    with pytest.raises(NotAllowedError):
        certification.submit_again(actor="bob", requester=bob, request=waiting, at=at)


def test_one_key_is_not_certified_for_two_people(pki, alice, bob, admin, at):
    key = ec.generate_private_key(ec.SECP256R1())
    submit(alice, at, make_csr(key))
    with pytest.raises(KeyReuseError, match="somebody else"):
        submit(bob, at, make_csr(key))

    approvals(1)
    other = ec.generate_private_key(ec.SECP256R1())
    submit(alice, at, make_csr(other))
    with pytest.raises(KeyReuseError, match="somebody else"):
        submit(bob, at, make_csr(other))
    with pytest.raises(StateError, match="waiting already"):
        submit(alice, at, make_csr(other))

    assert not CertificationRequest.objects.filter(owner=bob).exists()
    assert refusals() == ["request.submit.refused"] * 3


CA = x509.BasicConstraints(ca=True, path_length=None)


@pytest.mark.parametrize(
    ("csr", "fields", "sentence"),
    [
        (lambda: make_csr(None, CA), {}, "asks to be a CA"),
        (make_csr, {"profile": "intermediate"}, "CA|people"),
        (make_csr, {"profile": "nonsense"}, "no profile 'nonsense'"),
        (make_csr, {"profile": "server", "hosts": ["a.example.org"]}, "[Pp]eople"),
        (make_csr, {"device": "lap\u202etop"}, "Name the device"),
        (lambda: make_csr(ec.generate_private_key(ec.SECP521R1())), {}, "key"),
    ],
)
def test_what_cannot_be_certified_is_refused_in_words_and_recorded(
    pki, alice, at, csr, fields, sentence
):
    approvals(1)
    with pytest.raises(RequestError, match=sentence):
        submit(alice, at, csr(), **fields)

    assert not CertificationRequest.objects.exists()
    entry = AuditEntry.objects.get(action="request.submit.refused")
    assert entry.actor == "alice"


def test_switched_off_profile_takes_no_requests(pki, alice, at):
    CertificateProfile.objects.filter(name="person").update(enabled=False)
    with pytest.raises(ProfileError, match="no profile 'person'"):
        submit(alice, at)


def test_server_is_certified_for_its_hosts(pki, admin, at):
    request = certification.submit(
        actor="admin",
        requester=admin,
        profile="server",
        csr=make_csr(),
        hosts=["files.example.org", "192.0.2.7"],
        at=at,
    )
    leaf = x509.load_der_x509_certificate(bytes(request.certificate.der))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["files.example.org"]
    assert request.owner is None


def test_person_has_twenty_waiting_requests_at_most(pki, alice, at, monkeypatch):
    approvals(1)
    monkeypatch.setattr(certification, "MOST_WAITING", 2)
    submit(alice, at)
    submit(alice, at)
    with pytest.raises(StateError, match="Withdraw one first"):
        submit(alice, at)


def race(*calls):
    outcomes, start = [], threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            outcomes.append(str(call().state))
        except PKIError:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(outcomes)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_approve_at_once_one_issues(waiting, alice, admin, chief, at):
    outcomes = race(lambda: approve(admin, waiting, at), lambda: approve(chief, waiting, at))

    assert outcomes == ["issued", "refused"]
    assert Certificate.objects.filter(owner=alice).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_last_approvals_at_once_issue_one_certificate(pki, alice, admin, chief, at):
    approvals(2)
    request = submit(alice, at)

    outcomes = race(lambda: approve(admin, request, at), lambda: approve(chief, request, at))

    assert outcomes == ["issued", "waiting"]
    assert Certificate.objects.filter(owner=alice).count() == 1


# --- What was asked for with a certificate that is revoked by now ---------------------------


@pytest.mark.parametrize("reason", ["unspecified", "superseded", "keyCompromise"])
def test_nothing_is_issued_to_whoever_asked_with_a_revoked_certificate(
    pki, alice, admin, at, reason
):
    known_by = make_device(alice, pki.issuing).certificate
    approvals(1)
    request = submit(alice, at, asked_with=known_by.pk)
    revocation.revoke(actor="alice", certificate=known_by, reason=reason, at=at)

    with pytest.raises(StateError, match="was revoked"):
        approve(admin, request, at)

    other = make_device(alice, pki.issuing, device="phone").certificate
    reject(admin, request, at)
    later = at + dt.timedelta(seconds=1)
    again = certification.submit_again(
        actor="alice", requester=alice, request=request, asked_with=other.pk, at=later
    )
    assert approve(admin, again, later).state == State.ISSUED


def test_certificate_revoked_while_somebody_approves_counts(pki, alice, admin, at, monkeypatch):
    known_by = make_device(alice, pki.issuing).certificate
    approvals(1)
    request = submit(alice, at, asked_with=known_by.pk)
    lock = certification._lock_waiting

    def locked(asked):
        revocation.revoke(actor="alice", certificate=known_by, reason="unspecified", at=at)
        return lock(asked)

    monkeypatch.setattr(certification, "_lock_waiting", locked)
    with pytest.raises(StateError, match="was revoked"):
        approve(admin, request, at)
    assert not Approval.objects.exists()


def test_certificate_revoked_while_somebody_submits_counts(pki, alice, at, monkeypatch):
    known_by = make_device(alice, pki.issuing).certificate
    record = certification._record

    def recorded(request, action, **fields):
        revocation.revoke(actor="alice", certificate=known_by, reason="unspecified", at=at)
        record(request, action, **fields)

    monkeypatch.setattr(certification, "_record", recorded)
    with pytest.raises(StateError, match="was revoked"):
        submit(alice, at, asked_with=known_by.pk)
    assert not CertificationRequest.objects.exists()


def test_certificate_revoked_while_somebody_submits_again_counts(pki, alice, at, monkeypatch):
    known_by = make_device(alice, pki.issuing).certificate
    approvals(1)
    request = submit(alice, at, asked_with=known_by.pk)
    certification.withdraw(actor="alice", requester=alice, request=request, at=at)
    approvals(0)
    record = certification._record

    def recorded(request, action, **fields):
        revocation.revoke(actor="alice", certificate=known_by, reason="unspecified", at=at)
        record(request, action, **fields)

    monkeypatch.setattr(certification, "_record", recorded)
    with pytest.raises(StateError, match="was revoked"):
        certification.submit_again(
            actor="alice", requester=alice, request=request, asked_with=known_by.pk, at=at
        )
    request.refresh_from_db()
    assert request.state == State.WITHDRAWN


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_request_that_waits_for_a_revocation_is_refused(pki, alice, at):
    known_by = make_device(alice, pki.issuing).certificate
    with transaction.atomic():
        revocation.revoke(actor="alice", certificate=known_by, reason="unspecified", at=at)
        asking = held_up(lambda: submit(alice, at, asked_with=known_by.pk))
    with pytest.raises(StateError, match="was revoked"):
        asking.result(30)
    assert not CertificationRequest.objects.exists()


# --- Whose yes counts -----------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"is_superuser": False}, {"is_active": False}])
def test_yes_counts_while_its_giver_may_still_decide(pki, alice, admin, chief, at, change):
    approvals(2)
    request = submit(alice, at)
    approve(admin, request, at)
    type(admin).objects.filter(pk=admin.pk).update(**change)

    assert approve(chief, request, at).state == State.WAITING
    assert [yes.approver for yes in certification.approvals_that_count(request)] == [chief]

    third = make_person("third", is_staff=True, is_superuser=True)
    assert approve(third, request, at).state == State.ISSUED


def test_check_returns_what_is_signed_then(waiting, admin, at):
    shown = certification.check(request=waiting, at=at)
    issued = approve(admin, waiting, at).certificate
    signed = x509.load_der_x509_certificate(bytes(issued.der))
    assert (shown.subject, shown.issuer) == (signed.subject, signed.issuer)
    assert list(shown.extensions) == list(signed.extensions)
    assert shown.not_valid_after_utc == signed.not_valid_after_utc
    assert shown.signature != signed.signature
    assert shown.serial_number != signed.serial_number


def test_check_writes_nothing(waiting, alice, at):
    persons.disable_person(actor="admin", user=alice, at=at)
    before = AuditEntry.objects.count()
    with pytest.raises(ProfileError, match="disabled"):
        certification.check(request=waiting, at=at)
    assert AuditEntry.objects.count() == before


# --- Our own hosts --------------------------------------------------------------------------


@pytest.fixture
def clerk(db):
    user = make_person("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="issue_certificate"))
    return user


def ask_for(requester, at, *hosts):
    actor = requester.username if requester else "command:root"
    return certification.submit(
        actor=actor, requester=requester, profile="server", csr=make_csr(), hosts=hosts, at=at
    )


@pytest.fixture
def our_hosts(pki, settings):
    """signet.example.org by the settings, chat.example.net by an endpoint's certificate."""
    settings.SIGNET_HOSTS = ["signet.example.org", "localhost"]
    Endpoint.objects.create(
        name="chat",
        address="192.0.2.9",
        port=8443,
        certificate=make_server_certificate(pki.issuing, hosts=("chat.example.net",)),
        serves="main",
    )


@pytest.mark.parametrize(
    "hosts",
    [
        ["signet.example.org"],
        ["files.example.org", "signet.example.org"],
        ["SIGNET.example.org"],
        ["signet.example.org."],
        ["*.example.org"],
        ["localhost"],
        ["127.0.0.1"],
        ["0:0:0:0:0:0:0:1"],
        ["chat.example.net"],
        ["192.0.2.9"],
        [],
    ],
)
def test_only_administrators_ask_for_our_own_hosts(our_hosts, clerk, at, hosts):
    with pytest.raises(NotAllowedError, match="only an administrator"):
        ask_for(clerk, at, *hosts)
    assert not CertificationRequest.objects.exists()
    assert refusals() == ["request.submit.refused"]


def test_other_hosts_are_as_the_profile_says(our_hosts, clerk, at):
    assert ask_for(clerk, at, "files.example.org", "192.0.2.10").state == State.ISSUED


def test_administrators_and_the_shell_ask_for_our_own_hosts(our_hosts, admin, at):
    for requester in (admin, None):
        assert ask_for(requester, at, "signet.example.org").state == State.ISSUED


def test_who_is_no_administrator_by_now_does_not_ask_again_for_our_own_hosts(our_hosts, admin, at):
    approvals(1, "server")
    request = ask_for(admin, at, "signet.example.org")
    certification.withdraw(actor="admin", requester=admin, request=request, at=at)
    admin.is_superuser = False
    admin.save()
    with pytest.raises(NotAllowedError, match="only an administrator"):
        certification.submit_again(actor="admin", requester=admin, request=request, at=at)
