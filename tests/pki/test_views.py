"""The pages and documents of the three endpoints, through all middleware."""

from __future__ import annotations

import base64
import datetime as dt
import re
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509 import ocsp
from django.utils import timezone

from pki import crl, enrolment, people, revocation, truststore
from pki.models import Certificate, CertificateAuthority, Invitation, RevocationList
from tests.client import Visitor
from tests.factories import make_device, make_endpoint


@pytest.fixture
def device(pki, alice):
    return make_device(alice, pki.issuing)


def invited(user, at):
    return f"/enrol/{enrolment.invite(actor='a', user=user, device='phone', at=at)[1]}/"


# --- enrol ----------------------------------------------------------------------------------


def test_enrolment_page_hands_the_file_over_once(pki, alice, at):
    visitor, path = Visitor(serves="enrol"), invited(alice, at)
    page = visitor.get(path)
    password = re.search(r'name="password" value="([^"]+)"', page.content.decode())[1]
    assert password in re.search(r'id="file-password"[^>]*>([^<]+)<', page.content.decode())[1]

    answer = visitor.post(path, {"format": "p12", "password": password})

    assert answer.status_code == 200
    assert answer["Content-Disposition"] == 'attachment; filename="alice-phone.p12"'
    assert "no-store" in answer["Cache-Control"]
    key, certificate, _ = pkcs12.load_key_and_certificates(answer.content, password.encode())
    assert key.public_key() == certificate.public_key()
    again = visitor.post(path, {"format": "p12", "password": password})
    assert again.status_code == 404
    assert b"has been used" in again.content
    assert Certificate.objects.filter(owner=alice).count() == 1


def test_looking_at_the_page_uses_nothing_up_and_shows_a_new_password(pki, alice, at):
    visitor, path = Visitor(serves="enrol"), invited(alice, at)
    passwords = {
        re.search(r'name="password" value="([^"]+)"', visitor.get(path).content.decode())[1]
        for _ in range(3)
    }
    assert len(passwords) == 3
    assert Invitation.objects.open(at).count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"format": "exe", "password": "swan-plum-kite-mole"},
        {"format": "p12", "password": "short"},
        {"format": "p12"},
        {"format": "pem", "password": "swan-plum-kite-mole"},
    ],
)
def test_bad_form_is_shown_again_and_uses_nothing_up(pki, alice, at, fields):
    answer = Visitor(serves="enrol").post(invited(alice, at), fields)

    assert answer.status_code == 400 or not fields
    assert Invitation.objects.open(at).count() == 1
    assert not Certificate.objects.filter(owner=alice).exists()


def test_admin_chooses_the_console_password_while_enrolling(pki, at):
    admin = people.create_person(actor="t", username="chief", admin=True, at=at)
    visitor, path = Visitor(serves="enrol"), invited(admin, at)
    fields = {"format": "p12", "password": "swan-plum-kite-mole"}

    differing = {"console_password1": "correct horse battery", "console_password2": "staple"}
    refused = visitor.post(path, {**fields, **differing})
    assert refused.status_code == 400
    assert b"differ" in refused.content

    same = dict.fromkeys(differing, "correct horse battery")
    assert visitor.post(path, {**fields, **same}).status_code == 200
    admin.refresh_from_db()
    assert admin.check_password("correct horse battery")


@pytest.mark.parametrize("door", ["page", "csr"])
def test_console_password_that_is_too_short_is_marked(pki, at, door):
    admin = people.create_person(actor="t", username="chief", admin=True, at=at)
    visitor, path = Visitor(serves="enrol"), invited(admin, at)
    assert b"At least 8 characters." in visitor.get(path).content

    short = dict.fromkeys(["console_password1", "console_password2"], "kj4qz")
    if door == "csr":
        refused = visitor.post(f"{path}csr/", {"csr": "any", **short})
        (field,) = refused.json()["error"]["fields"]
        assert field == "console_password1"
        assert "too short" in str(refused.json()["error"]["fields"][field])
    else:
        fields = {"format": "p12", "password": "swan-plum-kite-mole"}
        refused = visitor.post(path, {**fields, **short})
        (widget,) = re.findall(r"<input[^>]*aria-invalid[^>]*>", refused.content.decode())
        assert 'name="console_password1"' in widget
        assert "id_console_password1_error" in widget
        assert b"too short" in refused.content
    assert refused.status_code == 400
    assert Invitation.objects.open(at).count() == 1


