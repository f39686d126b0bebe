from __future__ import annotations

import pytest

from pki import authorities
from pki.models import Anchor, AuditEntry, Endpoint, TrustStore
from tests.factories import make_server_certificate
from tests.pki.admin.conftest import said, text_of

LIST = "/console/pki/truststore/"


def page(store, name="change"):
    return f"{LIST}{store.pk}/{name}/"


@pytest.fixture
def store(pki):
    return pki.truststore


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
    assert f"/truststore/{made.pk}/export/" not in text_of(console.get(page(made)))


def test_taken_name_is_a_sentence_on_the_form(console, store):
    response = console.post(f"{LIST}add/", {"name": "chat"})

    assert "already" in text_of(response)
    assert TrustStore.objects.count() == 1


def test_root_of_ours_is_added(console, store, at):
    root = authorities.create_authority(actor="tests", name="Second Root", at=at)

    console.post(page(store, "add-anchor"), {"authority": root.pk})

    assert Anchor.objects.get(truststore=store, authority=root)


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


def dates(store):
    return f"{LIST}{store.pk}/anchors/{store.anchors.get().pk}/dates/"


def test_anchor_is_given_dates_and_shows_them(console, store):
    console.post(
        dates(store), {"trusted_from": "2026-01-02T03:04", "trusted_until": "2036-05-06T07:08"}
    )

    anchor = store.anchors.get()
    assert (anchor.trusted_from.hour, anchor.trusted_until.year) == (3, 2036)
    shown = text_of(console.get(page(store)))
    assert "from 2 Jan 2026, 03:04 UTC until 6 May 2036, 07:08 UTC" in shown
    assert 'value="2026-01-02T03:04"' in text_of(console.get(dates(store)))

    console.post(dates(store), {"trusted_from": "", "trusted_until": ""})
    anchor.refresh_from_db()
    assert (anchor.trusted_from, anchor.trusted_until) == (None, None)


def test_dates_that_never_meet_are_a_sentence(console, store):
    refused = console.post(
        dates(store), {"trusted_from": "2036-01-01T00:00", "trusted_until": "2026-01-01T00:00"}
    )
    assert "must come after the first" in text_of(refused)


def test_recognition_is_off_until_somebody_who_may_issue_says_otherwise(console, clerk, store):
    assert store.recognises == "nobody"
    assert "how_to_reg" in text_of(console.get(page(store)))
    for rights in (["change_truststore"], ["issue_certificate"]):
        visitor = clerk("view_truststore", *rights)
        refused = visitor.post(page(store, "recognition"), {"recognises": "email"})
        assert refused.status_code == 404
    store.refresh_from_db()
    assert store.recognises == "nobody"

    response = console.post(page(store, "recognition"), {"recognises": "email"})

    assert "by its e-mail address" in said(console, response)[0]
    store.refresh_from_db()
    assert store.recognises == "email"
    assert AuditEntry.objects.get(action="truststore.recognition_set").actor == "admin"


def test_trusting_needs_the_right(clerk, store):
    looker = clerk("view_truststore")
    assert looker.get(page(store)).status_code == 200
    assert "Withdraw" not in text_of(looker.get(page(store)))
    assert looker.get(page(store, "add-anchor")).status_code == 404
    assert looker.post(withdrawal(store)).status_code == 404
    assert looker.post(dates(store), {}).status_code == 404
    assert looker.post(page(store, "import-crl")).status_code == 404
    assert looker.post(page(store, "recognition"), {"recognises": "email"}).status_code == 404
    assert store.anchors.count() == 1

    assert clerk("view_truststore", "change_truststore").post(withdrawal(store)).status_code == 302
    assert store.anchors.count() == 0
