"""Rows → what to listen on."""

from __future__ import annotations

import datetime as dt

import pytest

from pki import truststore
from pki.models import Endpoint
from project.tls import configuration
from tests.factories import make_server_certificate

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(pki):
    return make_server_certificate(pki.issuing, hosts=("localhost",))


@pytest.fixture
def endpoint(pki, server):
    return Endpoint.objects.create(
        name="main",
        port=8443,
        certificate=server,
        client_certificate="required",
        truststore=pki.truststore,
        serves="main",
    )


def test_row_becomes_settings_and_contexts(endpoint, server):
    (wanted,) = configuration.load()
    assert wanted.contexts
    assert str(wanted.settings) == "main https://127.0.0.1:8443"
    assert wanted.settings.certificate == bytes(server.der)
    assert (wanted.contexts.policy, wanted.contexts.client_certificate) == (
        "intermediate",
        "required",
    )
    trust = wanted.contexts.trust
    assert trust
    assert [len(trust.anchors), len(trust.intermediates), len(trust.crls)] == [1, 1, 2]


def test_optional_loads_no_crls_and_none_no_trust(endpoint):
    Endpoint.objects.update(client_certificate="optional")
    (wanted,) = configuration.load()
    assert wanted.contexts
    assert wanted.contexts.full.cert_store_stats() == {"x509": 2, "x509_ca": 2, "crl": 0}
    Endpoint.objects.update(client_certificate="none")
    (wanted,) = configuration.load()
    assert wanted.contexts
    assert wanted.contexts.full.cert_store_stats() == {"x509": 0, "x509_ca": 0, "crl": 0}


def test_plain_endpoint_has_no_contexts(endpoint):
    Endpoint.objects.update(tls=False, client_certificate="none", address="::1")
    (wanted,) = configuration.load()
    assert wanted.contexts is None
    assert str(wanted.settings) == "main http://[::1]:8443"


def test_disabled_endpoint_is_not_wanted(endpoint):
    Endpoint.objects.update(enabled=False)
    assert configuration.load() == []


def test_further_certificates_are_by_name_as_long_as_they_are_valid(endpoint, pki, caplog):
    further = make_server_certificate(pki.issuing, hosts=("chat.example.org",))
    endpoint.further_certificates.add(further)
    (wanted,) = configuration.load()
    assert wanted.contexts
    assert set(wanted.contexts.named) == {"localhost", "chat.example.org"}

    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    further.__class__.objects.filter(pk=further.pk).update(
        not_before=long_ago, not_after=long_ago + dt.timedelta(days=1)
    )
    (wanted,) = configuration.load()
    assert wanted.contexts
    assert wanted.contexts.named == {}
    assert "does not use its certificate" in caplog.text


def test_stale_crl_is_said_loudly(endpoint, pki, caplog):
    pki.issuing.crls.update(next_update=dt.datetime.now(dt.UTC))  # the row alone changes nothing
    configuration.load()
    assert caplog.text == ""
    snapshot = truststore.snapshot(pki.truststore)
    configuration._warn_of_stale_crls(
        endpoint, snapshot, at=dt.datetime.now(dt.UTC) + dt.timedelta(days=8)
    )
    assert caplog.text.count("every certificate below it is refused there") == 2