def test_unknown_link_says_so_and_not_more(pki):
    answer = Visitor(serves="enrol").get("/enrol/guessed/")
    assert answer.status_code == 404
    assert b"not known" in answer.content


def test_enrol_home_offers_the_root_with_its_fingerprint(pki):
    make_endpoint(pki, pki.truststore)
    visitor = Visitor(serves="enrol")
    page = visitor.get("/").content.decode()
    assert pki.root.certificate.fingerprint in page.replace("\n", "")
    assert f"/ca/{pki.root.slug}.cer" in page
    assert visitor.get(f"/ca/{pki.root.slug}.cer").content == bytes(pki.root.certificate.der)


def test_enrol_home_offers_no_root_that_is_not_trusted_any_more(pki, at):
    make_endpoint(pki, pki.truststore)
    truststore.withdraw_anchor(actor="admin", anchor=pki.truststore.anchors.get(), at=at)
    assert pki.root.slug not in Visitor(serves="enrol").get("/").content.decode()


# --- public ---------------------------------------------------------------------------------


def test_ca_certificates_and_crls_are_der_with_their_media_types(pki):
    visitor = Visitor(serves="public")
    certificate = visitor.get(f"/ca/{pki.issuing.slug}.cer")
    crl = visitor.get(f"/crl/{pki.issuing.slug}.crl")

    assert certificate["Content-Type"] == "application/pkix-cert"
    assert x509.load_der_x509_certificate(certificate.content).subject
    assert crl["Content-Type"] == "application/pkix-crl"
    assert x509.load_der_x509_crl(crl.content).issuer
    assert "max-age" in crl["Cache-Control"]
    assert crl["ETag"]


NOT_THERE = [
    "/ca/none.cer",
    *(f"/crl/{name}.crl" for name in ("none", "none-delta", "none-1", "delta", "1")),
    *(f"/crl/test-issuing-{last}.crl" for last in ("delta", "1", "01", "0", "x", "9999")),
    "/ocsp/none/",
]


@pytest.mark.parametrize("path", NOT_THERE)
def test_unknown_authority_is_not_found(pki, path):
    assert Visitor(serves="public").get(path).status_code == 404


def test_each_crl_has_its_address(pki, at):
    crl.configure(actor="a", authority=pki.issuing, crl_partitions=2, has_delta_crls=True, at=at)
    visitor, tags = Visitor(serves="public"), set()
    for scope in crl.scopes(CertificateAuthority.objects.get(pk=pki.issuing.pk)):
        answer = visitor.get(f"/crl/{crl.file_name(pki.issuing, scope)}")
        assert answer.content == bytes(crl.latest(pki.issuing, scope).der)
        assert answer["Content-Type"] == "application/pkix-crl"
        tags.add(answer["ETag"])
    assert len(tags) == 4


def test_crl_of_a_ca_that_is_called_like_a_partition(pki):
    CertificateAuthority.objects.filter(pk=pki.root.pk).update(slug="test-issuing-2")
    answer = Visitor(serves="public").get("/crl/test-issuing-2.crl")
    assert answer.content == bytes(crl.latest(pki.root).der)


