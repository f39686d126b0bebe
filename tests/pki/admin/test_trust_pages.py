from __future__ import annotations

import datetime as dt
import re
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from django.core.files.uploadedfile import SimpleUploadedFile

from pki import bundles, imports, truststore
from pki.bundles import Format
from pki.description import colons
from pki.models import AuditEntry, Certificate
from tests.certs import make_ca
from tests.factories import make_endpoint
from tests.pki.admin.conftest import said, text_of
from tests.pki.client import ConsoleVisitor
from tests.services import require

LIST = "/console/pki/truststore/"
PARTNER = make_ca("Partner Root")
LOWER = PARTNER.make_ca("Partner Issuing")


def page(store, name="change"):
    return f"{LIST}{store.pk}/{name}/"


@pytest.fixture
def store(pki):
    return pki.truststore


def upload(content, name="file"):
    return SimpleUploadedFile(name, content)


def confirmed(visitor, store, asked, chosen):
    carried = asked.context["form"].initial["certificates"]
    return visitor.post(page(store, "add-anchor"), {"certificates": carried, "chosen": chosen})


# --- In -------------------------------------------------------------------------------------


def test_file_is_shown_before_anything_is_trusted(console, store):
    asked = console.post(
        page(store, "add-anchor"),
        {"file": upload(PARTNER.pem + LOWER.pem + LOWER.issue("mallory").pem)},
    )

    shown = text_of(asked)
    assert colons(sha256(PARTNER.der).hexdigest()) in shown
    assert "will be trusted as a root" in shown
    assert "will be known as a CA below a root" in shown
    assert "is not a CA" in shown
    assert shown.count('type="checkbox" name="chosen"') == 2
    assert store.anchors.count() == 1

    response = confirmed(console, store, asked, re.findall(r'name="chosen" value="(\w+)"', shown))

    assert said(console, response) == [
        "chat trusts CN=Partner Root now.",
        "Partner Issuing is known as a CA below.",
    ]
    assert "from elsewhere" in text_of(console.get(page(store)))
    assert AuditEntry.objects.filter(action="anchor.added", actor="admin").count() == 1


def test_only_what_is_marked_is_trusted(console, store):
    other = make_ca("Other Root")
    asked = console.post(page(store, "add-anchor"), {"pasted": (PARTNER.pem + other.pem).decode()})

    confirmed(console, store, asked, [sha256(other.der).hexdigest()])

    assert set(store.anchors.values_list("subject", flat=True)) == {"CN=Test Root", "CN=Other Root"}


def test_nothing_marked_is_a_sentence(console, store):
    asked = console.post(page(store, "add-anchor"), {"pasted": PARTNER.pem.decode()})
    refused = confirmed(console, store, asked, [])
    assert "Choose at least one" in text_of(refused)
    assert store.anchors.count() == 1


def test_leaf_that_is_marked_all_the_same_is_refused(console, store):
    """The page offers no box for it; who sends one anyway is refused by the verb."""
    leaf = LOWER.issue("mallory")
    asked = console.post(page(store, "add-anchor"), {"pasted": leaf.pem.decode()})
    refused = confirmed(console, store, asked, [sha256(leaf.der).hexdigest()])
    assert refused.status_code == 400
    assert "is not a CA" in text_of(refused)
    assert store.anchors.count() == 1


def test_pkcs12_asks_for_its_password(console, store):
    packed = bundles.pack(
        [PARTNER.certificate], format=Format.PKCS12, name="x", password="open sesame"
    ).content
    refused = console.post(page(store, "add-anchor"), {"file": upload(packed)})
    assert "Give its password" in text_of(refused)
    asked = console.post(
        page(store, "add-anchor"), {"file": upload(packed), "password": "open sesame"}
    )
    assert "CN=Partner Root" in text_of(asked)


def test_what_is_no_root_is_refused_with_a_sentence(console, store, pki):
    for fields, sentence in (
        ({}, "Give one root"),
        ({"pasted": PARTNER.pem.decode(), "authority": pki.root.pk}, "Give one root"),
        ({"pasted": "garbage"}, "no certificates that can be read"),
        ({"authority": pki.root.pk}, "has this root already"),
    ):
        response = console.post(page(store, "add-anchor"), fields)
        assert response.status_code == 400
        assert sentence in text_of(response), sentence
    assert store.anchors.count() == 1


def test_root_in_a_store_that_recognises_needs_the_right_to_issue(clerk, store, at):
    """Whoever brings a root of their own would name themselves whom they like."""
    truster = clerk("view_truststore", "change_truststore")
    assert truster.get(page(store, "add-anchor")).status_code == 200
    truststore.set_recognition(actor="admin", truststore=store, recognises="email", at=at)
    assert truster.get(page(store, "add-anchor")).status_code in (403, 404)
    refused = truster.post(page(store, "add-anchor"), {"certificates": PARTNER.pem.decode()})
    assert refused.status_code in (403, 404)
    assert store.anchors.count() == 1
    both = clerk("view_truststore", "change_truststore", "issue_certificate")
    assert both.get(page(store, "add-anchor")).status_code == 200


