from __future__ import annotations

import datetime as dt

import pytest

from pki import people as people_verbs
from pki import revocation
from tests.certs import make_ca
from tests.client import Visitor
from tests.factories import make_device, make_pki

PAGES = ["/", "/rooms/general/", "/devices/", "/console/", "/devices/1/revoke/"]


@pytest.fixture
def device(pki, alice):
    return make_device(alice, pki.issuing)


def whoami(visitor):
    return visitor.get("/whoami").json()


def test_person_is_who_the_certificate_says(device, alice):
    facts = whoami(Visitor(device.chain))

    assert facts["user"] == {"id": alice.pk, "username": "alice", "name": "Alice"}
    assert facts["certificate"]["presented"] is True
    assert facts["certificate"]["authorized"] is True
    assert facts["certificate"]["authorization_error"] is None
    assert facts["certificate"]["serial"] == device.certificate.serial
    assert facts["certificate"]["sha256"] == device.certificate.sha256
    assert facts["tls"] == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "alpn": "http/1.1",
        "resumed": False,
    }


@pytest.mark.parametrize("path", PAGES)
def test_page_is_refused_without_a_certificate(pki, people, path):
    response = Visitor().get(path)

    assert response.status_code == 401
    assert b"no certificate" in response.content.lower()
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_page_is_refused_to_a_stranger_with_a_certificate_of_the_same_name(pki, people, path):
    mallory = make_ca("Test Issuing").issue("alice")
    response = Visitor(mallory.chain).get(path)

    assert response.status_code == 401
    assert b"not issued here" in response.content


def test_revocation_ends_access_on_the_very_next_request(device, at):
    alice = Visitor(device.chain)
    assert alice.get("/devices/").status_code == 200

    revocation.revoke(actor="admin", certificate=device.certificate, reason="keyCompromise", at=at)

    response = alice.get("/devices/")
    assert response.status_code == 401
    assert b"revoked" in response.content
    assert b"lost or stolen" in response.content
    assert whoami(alice)["certificate"]["authorization_error"] == "certificate_revoked"
    assert whoami(alice)["user"] is None


def test_holder_of_a_certificate_on_hold_keeps_it(device, at):
    alice = Visitor(device.chain)
    revocation.revoke(
        actor="admin", certificate=device.certificate, reason="certificateHold", at=at
    )

    response = alice.get("/devices/")

    assert response.status_code == 401
    shown = response.content.decode()
    assert "<title>Certificate on hold" in shown
    assert "<h1>Your certificate is on hold</h1>" in shown
    assert "Keep the certificate installed" in shown
    assert "was revoked" not in shown
    assert "enrolment link" not in shown
    revocation.release(actor="admin", certificate=device.certificate, at=at)
    assert alice.get("/devices/").status_code == 200


def test_disabled_account_has_no_access(device, alice, at):
    visitor = Visitor(device.chain)
    assert visitor.get("/devices/").status_code == 200

    people_verbs.disable_person(actor="admin", user=alice, at=at)

    assert visitor.get("/devices/").status_code == 401
    assert whoami(visitor)["certificate"]["authorization_error"] == "account_disabled"


def test_expired_certificate_meets_its_own_page(db, alice, at):
    long_ago = at - dt.timedelta(days=400)
    old = make_device(alice, make_pki(at=long_ago).issuing, at=long_ago)
    response = Visitor(old.chain).get("/")

    assert response.status_code == 401
    assert b"expired" in response.content
    assert whoami(Visitor(old.chain))["certificate"]["authorization_error"] == "certificate_expired"


def test_server_certificate_of_ours_is_nobody(pki, alice):
    from tests.factories import make_server_certificate

    server = make_server_certificate(pki.issuing)
    facts = whoami(Visitor([bytes(server.der)]))

    assert facts["certificate"]["authorization_error"] == "wrong_purpose"
    assert facts["user"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Client-Cert": ":AAAA:"},
        {"X-Forwarded-User": "alice"},
        {"X-SSL-Client-Cert": "alice"},
        {"Authorization": "Basic YWxpY2U6YWxpY2U="},
        {"Cookie": "sessionid=alice; user=alice"},
    ],
)
def test_nothing_a_client_writes_makes_it_somebody(device, headers):
    assert Visitor().get("/whoami", headers=headers).json()["user"] is None
    assert Visitor().get("/devices/", headers=headers).status_code == 401


def test_json_client_is_refused_in_json(pki):
    response = Visitor().get("/devices/", headers={"Accept": "application/json"})

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "no_certificate"


@pytest.mark.parametrize("serves", ["enrol", "public"])
@pytest.mark.parametrize("path", ["/devices/", "/console/", "/whoami", "/rooms/general/"])
def test_other_endpoints_do_not_serve_what_is_for_people(device, serves, path):
    response = Visitor(device.chain, serves=serves).get(path)
    assert response.status_code in (404, 302)
    if response.status_code == 302:
        assert response["Location"] == f"https://localhost:8443{path}"


def test_content_security_policy_forbids_inline_script(device):
    for path in ("/", "/devices/", "/console/"):
        policy = Visitor(device.chain).get(path)["Content-Security-Policy"]
        directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert "unsafe-inline" not in directives["script-src"], path
        assert directives["default-src"] == "'none'", path
        assert directives["frame-ancestors"] == "'none'", path