def test_crl_that_is_known_is_not_sent_again(pki, at):
    visitor, path = Visitor(serves="public"), "/crl/test-issuing.crl"
    first = visitor.get(path)
    for name, value in (
        ("If-None-Match", first["ETag"]),
        ("If-Modified-Since", first["Last-Modified"]),
    ):
        again = visitor.get(path, headers={name: value})
        assert (again.status_code, again.content) == (304, b"")
        assert again["ETag"] == first["ETag"]
        assert "max-age" in again["Cache-Control"]
    crl.publish(authority=pki.issuing, actor="a", at=at)
    newer = visitor.get(path, headers={"If-None-Match": first["ETag"]})
    assert newer.status_code == 200
    assert newer["ETag"] != first["ETag"]


@pytest.mark.parametrize(("left", "age"), [(3600, 60), (30, 30), (0, 0), (-3600, 0)])
def test_crl_is_kept_a_minute_but_never_beyond_its_end(pki, left, age):
    ends = timezone.now() + dt.timedelta(seconds=left)
    RevocationList.objects.filter(authority=pki.issuing).update(next_update=ends)
    kept = Visitor(serves="public").get("/crl/test-issuing.crl")["Cache-Control"]
    seconds = int(re.search(r"max-age=(\d+)", kept)[1])
    assert age - 25 <= seconds <= age


def asked(device, pki):
    issuer = x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der))
    builder = ocsp.OCSPRequestBuilder().add_certificate(device.x509, issuer, SHA256())
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("method", ["get", "post"])
def test_ocsp_follows_a_revocation_at_once(pki, device, at, method):
    request, visitor = asked(device, pki), Visitor(serves="public")

    def status():
        path = f"/ocsp/{pki.issuing.slug}/"
        if method == "get":
            answer = visitor.get(path + quote(base64.b64encode(request).decode(), safe=""))
        else:
            answer = visitor.post(path, request, content_type="application/ocsp-request")
        assert answer["Content-Type"] == "application/ocsp-response"
        return ocsp.load_der_ocsp_response(answer.content).certificate_status

    assert status() is ocsp.OCSPCertStatus.GOOD
    revocation.revoke(actor="a", certificate=device.certificate, reason="superseded", at=at)
    assert status() is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize("body", [b"", b"garbage", b"x" * 10_000, b"\x30\x03\x02\x01\x01"])
def test_malformed_ocsp_request_gets_an_ocsp_answer(pki, body):
    answer = Visitor(serves="public").post(
        f"/ocsp/{pki.issuing.slug}/", body, content_type="application/ocsp-request"
    )
    status = ocsp.load_der_ocsp_response(answer.content).response_status
    assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_ocsp_without_the_key_says_try_later(pki, device, settings, tmp_path, caplog):
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    answer = Visitor(serves="public").post(
        f"/ocsp/{pki.issuing.slug}/", asked(device, pki), content_type="application/ocsp-request"
    )
    status = ocsp.load_der_ocsp_response(answer.content).response_status
    assert (answer.status_code, status) == (200, ocsp.OCSPResponseStatus.TRY_LATER)
    assert "gone.key is missing" in caplog.text


def test_everything_else_on_public_leads_to_main(pki):
    answer = Visitor(serves="public").get("/rooms/general/?a=1")
    assert answer.status_code == 302
    assert answer["Location"] == "https://localhost:8443/rooms/general/?a=1"


# --- devices --------------------------------------------------------------------------------


def test_person_sees_their_own_devices_only(pki, people, device):
    theirs = make_device(people.bob, pki.issuing, device="bobs-tablet")
    page = Visitor(device.chain).get("/devices/").content.decode()

    assert device.certificate.serial in page
    assert theirs.certificate.serial not in page
    assert "bobs-tablet" not in page


def test_adding_a_device_shows_a_link_once(pki, device, at):
    visitor = Visitor(device.chain)
    page = visitor.post("/devices/", {"device": "phone"}).content.decode()

    link = re.search(r"https://localhost:8444(/enrol/[\w-]+/)", page)
    assert Visitor(serves="enrol").get(link[1]).status_code == 200
    assert "/enrol/" not in visitor.get("/devices/").content.decode()


