from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives import serialization
from django.core.files.uploadedfile import SimpleUploadedFile

from pki import authorities, outside, succession
from pki.models import AuthorityRequest, CertificateAuthority
from pki.revocation import revoke
from tests import certs
from tests.pki.admin.conftest import text_of

LIST = "/console/pki/certificateauthority/"
REQUESTS = "/console/pki/authorityrequest/"


def page(authority, name="change"):
    return f"{LIST}{authority.pk}/{name}/"


def test_renew(console, pki):
    before = pki.issuing.certificate.sha256
    assert "Same name and same key" in text_of(console.get(page(pki.issuing, "renew")))
    response = console.post(page(pki.issuing, "renew"), {"days": "30"})

    assert response.url == page(pki.issuing)
    assert CertificateAuthority.objects.get(pk=pki.issuing.pk).certificate.sha256 != before


def test_revoked_ca_is_not_renewed(console, pki, at):
    other = authorities.create_authority(actor="admin", name="Other", parent=pki.root, at=at)
    assert page(other, "renew") in text_of(console.get(page(other)))
    before = revoke(actor="admin", certificate=other.certificate, reason="certificateHold", at=at)
    shown = text_of(console.get(page(other)))
    assert page(other, "renew") not in shown
    assert page(other, "roll-over") in shown
    console.post(page(other, "renew"), {"days": "30"})
    other.refresh_from_db()
    assert other.certificate == before


def test_roll_over_proposes_the_next_name(console, pki):
    shown = text_of(console.get(page(pki.issuing, "roll-over")))
    assert "Test Issuing G2" in shown
    console.post(
        page(pki.issuing, "roll-over"),
        {"name": "Test Issuing G2", "algorithm": "p384", "in_days": "0"},
    )

    made = CertificateAuthority.objects.get(name="Test Issuing G2")
    assert made.predecessor == pki.issuing
    assert ">retired<" in text_of(console.get(LIST))


def test_retire_asks_and_restore_undoes(console, pki):
    refused = console.post(page(pki.issuing, "retire"), {})
    assert "the only CA that issues" in text_of(refused)
    assert "Restore" not in text_of(console.get(page(pki.issuing)))
    console.post(page(pki.issuing, "retire"), {"is_last_one_too": "on"})
    assert CertificateAuthority.objects.get(pk=pki.issuing.pk).retired_at

    assert "Restore" in text_of(console.get(page(pki.issuing)))
    console.post(page(pki.issuing, "restore"), {})
    assert CertificateAuthority.objects.get(pk=pki.issuing.pk).retired_at is None


def test_a_planned_retirement_is_changed(console, pki, at):
    succession.roll_over_authority(
        actor="test", authority=pki.issuing, retire_at=at + dt.timedelta(days=30), at=at
    )
    shown = text_of(console.get(page(pki.issuing)))
    assert "Restore" in shown
    assert "Roll over" not in shown
    planned = CertificateAuthority.objects.get(pk=pki.issuing.pk).retired_at

    answer = console.post(page(pki.issuing, "retire"), {"in_days": "60"}, follow=True)

    assert "retires on" in text_of(answer)
    assert CertificateAuthority.objects.get(pk=pki.issuing.pk).retired_at > planned
    console.post(page(pki.issuing, "retire"), {"in_days": "0"})
    assert ">retired<" in text_of(console.get(LIST))


def test_found_with_name_constraints(console, pki):
    fields = {"name": "Bound", "algorithm": "p256", "parent": pki.root.pk, "days": "30"}
    refused = console.post(f"{LIST}add/", fields | {"permit": "10.0.0.1/8"})
    assert "no name constraint" in text_of(refused)
    console.post(f"{LIST}add/", fields | {"permit": "example.org\n10.0.0.0/8"})

    assert CertificateAuthority.objects.filter(name="Bound").exists()


def test_import(console, pki):
    old = certs.make_ca("Old Root")
    data = old.pem + old.key_pem
    assert "Import a CA" in text_of(console.get(LIST))
    refused = console.post(f"{LIST}take-over/", {"file": SimpleUploadedFile("ca.pem", data)})
    assert "newest CRL of this CA" in text_of(refused)
    last = old.crl(number=4).public_bytes(serialization.Encoding.DER)
    files = {"file": SimpleUploadedFile("ca.pem", data), "crl": SimpleUploadedFile("o.crl", last)}
    response = console.post(f"{LIST}take-over/", files)

    made = CertificateAuthority.objects.get(name="Old Root")
    assert response.url == page(made)
    assert made.next_crl_number == 5


def test_request_csr_and_complete(console, pki):
    response = console.post(f"{LIST}ask/", {"name": "Staff CA", "algorithm": "p256"})
    asked = AuthorityRequest.objects.get()
    assert response.url == f"{REQUESTS}{asked.pk}/change/"
    assert "Staff CA" in text_of(console.get(REQUESTS))
    csr = console.get(f"{REQUESTS}{asked.pk}/csr/")
    assert csr.content == outside.request_pem(asked)
    wrong = certs.make_ca("Elsewhere")
    refused = console.post(
        f"{REQUESTS}{asked.pk}/complete/", {"file": SimpleUploadedFile("a.pem", wrong.pem)}
    )
    assert "another key" in text_of(refused)
    console.post(f"{REQUESTS}{asked.pk}/withdraw/", {})
    assert not AuthorityRequest.objects.exists()


def test_renewal_of_what_an_outside_ca_signed_is_a_request(console, pki, at):
    root = authorities.record_outside_authority(
        actor="a", certificate=certs.make_ca("Elsewhere").der, at=at
    )
    CertificateAuthority.objects.filter(pk=pki.issuing.pk).update(parent=root)
    assert "whose key is elsewhere" in text_of(console.get(page(pki.issuing, "renew")))
    response = console.post(page(pki.issuing, "renew"), {})
    asked = AuthorityRequest.objects.get()
    assert response.url == f"{REQUESTS}{asked.pk}/change/"
    assert asked.key == pki.issuing.certificate.key
    assert "already" in text_of(console.post(page(pki.issuing, "renew"), {}))

    assert "stays as it is" in text_of(console.get(f"{REQUESTS}{asked.pk}/withdraw/"))
    console.post(f"{REQUESTS}{asked.pk}/withdraw/", {})
    assert not AuthorityRequest.objects.exists()
    assert CertificateAuthority.objects.get(pk=pki.issuing.pk).certificate.key == asked.key


@pytest.mark.parametrize("name", ["renew", "roll-over", "retire", "restore"])
def test_who_may_only_look_gets_no_button_and_no_page(clerk, pki, name):
    bob = clerk("view_certificateauthority")
    shown = text_of(bob.get(page(pki.issuing)))
    for word in ("Renew", "Roll over", "Retire", "Restore"):
        assert word not in shown

    assert bob.get(page(pki.issuing, name)).status_code == 404
    assert bob.post(page(pki.issuing, name), {}).status_code == 404
    assert bob.get(f"{LIST}take-over/").status_code == 404
    assert bob.get(f"{LIST}ask/").status_code == 404


def test_who_may_only_look_does_not_complete(clerk, pki, at):
    asked = outside.request_authority(actor="admin", name="Staff CA", at=at)
    bob = clerk("view_authorityrequest")
    assert bob.get(f"{REQUESTS}{asked.pk}/change/").status_code == 200
    for name in ("complete", "withdraw"):
        assert bob.post(f"{REQUESTS}{asked.pk}/{name}/", {}).status_code == 404
    assert AuthorityRequest.objects.exists()
