from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.uploadedfile import SimpleUploadedFile

from pki import authorities
from pki.models import Anchor, AuditEntry, Endpoint, TrustStore
from tests.certs import make_ca
from tests.factories import make_server_certificate
from tests.pki.admin.conftest import said, text_of

LIST = "/console/pki/truststore/"


def page(store, name="change"):
    return f"{LIST}{store.pk}/{name}/"


@pytest.fixture
def store(pki):
    return pki.truststore


@pytest.fixture
def foreign():
    return make_ca("Partner Root").certificate


def test_store_shows_its_anchors_with_fingerprints(console, store, pki):
    shown = text_of(console.get(page(store)))

    assert pki.root.certificate.fingerprint in shown
    assert "Test Root" in shown
    assert "in 19 years" in shown


def test_new_store_trusts_nobody(console, pki):
    response = console.post(f"{LIST}add/", {"name": "partners", "description": "Guests"})

    made = TrustStore.objects.get(name="partners")
    assert response.url == page(made)
    assert "accepts nobody" in text_of(console.get(page(made)))
    assert "/pem/" not in text_of(console.get(page(made)))


def test_taken_name_is_a_sentence_on_the_form(console, store):
    response = console.post(f"{LIST}add/", {"name": "chat"})

    assert "already" in text_of(response)
    assert TrustStore.objects.count() == 1


def test_root_from_elsewhere_is_added_pasted_or_uploaded(console, store, foreign):
    other = make_ca("Other Root").certificate

    console.post(page(store, "add-anchor"), {"pasted": foreign.public_bytes(Encoding.PEM).decode()})
    console.post(
        page(store, "add-anchor"),
        {"file": SimpleUploadedFile("root.cer", other.public_bytes(Encoding.DER))},
    )

    assert set(store.anchors.values_list("subject", flat=True)) == {
        "CN=Partner Root",
        "CN=Other Root",
        "CN=Test Root",
    }
    assert "from elsewhere" in text_of(console.get(page(store)))
    assert AuditEntry.objects.filter(action="anchor.added", actor="admin").count() == 2


def test_root_of_ours_is_added(console, store, at):
    root = authorities.create_authority(actor="tests", name="Second Root", at=at)

    console.post(page(store, "add-anchor"), {"authority": root.pk})

    assert Anchor.objects.get(truststore=store, authority=root)


def test_what_is_no_root_is_refused_with_a_sentence(console, store, pki, foreign):
    leaf = make_ca("CA").issue("mallory").pem.decode()
    pem = foreign.public_bytes(Encoding.PEM).decode()

    for fields, sentence in (
        ({}, "Give one root"),
        ({"pasted": pem, "authority": pki.root.pk}, "Give one root"),
        ({"pasted": "garbage"}, "not a certificate"),
        ({"pasted": leaf}, "signs itself"),
        ({"authority": pki.root.pk}, "has this root already"),
    ):
        response = console.post(page(store, "add-anchor"), fields)
        assert response.status_code == 400
        assert sentence in text_of(response), sentence
    assert store.anchors.count() == 1


def withdrawal(store):
    return f"{LIST}{store.pk}/anchors/{store.anchors.get().pk}/withdraw/"


def test_anchor_is_withdrawn_after_a_question(console, store, pki):
    Endpoint.objects.create(
        name="main",
        port=8443,
        certificate=make_server_certificate(pki.issuing, hosts=("localhost",)),
        client_certificate="optional",
        truststore=store,
        serves="main",
    )
    asked = text_of(console.get(withdrawal(store)))
    assert pki.root.certificate.fingerprint in asked
    assert "would accept nobody, you included" in asked
    assert store.anchors.count() == 1

    response = console.post(withdrawal(store))

    assert said(console, response) == ["chat does not trust CN=Test Root any more."]
    assert store.anchors.count() == 0
    assert AuditEntry.objects.get(action="anchor.withdrawn").actor == "admin"


def test_anchor_of_another_store_is_not_found(console, store, at):
    from pki import truststore

    other = truststore.create_truststore(actor="tests", name="other", at=at)

    path = withdrawal(store).replace(f"/{store.pk}/anchors", f"/{other.pk}/anchors")

    assert console.post(path).status_code == 404
    assert store.anchors.count() == 1


def test_download_holds_all_anchors(console, store, foreign):
    console.post(page(store, "add-anchor"), {"pasted": foreign.public_bytes(Encoding.PEM).decode()})

    pem = console.get(page(store, "pem"))

    subjects = [c.subject.rfc4514_string() for c in x509.load_pem_x509_certificates(pem.content)]
    assert subjects == ["CN=Test Root", "CN=Partner Root"]
    assert pem["Content-Disposition"] == 'attachment; filename="chat.pem"'


def test_trusting_needs_the_right(clerk, store):
    looker = clerk("view_truststore")
    assert looker.get(page(store)).status_code == 200
    assert "Withdraw" not in text_of(looker.get(page(store)))
    assert looker.get(page(store, "add-anchor")).status_code == 404
    assert looker.post(withdrawal(store)).status_code == 404
    assert store.anchors.count() == 1

    assert clerk("view_truststore", "change_truststore").post(withdrawal(store)).status_code == 302
    assert store.anchors.count() == 0
