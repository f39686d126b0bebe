"""Requests and links on the pages of the main and the enrol endpoint, and in a shell."""

from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from pki import certification, enrolment, revocation
from pki.errors import StateError
from pki.models import Certificate, CertificateProfile, CertificationRequest, Invitation
from tests.client import Visitor
from tests.factories import make_device


def make_csr(key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def read(pem):
    return x509.load_pem_x509_csr(pem.encode())


@pytest.fixture
def approval(pki):
    CertificateProfile.objects.filter(name="person").update(approvals=1)


@pytest.fixture
def laptop(pki, alice):
    return make_device(alice, pki.issuing)


@pytest.fixture
def visitor(laptop):
    return Visitor(laptop.chain)


@pytest.fixture
def link(pki, alice, at):
    return f"/enrol/{enrolment.invite(actor='a', user=alice, device='phone', at=at)[1]}/"


def approve(admin, at):
    certification.approve(
        actor="admin", approver=admin, request=CertificationRequest.objects.get(), at=at
    )


# --- The enrol endpoint ---------------------------------------------------------------------


def test_browser_sends_its_csr_and_gets_the_chain(link, alice):
    enrol, csr = Visitor(serves="enrol"), make_csr()
    answer = enrol.post(f"{link}csr/", {"csr": csr})

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    said = answer.json()
    assert (said["state"], said["filename"], said["notes"]) == ("issued", "alice-phone.p12", [])
    leaf, issuing, root = (
        x509.load_pem_x509_certificate(pem.encode()) for pem in said["certificates"]
    )
    assert leaf.public_key() == read(csr).public_key()
    assert (issuing.subject, root.subject) == (leaf.issuer, root.issuer)
    assert enrol.post(f"{link}csr/", {"csr": csr}).json() == said
    assert enrol.get(f"{link}status/").json() == said
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_waiting_request_tells_its_states_to_the_holder_of_the_link(approval, link, people, at):
    enrol = Visitor(serves="enrol")
    assert enrol.get(f"{link}status/").json()["state"] == "open"
    answer = enrol.post(f"{link}csr/", {"csr": make_csr()})

    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    assert answer.json()["status_url"] == f"{link}status/"
    assert enrol.get(f"{link}status/").status_code == 202
    assert b'data-state="waiting"' in enrol.get(link).content

    approve(people.admin, at)

    assert enrol.get(f"{link}status/").json()["state"] == "issued"
    assert b'data-state="issued"' in enrol.get(link).content


def test_rejection_is_told_with_its_reason_and_no_name(approval, link, people, at):
    enrol = Visitor(serves="enrol")
    enrol.post(f"{link}csr/", {"csr": make_csr()})
    certification.reject(
        actor="admin",
        approver=people.admin,
        request=CertificationRequest.objects.get(),
        reason="<b>Not yours</b>",
        at=at,
    )

    said = enrol.get(f"{link}status/").json()
    assert said["state"] == "rejected"
    assert "<b>Not yours</b>" in said["detail"]
    page = enrol.get(link).content.decode()
    assert "&lt;b&gt;Not yours" in page
    assert "admin<" not in page


@pytest.mark.parametrize("path", ["/enrol/guessed/csr/", "/enrol/guessed/status/"])
def test_guessed_link_learns_nothing(pki, path):
    enrol = Visitor(serves="enrol")
    answer = enrol.post(path, {"csr": make_csr()}) if "csr" in path else enrol.get(path)

    assert answer.status_code == 404
    assert "not known" in answer.json()["error"]["detail"]


@pytest.mark.parametrize("csr", [None, "", "garbage", "-----BEGIN PRIVATE KEY-----", "x" * 70_000])
def test_what_is_no_request_is_refused_and_the_link_stays(link, at, csr):
    answer = Visitor(serves="enrol").post(f"{link}csr/", {} if csr is None else {"csr": csr})

    assert answer.status_code == 400
    assert answer.json()["error"]["detail"]
    assert Invitation.objects.open(at).exists()


def test_used_link_takes_no_other_csr(link, alice):
    enrol = Visitor(serves="enrol")
    enrol.post(f"{link}csr/", {"csr": make_csr()})

    assert enrol.post(f"{link}csr/", {"csr": make_csr()}).status_code == 404
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_key_of_somebody_else_is_a_conflict(link, pki, bob, at):
    key = ec.generate_private_key(ec.SECP256R1())
    make_device(bob, pki.issuing, key=key)

    answer = Visitor(serves="enrol").post(f"{link}csr/", {"csr": make_csr(key)})

    assert answer.status_code == 409
    assert "somebody else" in answer.json()["error"]["detail"]


def test_console_password_is_asked_for_with_the_csr(pki, people, at):
    people.admin.set_unusable_password()
    people.admin.save()
    token = enrolment.invite(actor="a", user=people.admin, device="phone", at=at)[1]
    enrol, path, csr = Visitor(serves="enrol"), f"/enrol/{token}/csr/", make_csr()

    missing = enrol.post(path, {"csr": csr})
    assert missing.status_code == 400
    assert set(missing.json()["error"]["fields"]) == {"console_password1", "console_password2"}
    chosen = dict.fromkeys(("console_password1", "console_password2"), "four quiet words here")

    assert enrol.post(path, {"csr": csr, **chosen}).status_code == 200
    assert enrol.post(path, {"csr": csr}).json()["state"] == "issued"


# --- Devices --------------------------------------------------------------------------------

ASK = "/devices/requests/"


def page_of(visitor):
    return visitor.get("/devices/").content.decode()


@pytest.mark.parametrize("way", ["pasted", "file"])
def test_person_has_a_key_made_elsewhere_certified(visitor, alice, way):
    csr = make_csr()
    handed = csr if way == "pasted" else SimpleUploadedFile("r.pem", csr.encode())
    answer = visitor.post(ASK, {"profile": "person", "device": "server room", way: handed})

    assert answer.status_code == 302
    path = re.search(r'href="(/devices/requests/\d+\.pem)"', page_of(visitor))[1]
    chain = x509.load_pem_x509_certificates(visitor.get(path).content)
    assert chain[0].public_key() == read(csr).public_key()
    assert len(chain) == 3


def test_waiting_request_is_shown_withdrawn_and_asked_again(approval, visitor, people, at):
    visitor.post(ASK, {"profile": "person", "device": "phone", "pasted": make_csr()})
    asked = CertificationRequest.objects.get()
    assert "Waiting for approval" in page_of(visitor)
    assert visitor.get(f"{ASK}{asked.pk}.pem").status_code == 404

    visitor.post(f"{ASK}{asked.pk}/withdraw/")
    assert 'data-state="withdrawn"' in page_of(visitor)
    visitor.post(f"{ASK}{asked.pk}/again/")
    assert 'data-state="waiting"' in page_of(visitor)
    approve(people.admin, at)
    assert 'data-state="issued"' in page_of(visitor)


def test_requests_of_others_are_out_of_reach(visitor, pki, bob, at):
    asked = certification.submit(
        actor="bob",
        requester=bob,
        profile="person",
        csr=read(make_csr()),
        owner=bob,
        device="secret device",
        at=at,
    )
    assert "secret device" not in page_of(visitor)
    assert visitor.get(f"{ASK}{asked.pk}.pem").status_code == 404
    for verb in ("withdraw", "again"):
        assert visitor.post(f"{ASK}{asked.pk}/{verb}/").status_code == 404


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose the certificate request, or paste it."),
        ({"pasted": "garbage"}, "not a certificate request"),
        ({"profile": "server", "pasted": "x"}, "not one of the available choices"),
    ],
)
def test_what_is_refused_is_said_on_the_page(visitor, fields, sentence):
    answer = visitor.post(ASK, {"profile": "person", "device": "phone"} | fields)

    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not CertificationRequest.objects.exists()