def test_person_revokes_their_lost_device_from_another(pki, alice, device):
    lost = make_device(alice, pki.issuing, device="phone")
    path = f"/devices/{lost.certificate.pk}/revoke/"
    assert Visitor(lost.chain).get("/devices/").status_code == 200

    Visitor(device.chain).post(path, {"reason": "keyCompromise"})

    assert Visitor(lost.chain).get("/devices/").status_code == 401
    assert Visitor(device.chain).get("/devices/").status_code == 200


def test_link_made_on_a_stolen_device_ends_when_that_device_is_revoked(pki, alice, device, at):
    stolen = make_device(alice, pki.issuing, device="phone")
    links = []
    for maker in (stolen, device):
        page = Visitor(maker.chain).post("/devices/", {"device": "new"}).content.decode()
        links.append(re.search(r"https://localhost:8444(/enrol/[\w-]+/)", page)[1])
        assert Visitor(serves="enrol").get(links[-1]).status_code == 200

    revocation.revoke(actor="a", certificate=stolen.certificate, reason="keyCompromise", at=at)

    assert Visitor(serves="enrol").get(links[0]).status_code == 404
    assert Visitor(serves="enrol").get(links[1]).status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_revokes_or_sees_the_device_of_somebody_else(pki, people, device, method):
    bob = make_device(people.bob, pki.issuing)
    path = f"/devices/{device.certificate.pk}/revoke/"
    visitor, fields = Visitor(bob.chain), {"reason": "keyCompromise"}
    answer = visitor.get(path) if method == "get" else visitor.post(path, fields)

    assert answer.status_code == 404
    device.certificate.refresh_from_db()
    assert device.certificate.revoked_at is None


@pytest.mark.parametrize("reason", ["removeFromCRL", "cACompromise", "certificateHold"])
def test_revoking_needs_a_reason_that_people_can_have(pki, device, reason):
    """A hold among them: who put their own device on hold could not come in to release it."""
    path = f"/devices/{device.certificate.pk}/revoke/"
    assert f'value="{reason}"' not in Visitor(device.chain).get(path).content.decode()
    Visitor(device.chain).post(path, {"reason": reason})

    device.certificate.refresh_from_db()
    assert device.certificate.revoked_at is None


# --- health ---------------------------------------------------------------------------------


def test_healthz_and_readyz_answer_without_a_certificate(pki):
    assert Visitor().get("/healthz").content == b"ok\n"
    ready = Visitor().get("/readyz")
    assert ready.json() == {
        "ready": True,
        "parts": {"database": "ok", "channel_layer": "ok", "ca_key": "ok", "crl": "ok"},
    }


def test_readyz_names_the_part_and_tells_the_reason_to_the_log_alone(
    pki, settings, tmp_path, caplog
):
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    ready = Visitor().get("/readyz")

    assert ready.status_code == 503
    assert ready.json()["parts"]["ca_key"] == "failing"
    assert ready.json()["parts"]["database"] == "ok"
    assert "gone.key" not in ready.content.decode()
    assert "gone.key is missing" in caplog.text


def test_readyz_fails_once_a_crl_is_stale(pki, at):
    pki.issuing.crls.update(next_update=at)
    assert Visitor().get("/readyz").json()["parts"]["crl"] == "failing"


def test_readyz_fails_once_the_crl_of_any_ca_with_a_key_here_is_stale(pki, at):
    """A `required` endpoint judges the whole path, roots included."""
    pki.root.crls.update(next_update=at)
    assert Visitor().get("/readyz").json()["parts"]["crl"] == "failing"
    Certificate.objects.filter(pk=pki.root.certificate_id).update(not_after=at - dt.timedelta(1))
    assert Visitor().get("/readyz").json()["parts"]["crl"] == "ok"


def test_readyz_fails_while_a_crl_is_of_the_future(pki, at):
    year = dt.timedelta(days=365)
    pki.issuing.crls.update(this_update=at + year, next_update=at + year + dt.timedelta(7))
    assert Visitor().get("/readyz").json()["parts"]["crl"] == "failing"
