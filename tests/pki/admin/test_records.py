from __future__ import annotations

import datetime as dt

from cryptography import x509

from pki import enrolment, revocation
from pki.models import AuditEntry, RevocationList
from tests.factories import make_device
from tests.pki.admin.conftest import said, text_of

CRLS = "/console/pki/revocationlist/"
INVITATIONS = "/console/pki/invitation/"
AUDIT = "/console/pki/auditentry/"


def test_crls_are_listed_and_show_what_they_revoke(console, pki, people, at):
    mine = make_device(people.bob, pki.issuing).certificate
    revocation.revoke(actor="tests", certificate=mine, reason="superseded", at=at)
    newest = RevocationList.objects.get(authority=pki.issuing, number=2)

    assert "replaced" in text_of(console.get(CRLS))
    assert mine.serial in text_of(console.get(f"{CRLS}{newest.pk}/change/"))
    der = console.get(f"{CRLS}{newest.pk}/der/")
    assert x509.load_der_x509_crl(der.content).get_revoked_certificate_by_serial_number(
        int(mine.serial, 16)
    )


def test_invitations_are_filtered_by_state(console, people, pki, at):
    enrolment.invite(actor="tests", user=people.bob, device="open", at=at)
    enrolment.invite(actor="tests", user=people.bob, device="late", at=at - dt.timedelta(days=2))
    used, _ = enrolment.invite(actor="tests", user=people.bob, device="used", at=at)
    used.redeemed_at = at
    used.save()

    for state, device in (("open", "open"), ("expired", "late"), ("used", "used")):
        found = console.get(f"{INVITATIONS}?state={state}").context["cl"].queryset
        assert [i.device for i in found] == [device]


def test_invitation_page_has_no_token(console, people, pki, at):
    invitation, token = enrolment.invite(actor="tests", user=people.bob, device="phone", at=at)

    shown = text_of(console.get(f"{INVITATIONS}{invitation.pk}/change/"))

    assert "phone" in shown
    assert token not in shown
    assert invitation.token_sha256 not in shown


def test_audit_trail_is_filtered_and_searched(console, pki):
    by_action = console.get(f"{AUDIT}?action=authority.created").context["cl"].queryset
    by_words = console.get(f"{AUDIT}?q=test-issuing").context["cl"].queryset

    assert {entry.target for entry in by_action} == {"CA test-root", "CA test-issuing"}
    assert {entry.action for entry in by_words} == {"authority.created", "crl.published"}


def test_audit_entry_shows_its_detail_and_its_place_in_the_chain(console, pki):
    entry = AuditEntry.objects.get(action="authority.created", target="CA test-issuing")

    shown = text_of(console.get(f"{AUDIT}{entry.pk}/change/"))

    assert "&quot;parent&quot;: &quot;test-root&quot;" in shown
    assert entry.hash in shown
    assert entry.previous in shown


def test_chain_is_verified_by_a_button(console, pki):
    whole = said(console, console.get(f"{AUDIT}verify/"))
    assert whole == [f"The chain is whole: {AuditEntry.objects.count()} entries, none was changed."]

    AuditEntry.objects.filter(sequence=2).update(actor="mallory")

    (sentence,) = said(console, console.get(f"{AUDIT}verify/"))
    assert "Audit entry 2 has been changed" in sentence


def test_records_are_not_written_here(console, pki):
    entry, published = AuditEntry.objects.get(sequence=1), RevocationList.objects.all()[0]

    for path in (AUDIT, CRLS, INVITATIONS):
        assert console.get(f"{path}add/").status_code == 404
    console.post(f"{AUDIT}{entry.pk}/change/", {"actor": "mallory"})
    assert console.post(f"{AUDIT}{entry.pk}/delete/", {"post": "yes"}).status_code == 404
    assert console.post(f"{CRLS}{published.pk}/delete/", {"post": "yes"}).status_code == 404

    assert AuditEntry.objects.get(pk=entry.pk).actor == "tests"


def test_records_need_the_right(clerk, pki):
    assert clerk("view_auditentry").get(AUDIT).status_code == 200

    looker = clerk("view_certificate")
    for path in (AUDIT, f"{AUDIT}verify/", CRLS, INVITATIONS):
        assert looker.get(path).status_code == 404
