from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile

from pki.models import Certificate, CertificateProfile, Invitation
from tests.pki.admin.conftest import said, text_of

ADD = "/console/pki/certificate/add/"


def of_bob():
    return Certificate.objects.filter(owner__username="bob")


def test_link_is_made_and_nothing_is_issued(console, pki, people):
    response = console.post(ADD, {"owner": people.bob.pk, "device": "phone", "way": "link"})

    assert re.search(r'data-copy="https://[^"]+/enrol/', text_of(response))
    assert Invitation.objects.get().user == people.bob
    assert not of_bob().exists()


def first_step(console, person, way="p12"):
    return console.post(ADD, {"owner": person.pk, "device": "phone", "way": way})


def hidden_fields(response):
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text_of(response)))


@pytest.mark.parametrize("way", ["p12", "p12-compat"])
def test_file_comes_after_its_password_was_shown(console, pki, people, way):
    shown = first_step(console, people.bob, way)
    fields = hidden_fields(shown)
    assert f'data-copy="{fields["password"]}"' in text_of(shown)
    assert not of_bob().exists()

    file = console.post(ADD, fields)

    key, leaf, chain = pkcs12.load_key_and_certificates(file.content, fields["password"].encode())
    assert key is not None
    assert leaf is not None
    assert leaf.fingerprint(SHA256()).hex() == of_bob().get().sha256
    assert chain[0].subject.rfc4514_string() == "CN=Test Issuing"
    assert file["Content-Disposition"] == 'attachment; filename="bob-phone.p12"'
    assert "no-store" in file["Cache-Control"]


def test_file_is_made_once(console, pki, people):
    fields = hidden_fields(first_step(console, people.bob))
    console.post(ADD, fields)

    again = console.post(ADD, fields)

    assert "has been made already" in text_of(again)
    assert of_bob().count() == 1
    assert hidden_fields(again)["password"] != fields["password"]


def test_of_two_answers_at_once_one_is_given_a_file(console, pki, people):
    """The second one began before the first one's session was written."""
    fields = hidden_fields(first_step(console, people.bob))
    before = Session.objects.get().session_data
    console.post(ADD, fields)
    Session.objects.update(session_data=before)

    again = console.post(ADD, fields)

    assert of_bob().count() == 1
    assert "has been made already" in text_of(again)


def test_answer_to_no_page_of_ours_makes_no_file(console, pki, people):
    fields = hidden_fields(first_step(console, people.bob))
    again = console.post(ADD, fields | {"once": "\N{LATIN SMALL LETTER E WITH ACUTE}"})
    assert "has been made already" in text_of(again)
    assert not of_bob().exists()


def test_file_has_no_weak_password(console, pki, people):
    fields = hidden_fields(first_step(console, people.bob))

    console.post(ADD, fields | {"password": "short"})

    assert not of_bob().exists()


def make_csr():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    return key, csr


def test_request_is_certified_pasted_or_uploaded(console, pki, people):
    form = {"owner": people.bob.pk, "device": "server room", "way": "csr"}
    key, csr = make_csr()
    other, uploaded = make_csr()

    by_text = console.post(ADD, form | {"pasted": csr.public_bytes(Encoding.PEM).decode()})
    by_file = console.post(
        ADD, form | {"file": SimpleUploadedFile("r.der", uploaded.public_bytes(Encoding.DER))}
    )

    assert set(said(console, by_file)) == {
        "The certificate is issued. Its PEM chain is here to download."
    }
    for response, wanted in ((by_text, key), (by_file, other)):
        chain = console.get(response.url.replace("/change/", "/pem/")).content
        leaf = x509.load_pem_x509_certificates(chain)[0]
        assert leaf.public_key() == wanted.public_key()
        assert leaf.subject.rfc4514_string() == "CN=bob"


def test_request_waits_where_somebody_approves(console, pki, people):
    CertificateProfile.objects.filter(name="person").update(approvals=1)
    pasted = make_csr()[1].public_bytes(Encoding.PEM).decode()
    form = {"owner": people.bob.pk, "device": "desk", "way": "csr", "pasted": pasted}

    assert said(console, console.post(ADD, form)) == ["The request waits: 0 of 1 approvals."]
    refused = console.post(ADD, form | {"way": "p12"})
    again = console.post(ADD, hidden_fields(refused))

    assert "must approve" in text_of(again)
    assert not of_bob().exists()


def test_form_sent_twice_shows_the_same_link(console, pki, people):
    once = re.search(r'name="link_once" value="([^"]+)"', text_of(console.get(ADD)))[1]
    form = {"owner": people.bob.pk, "device": "phone", "way": "link", "link_once": once}

    first, second = (text_of(console.post(ADD, form)) for _ in range(2))

    link = r'data-copy="(https://[^"]+)"'
    assert re.search(link, first)[1] == re.search(link, second)[1]
    assert Invitation.objects.count() == 1


def test_download_of_a_file_is_confirmed(console, pki, people):
    fields = hidden_fields(shown := first_step(console, people.bob))
    assert "data-after-submit" in text_of(shown)

    console.post(ADD, fields)

    messages = console.get("/console/pki/certificate/").context["messages"]
    assert [str(message) for message in messages] == ["The file for Bob on phone was made."]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"way": "csr"}, "Choose the certificate request, or paste it."),
        ({"way": "csr", "pasted": "garbage"}, "not a certificate request"),
        ({"way": "csr", "pasted": "-----BEGIN PRIVATE KEY-----"}, "holds a private key"),
        ({"way": "link", "device": "  "}, "This field is required."),
        ({"way": "link", "owner": "0"}, "not one of the available choices"),
    ],
)
def test_refusals_are_sentences_on_the_form(console, pki, people, fields, sentence):
    form = {"owner": people.bob.pk, "device": "phone"}

    response = console.post(ADD, form | fields)

    assert response.status_code == 400
    assert sentence in text_of(response)
    assert not of_bob().exists()


def test_person_can_be_chosen_by_the_link_from_their_page(console, people):
    response = console.get(f"{ADD}?owner={people.bob.pk}")

    assert f'<option value="{people.bob.pk}" selected>Bob (bob)</option>' in text_of(response)


def test_issuing_needs_the_right_and_reaches_no_staff(clerk, people, pki):
    assert clerk("view_certificate").get(ADD).status_code == 404

    issuer = clerk("view_certificate", "issue_certificate")
    form = {"device": "phone", "way": "link"}
    assert "data-copy" in text_of(issuer.post(ADD, form | {"owner": people.charlie.pk}))
    refused = issuer.post(ADD, form | {"owner": people.admin.pk})

    assert "not one of the available choices" in text_of(refused)
    assert [i.user.username for i in Invitation.objects.all()] == ["charlie"]