def test_crl_is_imported_and_revokes(console, store, alice, at):
    bring(store, at)
    leaf = LOWER.issue("alice")
    console.post(page(store, "adopt"), {"owner": alice.pk, "pasted": leaf.pem.decode()})
    row = Certificate.objects.get(owner=alice)

    found = LOWER.crl(leaf, number=9).public_bytes(Encoding.DER)
    response = console.post(page(store, "import-crl"), {"file": upload(found)})

    assert any("with 1 entries" in message for message in said(console, response))
    row.refresh_from_db()
    assert row.revoked_at is not None
    again = console.post(page(store, "import-crl"), {"file": upload(found)})
    assert "is here already" in text_of(again)


def bring(store, at):
    imports.import_anchors(
        actor="admin",
        truststore=store,
        certificates=[PARTNER.certificate, LOWER.certificate],
        at=at,
    )
    for ca in (PARTNER, LOWER):
        imports.import_crl(actor="admin", crl=ca.crl(), at=at)


def test_certificate_is_adopted_for_a_person(console, pki, store, alice, at):
    bring(store, at)
    make_endpoint(pki, store)
    leaf = LOWER.issue("whoever")
    visitor = ConsoleVisitor(leaf.chain)
    assert visitor.get("/devices/").status_code == 401

    response = console.post(
        page(store, "adopt"),
        {"owner": alice.pk, "device": "partner card", "pasted": leaf.pem.decode()},
    )

    row = Certificate.objects.get(owner=alice)
    assert response.url == f"/console/pki/certificate/{row.pk}/change/"
    assert (row.device, row.is_outside) == ("partner card", True)
    assert visitor.get("/devices/").status_code == 200
    assert AuditEntry.objects.get(action="certificate.adopted").actor == "admin"


def test_adopting_needs_the_right_to_issue(clerk, store, people, at):
    bring(store, at)
    fields = {"owner": people.alice.pk, "pasted": LOWER.issue("alice").pem.decode()}
    truster = clerk("view_truststore", "change_truststore")
    assert truster.post(page(store, "adopt"), fields).status_code in (403, 404)
    assert not Certificate.objects.filter(owner=people.alice).exists()

    issuer = clerk("view_truststore", "issue_certificate")
    refused = issuer.post(page(store, "adopt"), fields | {"owner": people.admin.pk})
    assert refused.status_code == 400
    assert not Certificate.objects.filter(owner=people.admin, is_outside=True).exists()
    issuer.post(page(store, "adopt"), fields)
    assert Certificate.objects.filter(owner=people.alice).exists()


# --- Out ------------------------------------------------------------------------------------


def export(store, format):
    return f"{LIST}{store.pk}/export/{format}/"


@pytest.mark.parametrize("format", [one for one in Format if not one.has_password])
def test_store_is_downloaded(console, store, format):
    if format is Format.NSS:
        require("certutil")
    assert f"/export/{format}/" in text_of(console.get(page(store)))
    got = console.get(export(store, format))
    assert got.status_code == 200
    assert got["Content-Disposition"].startswith('attachment; filename="chat')
    assert got.content


def test_download_holds_all_anchors(console, store, at):
    bring(store, at)
    pem = console.get(export(store, "pem"))
    subjects = [c.subject.rfc4514_string() for c in x509.load_pem_x509_certificates(pem.content)]
    assert subjects == ["CN=Test Root", "CN=Partner Root"]
    assert "/export/der/" not in text_of(console.get(page(store)))
    assert "DER holds one" in text_of(console.get(export(store, "der")))


def test_formats_are_offered_for_the_anchors_in_force(console, store, at):
    bring(store, at)
    assert "/export/der/" not in text_of(console.get(page(store)))
    later = store.anchors.get(subject="CN=Partner Root")
    truststore.date_anchor(
        actor="admin",
        anchor=later,
        trusted_from=at + dt.timedelta(days=9),
        trusted_until=None,
        at=at,
    )
    assert "/export/der/" in text_of(console.get(page(store)))
    assert console.get(export(store, "der")).status_code == 200


@pytest.mark.parametrize("format", ["pkcs12", "java"])
def test_password_is_shown_before_the_file_is_made(console, store, format):
    shown = console.get(export(store, format))
    assert shown["Content-Type"].startswith("text/html")
    password = shown.context["form"].initial["password"]
    assert password in text_of(shown)

    got = console.post(export(store, format), {"password": password})

    opened = pkcs12.load_pkcs12(got.content, password.encode())
    assert len(opened.additional_certs) == 1
    assert "at least 6" in text_of(console.post(export(store, format), {"password": "abc"}))


def test_unknown_format_is_not_found(console, store):
    assert console.get(export(store, "exe")).status_code == 404


def test_strangers_and_people_without_the_right_export_nothing(clerk, store, people):
    assert ConsoleVisitor().get(export(store, "pem")).status_code == 401
    refused = clerk("view_user").get(export(store, "pem"))
    assert refused.status_code in (403, 404)
    assert b"BEGIN CERTIFICATE" not in refused.content