def test_code_signing_is_offered_where_somebody_looks_at_it_first(visitor):
    CertificateProfile.objects.filter(name="code").update(approvals=0, enabled=True)
    assert 'value="code"' not in page_of(visitor)
    CertificateProfile.objects.filter(name="code").update(approvals=1, enabled=True)
    assert 'value="code"' in page_of(visitor)


def test_page_sent_again_shows_the_same_link(visitor, at):
    once = re.search(r'name="once" value="([^"]+)"', page_of(visitor))[1]
    first, second = (
        visitor.post("/devices/", {"device": "phone", "once": once}).content.decode()
        for _ in range(2)
    )
    link = r'id="enrol-link">([^<]+)<'
    assert re.search(link, first)[1] == re.search(link, second)[1]
    assert Invitation.objects.count() == 1


def test_own_open_link_is_listed_and_withdrawn(visitor, alice, bob, at):
    own, token = enrolment.invite(actor="alice", user=alice, device="tablet", at=at)
    other, _ = enrolment.invite(actor="bob", user=bob, device="secret device", at=at)
    assert "tablet" in page_of(visitor)
    assert "secret device" not in page_of(visitor)

    assert visitor.post(f"/devices/links/{other.pk}/withdraw/").status_code == 404
    visitor.post(f"/devices/links/{own.pk}/withdraw/")

    assert "The link for tablet no longer works." in page_of(visitor)
    assert [row.user for row in Invitation.objects.open(timezone.now())] == [bob]
    assert Visitor(serves="enrol").get(f"/enrol/{token}/").status_code == 404


