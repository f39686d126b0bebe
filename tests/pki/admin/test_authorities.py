from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509

from pki import authorities, crl, responder, revocation, succession
from pki.admin.standing import crl_badge
from pki.models import AuditEntry, Certificate, CertificateAuthority, RevocationList
from tests import certs
from tests.factories import make_server_certificate
from tests.pki.admin.conftest import said, text_of

LIST = "/console/pki/certificateauthority/"


def page(authority, name="change"):
    return f"{LIST}{authority.pk}/{name}/"


def test_list_shows_the_tree_with_keys_and_crls(console, pki):
    shown = text_of(console.get(LIST))

    assert shown.index("Test Root") < shown.index('<span class="sg-branch">Test Issuing</span>')
    assert "P-256" in shown
    assert "No. 1" in shown
    assert "next in 6 days" in shown


@pytest.mark.parametrize(
    ("age", "expected"), [(1, "fresh"), (4, "due"), (8, "out of date"), (None, "no CRL")]
)
def test_crl_is_fresh_due_or_out_of_date(at, age, expected):
    row = None
    if age is not None:
        begin = at - dt.timedelta(days=age)
        row = RevocationList(this_update=begin, next_update=begin + dt.timedelta(days=7))

    assert f">{expected}<" in crl_badge(row, at=at)


def test_root_and_authority_below_it_are_founded(console, pki):
    console.post(f"{LIST}add/", {"name": "New Root", "algorithm": "p384"})
    root = CertificateAuthority.objects.get(name="New Root")
    response = console.post(
        f"{LIST}add/", {"name": "New Below", "parent": root.pk, "algorithm": "p256"}
    )

    below = CertificateAuthority.objects.get(name="New Below")
    assert root.is_root
    assert root.certificate.key
    assert root.certificate.key.algorithm == "p384"
    assert below.parent == root
    assert response.url == page(below)
    assert AuditEntry.objects.filter(action="authority.created", actor="admin").count() == 2


def test_taken_name_is_a_sentence_on_the_form(console, pki):
    response = console.post(f"{LIST}add/", {"name": "Test Root", "algorithm": "p256"})

    assert "already" in text_of(response)
    assert CertificateAuthority.objects.count() == 2


def test_crl_is_published_from_the_page_after_a_question(console, pki):
    assert "Signs CRL number 2 of Test Issuing" in text_of(
        console.get(page(pki.issuing, "publish-crl"))
    )
    assert RevocationList.objects.filter(authority=pki.issuing).count() == 1

    response = console.post(page(pki.issuing, "publish-crl"))

    (sentence,) = said(console, response)
    assert sentence.startswith("CRL 2 of Test Issuing is published: 0 revoked")


def test_crls_of_selected_authorities_are_published(console, pki):
    console.post(
        LIST,
        {"action": "publish_selected", "_selected_action": [pki.root.pk, pki.issuing.pk]},
    )

    assert sorted(RevocationList.objects.values_list("number", flat=True)) == [1, 1, 2, 2]


def test_authority_without_its_key_is_a_sentence_and_no_error(console, pki):
    certificate = pki.issuing.certificate
    certificate.key = None
    certificate.save(update_fields=["key"])

    (sentence,) = said(console, console.post(page(pki.issuing, "publish-crl")))

    assert "key is not kept here" in sentence
    assert "kept elsewhere" in text_of(console.get(LIST))


def test_downloads_are_the_authoritys_certificate(console, pki):
    der = console.get(page(pki.root, "der"))

    assert x509.load_der_x509_certificate(der.content).subject.rfc4514_string() == "CN=Test Root"
    assert der["Content-Disposition"] == 'attachment; filename="test-root.cer"'


def test_looking_publishing_and_founding_are_three_rights(clerk, pki):
    looker = clerk("view_certificateauthority")
    assert looker.get(page(pki.root)).status_code == 200
    assert looker.post(page(pki.root, "publish-crl")).status_code == 404
    assert looker.get(f"{LIST}add/").status_code == 404
    assert "publish_selected" not in text_of(looker.get(LIST))
    assert RevocationList.objects.count() == 2

    publisher = clerk("view_certificateauthority", "add_revocationlist")
    assert publisher.post(page(pki.root, "publish-crl")).status_code == 302
    assert RevocationList.objects.count() == 3


def test_page_tells_who_answers_ocsp_and_which_crls_there_are(console, pki, at):
    shown = text_of(console.get(page(pki.issuing)))
    assert "the CA itself" in shown
    assert "no delta CRLs, no partitions" in shown

    made = responder.renew(actor="a", authority=pki.issuing, at=at)
    crl.configure(actor="a", authority=pki.issuing, has_delta_crls=True, crl_partitions=3, at=at)
    leaf = make_server_certificate(pki.issuing, hosts=("localhost",))
    revocation.revoke(actor="a", certificate=leaf, reason="superseded", at=at)
    shown = text_of(console.get(page(pki.issuing)))
    newest = crl.latest(pki.issuing)
    assert f"serial {made.serial}, until" in shown
    assert "delta CRLs, 3 partitions" in shown
    assert f'href="/console/pki/revocationlist/{newest.pk}/change/">1<' in shown
    assert f'href="/console/pki/revocationlist/{newest.pk}/settings/"' in shown


def test_page_of_a_ca_whose_key_is_elsewhere(console, at):
    stranger = authorities.record_outside_authority(
        actor="a", certificate=certs.make_ca("Stranger").der, at=at
    )
    shown = text_of(console.get(page(stranger)))
    assert "nobody: its key is elsewhere" in shown
    assert "set them" not in shown


def test_young_responder_is_valid_and_an_overdue_one_is_said(console, pki, at):
    made = responder.renew(actor="test", authority=pki.issuing, at=at)
    shown = text_of(console.get(page(pki.issuing)))
    assert "expiring soon" not in shown
    assert "overdue" not in shown
    listed = text_of(console.get("/console/pki/certificate/?holder=others"))
    assert "expiring soon" not in listed
    late = {"not_before": at - dt.timedelta(days=20), "not_after": at + dt.timedelta(days=10)}
    Certificate.objects.filter(pk=made.pk).update(**late)
    assert "renewal overdue" in text_of(console.get(page(pki.issuing)))


def test_page_tells_the_family_and_what_it_may_sign(console, pki, at):
    succession.roll_over_authority(
        actor="test", authority=pki.issuing, retire_at=at + dt.timedelta(days=30), at=at
    )
    follower = pki.issuing.successors.get()

    old, new = (text_of(console.get(page(one))) for one in (pki.issuing, follower))

    assert "CA, with up to 0 levels of CAs below it" in old
    assert str(follower) in old
    assert str(pki.issuing) in new
    assert "chat" in text_of(console.get(page(pki.root)))
