"""Endpoints: what may be changed about them, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pki import endpoints
from pki.changes import current_version
from pki.errors import RequestError
from pki.models import AuditEntry, CertificateAuthority, Endpoint
from tests import certs
from tests.factories import make_server_certificate


@pytest.fixture
def enrol(pki):
    return endpoint_of(pki, "enrol", 8444)


def endpoint_of(pki, name, port, **fields):
    certificate = make_server_certificate(pki.issuing, hosts=("localhost",))
    return Endpoint.objects.create(
        name=name, port=port, certificate=certificate, **{"serves": "enrol", **fields}
    )


def changed(endpoint, at, **changes):
    return endpoints.change_endpoint(
        actor="admin", endpoint=endpoint, changes=changes, probe=False, at=at
    )


PLAIN = {"tls": False, "serves": "enrol", "client_certificate": "none"}
GOOD = {
    "tls": True,
    "serves": "main",
    "address": "0.0.0.0",
    "certificate": "a certificate",
    "client_certificate": "optional",
    "truststore": "a store",
}


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({}, []),
        ({"client_certificate": "required"}, []),
        ({"max_connections": 20, "max_per_address": 10}, []),
        ({"max_connections": 19}, ["max_connections"]),
        ({"max_per_address": 9}, ["max_per_address"]),
        ({"serves": "enrol", "client_certificate": "none", "truststore": None}, []),
        ({"certificate": None}, ["certificate"]),
        ({"truststore": None}, ["truststore"]),
        ({"client_certificate": "required", "truststore": None}, ["truststore"]),
        ({"client_certificate": "none"}, ["client_certificate"]),
        ({"tls": False}, ["tls", "tls"]),
        ({"tls": False, "serves": "public", "client_certificate": "none"}, []),
        ({"tls": False, "serves": "enrol", "client_certificate": "none"}, ["tls"]),
        (
            {"tls": False, "serves": "enrol", "client_certificate": "none", "address": "127.0.0.1"},
            [],
        ),
        ({"tls": False, "serves": "enrol", "client_certificate": "none", "address": "::1"}, []),
        ({"serves": "chat", "client_certificate": "none"}, ["client_certificate"]),
        ({"serves": "console", "client_certificate": "none"}, ["client_certificate"]),
        (PLAIN | {"plain_anyway": True}, []),
        (PLAIN | {"proxy": "protocol", "proxy_addresses": "192.0.2.1"}, []),
        (PLAIN | {"proxy": "protocol"}, ["tls", "proxy_addresses"]),
        (PLAIN | {"proxy_addresses": "192.0.2.1"}, ["tls", "proxy"]),
        ({"tls": False, "proxy": "header", "proxy_addresses": "192.0.2.0/24"}, []),
        ({"tls": False, "proxy": "protocol", "proxy_addresses": "192.0.2.0/24"}, ["tls"]),
        ({"proxy": "protocol", "proxy_addresses": "192.0.2.1/24"}, ["proxy_addresses"]),
        ({"proxy": "protocol", "proxy_addresses": "proxy.example"}, ["proxy_addresses"]),
        ({"proxy": "protocol", "proxy_addresses": "::1, ::/0"}, ["proxy_addresses"]),
        ({"serves": "line"}, []),
        ({"serves": "line", "client_certificate": "none"}, ["client_certificate"]),
        (
            {"serves": "line", "tls": False, "proxy": "header", "proxy_addresses": "::1"},
            ["client_certificate"],
        ),
    ],
)
def test_endpoint_is_refused_with_a_sentence_at_the_field(changed, fields):
    assert [field for field, _ in endpoints.faults(GOOD | changed)] == fields


def test_proxies_are_addresses_and_networks():
    found = endpoints.proxy_networks("192.0.2.7, 198.51.100.0/24\n 2001:db8::/32")
    assert [str(one) for one in found] == ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"]
    assert endpoints.proxy_networks(" ") == []
    with pytest.raises(RequestError, match=r"proxy\.example is neither an address nor a network"):
        endpoints.proxy_networks("192.0.2.7 proxy.example")


def test_change_is_saved_recorded_and_announced(enrol, at):
    version = current_version()
    assert changed(enrol, at, port=9000, enabled=False).port == 9000

    enrol.refresh_from_db()
    assert (enrol.port, enrol.enabled) == (9000, False)
    entry = AuditEntry.objects.get(action="endpoint.changed")
    assert (entry.actor, entry.target) == ("admin", "enrol")
    assert entry.detail == {"port": "9000", "enabled": "False"}
    assert current_version() == version + 1


def test_change_of_nothing_is_no_entry(enrol, at):
    changed(enrol, at)
    assert not AuditEntry.objects.filter(action="endpoint.changed").exists()


def test_change_saves_what_it_names_and_nothing_else(enrol, at):
    Endpoint.objects.filter(pk=enrol.pk).update(enabled=False)
    assert enrol.enabled
    changed(enrol, at, port=9000)
    enrol.refresh_from_db()
    assert (enrol.port, enrol.enabled) == (9000, False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"certificate": None}, "TLS needs a server certificate"),
        ({"serves": "main"}, "Nobody could sign in here"),
        ({"tls": False, "address": "0.0.0.0"}, "Without TLS everybody"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"address": "nowhere"}, "valid IPv4 or IPv6"),
        ({"name": "other"}, "cannot be changed: name"),
        ({"port": 8080}, "has 127.0.0.1 port 8080"),
    ],
)
def test_bad_change_is_a_sentence_and_changes_nothing(pki, enrol, at, changes, sentence):
    endpoint_of(pki, "public", 8080, serves="public")
    changes_made = AuditEntry.objects.exclude(action__endswith=".refused")
    before, entries = Endpoint.objects.values().get(pk=enrol.pk), changes_made.count()

    with pytest.raises(RequestError, match=sentence):
        changed(enrol, at, **changes)

    assert Endpoint.objects.values().get(pk=enrol.pk) == before
    assert changes_made.count() == entries


def test_certificate_of_a_person_serves_no_endpoint(pki, enrol, at):
    with pytest.raises(RequestError):
        changed(enrol, at, certificate=pki.issuing.certificate)


def test_taken_name_is_a_sentence(pki, enrol, at):
    twin = Endpoint(name="enrol", port=9999, certificate=enrol.certificate, serves="enrol")
    with pytest.raises(RequestError, match="called enrol"):
        endpoints.create_endpoint(actor="admin", endpoint=twin, probe=False, at=at)
    assert Endpoint.objects.count() == 1


def test_renewal_issues_and_puts_in_force_and_leaves_the_one_before(enrol, at):
    before, version = enrol.certificate, current_version()
    made = endpoints.renew_certificate(
        actor="admin", endpoint=enrol, hosts=["chat.example.org"], at=at
    )

    enrol.refresh_from_db()
    assert enrol.certificate == made != before
    before.refresh_from_db()
    assert before.revoked_at is None
    assert current_version() == version + 1


def test_certificate_beside_another_stays_until_it_takes_its_place(enrol, at):
    first = enrol.certificate
    beside = endpoints.renew_certificate(
        actor="admin", endpoint=enrol, hosts=["localhost"], algorithm="p384", beside=True, at=at
    )
    enrol.refresh_from_db()
    assert endpoints.certificates_of(enrol) == [first, beside]

    changed(enrol, at, certificate=beside, further_certificates=[first])
    enrol.refresh_from_db()
    assert endpoints.certificates_of(enrol) == [beside, first]
    detail = AuditEntry.objects.first().detail
    assert detail["further_certificates"] == [first.sha256]


def test_endpoint_without_tls_has_no_certificate_to_renew(pki, at):
    public = endpoint_of(pki, "public", 8080, serves="public", tls=False)
    with pytest.raises(RequestError, match="no TLS"):
        endpoints.renew_certificate(actor="admin", endpoint=public, hosts=["localhost"], at=at)
    with pytest.raises(RequestError, match="no TLS"):
        imported(public, certs.make_ca("Any").issue("any"), at)


def imported(endpoint, leaf, at):
    root = leaf.issuers[-1].public_bytes(Encoding.PEM)
    return endpoints.import_certificate(
        actor="admin",
        endpoint=endpoint,
        data=leaf.pem + leaf.key_pem,
        password=None,
        chain=root,
        at=at,
    )


def test_certificate_from_elsewhere_is_put_in_force_recorded_and_announced(enrol, at):
    before, version = enrol.certificate, current_version()
    leaf = certs.make_ca("Elsewhere").issue("localhost", purposes=certs.SERVER, hosts=["localhost"])
    made = imported(enrol, leaf, at)

    enrol.refresh_from_db()
    assert (enrol.certificate, bytes(made.der)) == (made, leaf.der)
    assert current_version() > version
    entry = AuditEntry.objects.get(action="endpoint.changed")
    assert (entry.actor, entry.target, entry.detail["sha256"]) == ("admin", "enrol", made.sha256)
    before.refresh_from_db()
    assert before.revoked_at is None


def test_certificate_from_elsewhere_that_is_none_of_a_server_changes_nothing(enrol, at):
    before, authorities = enrol.certificate, CertificateAuthority.objects.count()
    with pytest.raises(RequestError, match="not for servers"):
        imported(enrol, certs.make_ca("Elsewhere").issue("alice", hosts=["localhost"]), at)

    enrol.refresh_from_db()
    assert enrol.certificate == before
    assert CertificateAuthority.objects.count() == authorities
    assert AuditEntry.objects.first().action == "endpoint.import_certificate.refused"


def test_endpoint_is_removed_once_it_is_off(enrol, at):
    with pytest.raises(RequestError, match="Switch it off first"):
        endpoints.remove_endpoint(actor="admin", endpoint=enrol, at=at)
    changed(enrol, at, enabled=False)
    endpoints.remove_endpoint(actor="admin", endpoint=enrol, at=at)

    assert not Endpoint.objects.exists()
    assert AuditEntry.objects.first().action == "endpoint.removed"
    with pytest.raises(RequestError, match="removed meanwhile"):
        changed(enrol, at, enabled=True)


def test_removal_that_is_refused_is_in_the_trail_and_says_why(enrol, at):
    with pytest.raises(RequestError, match="is on"):
        endpoints.remove_endpoint(actor="admin", endpoint=enrol, at=at)
    assert AuditEntry.objects.first().action == "endpoint.remove.refused"
    enrol.enabled = False
    enrol.save()
    endpoints.remove_endpoint(actor="admin", endpoint=enrol, at=at)
    with pytest.raises(RequestError, match="was removed meanwhile"):
        endpoints.remove_endpoint(actor="admin", endpoint=enrol, at=at)
