from __future__ import annotations

import datetime as dt

from cryptography import x509

from pki import crl, enrolment, revocation
from pki.models import RevocationList
from tests.factories import make_device
from tests.pki.admin.conftest import said, text_of

CRLS = "/console/pki/revocationlist/"
INVITATIONS = "/console/pki/invitation/"


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


def test_records_are_not_written_here(console, pki):
    published = RevocationList.objects.all()[0]

    for path in (CRLS, INVITATIONS):
        assert console.get(f"{path}add/").status_code == 404
    assert console.post(f"{CRLS}{published.pk}/delete/", {"post": "yes"}).status_code == 404


def test_records_need_the_right(clerk, pki):
    assert clerk("view_revocationlist").get(CRLS).status_code == 200

    looker = clerk("view_certificate")
    for path in (CRLS, INVITATIONS):
        assert looker.get(path).status_code == 404


def settings_page(row):
    return f"{CRLS}{row.pk}/settings/"


def test_deltas_and_partitions_are_set(console, pki):
    row = RevocationList.objects.get(authority=pki.issuing)
    assert "Partitions" in text_of(console.get(settings_page(row)))
    refused = console.post(settings_page(row), {"crl_partitions": "300"})
    assert refused.status_code == 400

    done = console.post(settings_page(row), {"crl_partitions": "2", "has_delta_crls": "on"})

    assert said(console, done) == ["The CRLs of Test Issuing are published anew."]
    pki.issuing.refresh_from_db()
    assert (pki.issuing.crl_partitions, pki.issuing.has_delta_crls) == (2, True)
    shown = text_of(console.get(CRLS))
    for words in ("everything", "changes since No. 1", "partition 1", "partition 2"):
        assert words in shown
    assert "no longer kept" not in text_of(console.get(f"{CRLS}{row.pk}/change/"))


def test_contents_that_are_no_longer_kept(console, pki, at):
    row = RevocationList.objects.get(authority=pki.issuing)
    crl.publish(authority=pki.issuing, actor="a", at=at)
    assert "no longer kept" in text_of(console.get(f"{CRLS}{row.pk}/change/"))
    assert console.get(f"{CRLS}{row.pk}/der/").status_code == 404
    assert console.get(f"{CRLS}{row.pk}/pem/").status_code == 404


def test_crl_settings_need_the_right(clerk, pki):
    row = RevocationList.objects.get(authority=pki.issuing)
    looker = clerk("view_revocationlist")
    assert settings_page(row) not in text_of(looker.get(f"{CRLS}{row.pk}/change/"))
    assert looker.post(settings_page(row), {"crl_partitions": "2"}).status_code == 404
    pki.issuing.refresh_from_db()
    assert pki.issuing.crl_partitions == 0
