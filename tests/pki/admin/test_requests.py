"""The queue: what a clerk sees of a request, and what their yes or no does."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from pki import certification, enrolment
from pki import people as persons
from pki.models import AuditEntry, Certificate, CertificateProfile, CertificationRequest
from tests.factories import make_person
from tests.pki.admin.conftest import said, text_of

LIST = "/console/pki/certificationrequest/"
CA = x509.BasicConstraints(ca=True, path_length=None)


def make_csr(*extensions):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wanted name")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())


def pem(csr):
    return csr.public_bytes(Encoding.PEM).decode()


@pytest.fixture
def asked(pki, people, at):
    """Charlie asks for a certificate, and somebody must approve it."""
    CertificateProfile.objects.filter(name="person").update(approvals=1)
    return submit(people.charlie, at)


def submit(owner, at, **fields):
    return certification.submit(
        actor=owner.username,
        requester=owner,
        profile="person",
        csr=make_csr(),
        owner=owner,
        device="laptop",
        at=at,
        **fields,
    )


def page(asked, what="change"):
    return f"{LIST}{asked.pk}/{what}/"


def test_queue_says_who_asks_for_what(console, asked):
    row = text_of(console.get(LIST))
    for words in ("Charlie · laptop", "waiting for approval", "passed", "left out"):
        assert words in row

    shown = text_of(console.get(page(asked)))
    for words in ("P-256", asked.spki_sha256, "It may be issued.", "wanted name", "0 of 1"):
        assert words in shown


def test_both_pages_show_what_would_be_signed(console, asked, pki, people, at):
    persons.change_person(
        actor="test", user=people.charlie, changes={"email": "c@example.org"}, at=at
    )
    for what in ("change", "approve"):
        shown = text_of(console.get(page(asked, what)))
        for words in (
            *("CN=charlie", "c@example.org", "digital signature", "clientAuth", "Signed by"),
            *(pki.issuing.certificate.subject, "Valid from", "Valid until"),
        ):
            assert words in shown, (what, words)

    console.post(page(asked, "approve"))
    issued = Certificate.objects.get(owner=people.charlie)
    assert issued.subject.startswith("CN=charlie")
    assert "What would be signed" in text_of(console.get(page(asked)))
    assert "clientAuth" not in text_of(console.get(page(asked)))


def test_profile_without_approval_needs_nobody(console, pki, people, at):
    assert "0 of" not in (shown := text_of(console.get(page(submit(people.charlie, at)))))
    assert "nobody: its profile asks for no approval" in shown


def test_page_says_what_comes_next(console, clerk, asked):
    assert "It waits for your decision" in text_of(console.get(page(asked)))
    assert "issued at once" in text_of(console.get(page(asked, "approve")))
    looker = clerk("view_certificationrequest")
    assert "waits for somebody who may decide" in text_of(looker.get(page(asked)))

    console.post(page(asked, "reject"), {"reason": "Unknown device"})

    assert "nothing was issued" in text_of(console.get(page(asked)))


def test_page_says_what_would_refuse_it_now(console, asked, people, at):
    persons.disable_person(actor="admin", user=people.charlie, at=at)

    assert "disabled" in text_of(console.get(page(asked)))
    before = AuditEntry.objects.count()
    assert "It would be refused now" in text_of(console.get(page(asked, "approve")))
    assert AuditEntry.objects.count() == before  # only looked at


def test_yes_issues_and_the_chain_is_there(console, asked):
    assert "Checked: it may be issued." in text_of(console.get(page(asked, "approve")))
    assert not Certificate.objects.filter(owner__username="charlie").exists()

    answer = console.post(page(asked, "approve"))

    assert said(console, answer) == [
        "The certificate is issued. Its PEM chain is here to download."
    ]
    chain = x509.load_pem_x509_certificates(console.get(page(asked, "pem")).content)
    assert [link.subject.rfc4514_string() for link in chain] == [
        "CN=charlie",
        "CN=Test Issuing",
        "CN=Test Root",
    ]
    assert "already issued" in text_of(console.post(page(asked, "approve")))


def test_no_has_a_reason(console, asked):
    assert console.post(page(asked, "reject"), {"reason": " "}).status_code == 400
    console.post(page(asked, "reject"), {"reason": "Unknown device"})

    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("rejected", "Unknown device")
    assert "Unknown device" in text_of(console.get(page(asked)))


def test_requester_is_told_that_somebody_else_must_approve(console, asked, people, at):
    own = submit(people.admin, at)

    refused = console.post(page(own, "approve"))

    assert refused.status_code == 400
    assert "somebody else must approve it" in text_of(refused)
    own.refresh_from_db()
    assert own.state == "waiting"
    assert AuditEntry.objects.filter(action="request.approve.refused", actor="admin").count() == 1


def test_queue_is_for_those_with_the_right(clerk, asked):
    nobody = clerk("view_certificate", "issue_certificate")
    assert nobody.get(LIST).status_code == 404
    assert nobody.get(page(asked)).status_code == 404
    assert nobody.post(page(asked, "approve")).status_code == 404

    looker = clerk("view_certificationrequest")
    assert looker.get(page(asked)).status_code == 200
    assert looker.post(page(asked, "approve")).status_code == 404

    decider = clerk("decide_certificationrequest")
    assert decider.post(page(asked, "approve")).status_code == 302
    asked.refresh_from_db()
    assert asked.state == "issued"


def test_server_request_is_uploaded_or_pasted(console, pki):
    form = {"profile": "server", "hosts": "files.example.org, 192.0.2.7"}
    by_text, by_file = make_csr(), make_csr()
    answers = (
        console.post(f"{LIST}add/", form | {"pasted": pem(by_text)}),
        console.post(
            f"{LIST}add/",
            form | {"file": SimpleUploadedFile("r.der", by_file.public_bytes(Encoding.DER))},
        ),
    )
    for answer, csr in zip(answers, (by_text, by_file), strict=True):
        assert answer.status_code == 302, text_of(answer)
        chain = console.get(answer.url.replace("/change/", "/pem/"))
        assert chain["Content-Disposition"].endswith('.pem"')
        leaf = x509.load_pem_x509_certificates(chain.content)[0]
        assert leaf.public_key() == csr.public_key()
        assert leaf.subject.rfc4514_string() == "CN=files.example.org"


@pytest.mark.parametrize(
    ("csr", "fields", "sentence"),
    [
        (lambda: make_csr(CA), {}, "asks to be a CA"),
        (make_csr, {"hosts": ""}, "Name at least one host."),
        (make_csr, {"profile": "person"}, "Choose the person it is for."),
        (make_csr, {"profile": "root"}, "not one of the available choices"),
        (None, {}, "Choose the certificate request, or paste it."),
    ],
)
def test_refusals_are_sentences_on_the_form(console, pki, csr, fields, sentence):
    form = {"profile": "server", "hosts": "a.example.org", "pasted": pem(csr()) if csr else ""}

    refused = console.post(f"{LIST}add/", form | fields)

    assert refused.status_code == 400
    assert sentence in text_of(refused)
    assert not CertificationRequest.objects.exists()


def test_issuer_sees_their_own_request_without_the_queue(clerk, pki):
    issuer = clerk("issue_certificate")
    answer = issuer.post(
        f"{LIST}add/", {"profile": "server", "hosts": "a.example.org", "pasted": pem(make_csr())}
    )
    assert issuer.get(answer.url).status_code == 200
    assert issuer.get(LIST).status_code == 404


def test_issuer_who_is_no_administrator_gets_nothing_for_this_server(clerk, pki):
    issuer = clerk("issue_certificate")
    form = {"profile": "server", "pasted": pem(make_csr())}
    refused = issuer.post(f"{LIST}add/", form | {"hosts": "a.example.org, localhost"})

    assert refused.status_code == 400
    assert "localhost: this server itself answers there" in text_of(refused)
    assert not CertificationRequest.objects.exists()


def test_request_remembers_the_certificate_it_was_asked_with(console, people, pki):
    form = {"profile": "person", "owner": people.charlie.pk, "device": "x"}
    console.post(f"{LIST}add/", form | {"pasted": pem(make_csr())})
    known_by = people.admin.certificates.get()
    assert CertificationRequest.objects.get().asked_with == known_by


def test_yes_of_somebody_demoted_is_not_counted_on_the_page(console, asked, people, at):
    CertificateProfile.objects.filter(name="person").update(approvals=2)
    chief = make_person("chief", is_staff=True, is_superuser=True)
    certification.approve(actor="chief", approver=chief, request=asked, at=at)
    assert "1 of 2" in text_of(console.get(page(asked)))
    persons.disable_person(actor="admin", user=chief, at=at)
    assert "0 of 2" in text_of(console.get(page(asked)))


def test_dashboard_says_how_many_wait(console, asked):
    assert "1 request for certificates" in text_of(console.get("/console/"))
    console.post(page(asked, "approve"))
    assert "waiting for approval" not in text_of(console.get("/console/"))


def test_open_link_is_withdrawn_after_a_question(console, clerk, people, pki, at):
    invitation, _ = enrolment.invite(actor="x", user=people.charlie, device="tablet", at=at)
    path = f"/console/pki/invitation/{invitation.pk}"
    assert "tablet" in text_of(console.get(f"/console/pki/user/{people.charlie.pk}/change/"))
    looker = clerk("view_invitation")
    assert looker.get(f"{path}/withdraw/").status_code in {403, 404}

    assert "Withdraw this link?" in text_of(console.get(f"{path}/withdraw/"))
    assert said(console, console.post(f"{path}/withdraw/")) == ["The link no longer works."]

    invitation.refresh_from_db()
    assert invitation.expires_at <= timezone.now()
    assert console.get(f"{path}/withdraw/").status_code in {403, 404}