def test_request_ends_with_the_certificate_it_was_asked_with(approval, visitor, laptop, people, at):
    visitor.post(ASK, {"profile": "person", "device": "thief", "pasted": make_csr()})
    asked = CertificationRequest.objects.get()
    assert asked.asked_with == laptop.certificate
    revocation.revoke(actor="alice", certificate=laptop.certificate, reason="unspecified", at=at)

    with pytest.raises(StateError, match="was revoked"):
        approve(people.admin, at)


def test_asking_again_is_by_the_certificate_of_that_moment(approval, visitor, people, pki):
    visitor.post(ASK, {"profile": "person", "device": "thief", "pasted": make_csr()})
    asked = CertificationRequest.objects.get()
    visitor.post(f"{ASK}{asked.pk}/withdraw/")
    tablet = make_device(people.alice, pki.issuing, device="tablet")
    Visitor(tablet.chain).post(f"{ASK}{asked.pk}/again/")
    asked.refresh_from_db()
    assert (asked.state, asked.asked_with) == ("waiting", tablet.certificate)


def test_answer_that_was_lost_is_asked_for_again_without_the_password(approval, people, at):
    """What was chosen first is held; whoever sends the same key again chooses nothing more."""
    people.bob.is_staff = True
    people.bob.save()
    _, token = enrolment.invite(actor="bob", user=people.bob, device="phone", at=at)
    chosen = dict.fromkeys(("console_password1", "console_password2"), "correct horse battery")
    enrol, csr, path = Visitor(serves="enrol"), make_csr(), f"/enrol/{token}/csr/"
    first = enrol.post(path, {"csr": csr, **chosen})
    assert first.status_code == 202
    assert enrol.post(path, {"csr": csr}).json() == first.json()

    approve(people.admin, at)

    people.bob.refresh_from_db()
    assert people.bob.check_password("correct horse battery")


# --- In a shell -----------------------------------------------------------------------------


def test_request_goes_through_the_commands(approval, alice, people, tmp_path, capsys):
    csr, out = tmp_path / "r.csr", tmp_path / "chain.pem"
    csr.write_text(make_csr())
    asked = ("--profile", "person", "--user", "alice", "--device", "desk")
    call_command("request_certificate", str(csr), *asked)
    assert "waits for approval" in capsys.readouterr().out
    number = str(CertificationRequest.objects.get().pk)
    call_command("list_requests")
    assert f"{number}: person for alice on desk, waiting" in capsys.readouterr().out

    with pytest.raises(CommandError, match="may not decide"):
        call_command("approve_request", number, "--by", "bob")
    call_command("approve_request", number, "--by", "admin", "--out", str(out))

    chain = x509.load_pem_x509_certificates(out.read_bytes())
    assert chain[0].public_key() == read(csr.read_text()).public_key()
    capsys.readouterr()
    call_command("list_requests")
    assert capsys.readouterr().out == ""


def test_request_is_rejected_by_command(approval, people, tmp_path):
    csr = tmp_path / "r.csr"
    csr.write_text(make_csr())
    call_command(
        "request_certificate", str(csr), "--profile", "person", "--user", "alice", "--device", "d"
    )
    number = str(CertificationRequest.objects.get().pk)
    call_command("reject_request", number, "--by", "admin", "--reason", "Unknown device")

    assert CertificationRequest.objects.get().reason == "Unknown device"
    with pytest.raises(CommandError, match="already rejected"):
        call_command("approve_request", number, "--by", "admin")
    with pytest.raises(CommandError, match="no request 999"):
        call_command("approve_request", "999", "--by", "admin")


def test_server_is_certified_by_command(pki, tmp_path, capsys):
    csr, out = tmp_path / "r.csr", tmp_path / "chain.pem"
    csr.write_text(make_csr())
    call_command(
        "request_certificate",
        str(csr),
        "--profile",
        "server",
        "--host",
        "files.example.org",
        "--out",
        str(out),
    )
    leaf = x509.load_pem_x509_certificates(out.read_bytes())[0]
    assert leaf.subject.rfc4514_string() == "CN=files.example.org"
    with pytest.raises(CommandError, match="--user, or the server"):
        call_command("request_certificate", str(csr), "--profile", "server")
