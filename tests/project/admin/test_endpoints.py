"""The button that tries an endpoint out."""

from __future__ import annotations

import pytest

from pki.models import AuditEntry, Certificate, Endpoint
from tests.factories import make_endpoint
from tests.pki.admin.conftest import text_of
from tests.project.tls.conftest import free_port

BUTTON = "Test this endpoint"


@pytest.fixture
def endpoint(pki):
    row = make_endpoint(pki, pki.truststore, port=free_port())
    Endpoint.objects.filter(pk=row.pk).update(address="127.0.0.1")
    return row


def page(endpoint, name):
    return f"/console/pki/endpoint/{endpoint.pk}/{name}/"


def test_to_look_at_the_page_does_nothing_yet(console, endpoint):
    assert BUTTON in text_of(console.get(page(endpoint, "change")))

    shown = text_of(console.get(page(endpoint, "test")))

    assert "certificates for it last minutes" in shown
    assert not Certificate.objects.filter(profile="endpoint-test").exists()


def test_endpoint_that_nobody_serves_is_said_in_a_sentence(console, endpoint):
    response = console.post(page(endpoint, "test"))

    assert response.status_code == 400
    assert "Nobody answers on 127.0.0.1 port" in text_of(response)


def test_results_are_sentences(console, endpoint):
    Endpoint.objects.filter(pk=endpoint.pk).update(
        tls=False, client_certificate="none", truststore=None
    )

    response = console.post(page(endpoint, "test"))

    assert response.status_code == 200
    shown = text_of(response)
    assert "All is as it should be." in shown
    assert "has no TLS: there is no handshake to test." in shown
    entry = AuditEntry.objects.filter(action="endpoint.tested").get()
    assert (entry.actor, entry.target) == ("admin", "main")


@pytest.mark.parametrize(
    "rights",
    [
        ("view_endpoint",),
        ("view_endpoint", "issue_certificate"),
        ("view_endpoint", "revoke_certificate"),
    ],
)
def test_who_may_not_issue_and_revoke_may_not_test(clerk, endpoint, rights):
    visitor = clerk(*rights)

    assert BUTTON not in text_of(visitor.get(page(endpoint, "change")))
    assert visitor.get(page(endpoint, "test")).status_code == 404
    assert visitor.post(page(endpoint, "test")).status_code == 404
    assert not AuditEntry.objects.filter(action="endpoint.tested").exists()


def test_who_may_issue_and_revoke_may_test(clerk, endpoint):
    visitor = clerk("view_endpoint", "issue_certificate", "revoke_certificate")

    assert BUTTON in text_of(visitor.get(page(endpoint, "change")))
    assert visitor.get(page(endpoint, "test")).status_code == 200
