from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from pki import truststore
from pki.changes import current_version
from pki.models import Certificate, Endpoint
from tests import certs
from tests.e2e.server import free_ports
from tests.factories import make_server_certificate
from tests.pki.admin.conftest import entry_of, said, text_of

(FREE,) = free_ports(1)
LIST = "/console/pki/endpoint/"


def page(endpoint, name="change"):
    return f"{LIST}{endpoint.pk}/{name}/"


@pytest.fixture
def server(pki):
    return make_server_certificate(pki.issuing, hosts=("localhost", "127.0.0.1"))


@pytest.fixture
def main(pki, server):
    return Endpoint.objects.create(
        name="main",
        port=8443,
        certificate=server,
        client_certificate="optional",
        truststore=pki.truststore,
        serves="main",
    )


@pytest.fixture
def second(pki, server):
    return Endpoint.objects.create(
        name="second",
        port=9443,
        certificate=server,
        client_certificate="optional",
        truststore=pki.truststore,
        serves="main",
    )


def fields_of(endpoint, **changed):
    fields = {
        "name": endpoint.name,
        "serves": endpoint.serves,
        "address": endpoint.address,
        "port": endpoint.port,
        "enabled": "on",
        "tls": "on",
        "certificate": endpoint.certificate_id,
        "policy": endpoint.policy,
        "client_certificate": endpoint.client_certificate,
        "truststore": endpoint.truststore_id or "",
        "max_connections": endpoint.max_connections,
        "max_per_address": endpoint.max_per_address,
        "handshake_seconds": endpoint.handshake_seconds,
        "proxy": endpoint.proxy,
        "proxy_addresses": endpoint.proxy_addresses,
    } | changed
    return {name: value for name, value in fields.items() if value is not None}


def test_change_is_saved_recorded_and_announced_together(console, main, second):
    before = current_version()

    response = console.post(
        page(second), fields_of(second, client_certificate="required", port=FREE)
    )

    assert response.status_code == 302
    second.refresh_from_db()
    assert (second.client_certificate, second.port) == ("required", FREE)
    entry = entry_of("endpoint.changed")
    assert (entry.actor, entry.target) == ("admin", "second")
    assert entry.detail == {"client_certificate": "required", "port": str(FREE)}
    assert current_version() == before + 1


def test_change_that_cannot_be_recorded_is_not_made(console, second, monkeypatch):
    from pki import audit
    from pki.errors import AuditError

    def broken(**_):
        raise AuditError("The audit trail cannot be written: disk full.")

    monkeypatch.setattr(audit, "record", broken)
    response = console.post(page(second), fields_of(second, port=FREE))

    assert response.status_code == 409
    assert "disk full" in text_of(response)
    second.refresh_from_db()
    assert second.port == 9443


def test_faults_are_shown_on_the_form(console, second):
    response = console.post(page(second), fields_of(second, truststore=""))

    assert "name the trust store that judges them" in text_of(response)
    second.refresh_from_db()
    assert second.truststore is not None


def test_port_in_use_is_a_sentence(console, main, second):
    response = console.post(page(second), fields_of(second, port=8443))

    assert response.status_code == 200
    assert "Endpoint main has 127.0.0.1 port 8443." in text_of(response)


@pytest.mark.parametrize(
    "changed",
    [
        {"enabled": None},
        {"serves": "enrol"},
        {"serves": "chat"},
        {"tls": None, "client_certificate": "none", "truststore": "", "serves": "public"},
        {"proxy": "protocol", "proxy_addresses": "192.0.2.1"},
        {"address": "127.0.0.2"},
        {"port": FREE},
    ],
    ids=["off", "moved", "half", "plain", "behind a proxy", "elsewhere", "port"],
)
def test_nobody_saws_off_the_endpoint_they_sit_on(console, main, second, changed):
    response = console.post(page(main), fields_of(main, **changed))

    assert "You are using this endpoint right now" in text_of(response)
    main.refresh_from_db()
    assert (main.enabled, main.tls, main.serves, main.port) == (True, True, "main", 8443)


def test_page_says_when_it_can_be_deleted_and_least_limits(console, main):
    shown = text_of(console.get(page(main)))
    assert "switch it off first and save; then Delete appears" in shown

    refused = console.post(page(main), fields_of(main, max_connections=1, max_per_address=1))
    errors = refused.context["adminform"].form.errors
    assert "at least 20 connections" in errors["max_connections"][0]
    assert "at least 10 connections" in errors["max_per_address"][0]


def test_admin_whose_own_certificate_would_be_refused_is_told_at_the_field(
    console, pki, main, second
):
    foreign = truststore.create_truststore(actor="admin", name="partners", at=timezone.now())
    root = certs.make_ca("Partner Root")
    truststore.add_anchor(
        actor="admin", truststore=foreign, certificate=root.der, at=timezone.now()
    )

    response = console.post(page(main), fields_of(main, truststore=foreign.pk))
    errors = response.context["adminform"].form.errors
    assert "Your own certificate would be refused here" in errors["truststore"][0]
    main.refresh_from_db()
    assert main.truststore == pki.truststore

    assert console.post(page(second), fields_of(second, truststore=foreign.pk)).status_code == 302


def test_further_certificates_and_limits_are_chosen_on_the_page(console, pki, main, second):
    other = make_server_certificate(pki.issuing, hosts=("chat.example.org",))
    fields = fields_of(second, max_connections=70, further_certificates=[other.pk])
    assert console.post(page(second), fields).status_code == 302

    second.refresh_from_db()
    assert (second.max_connections, list(second.further_certificates.all())) == (70, [other])
    entry = entry_of("endpoint.changed")
    assert entry.detail == {"max_connections": "70", "further_certificates": [other.sha256]}


def test_new_certificate_may_stand_beside_with_another_kind_of_key(console, main, server):
    fields = {"hosts": "localhost", "algorithm": "p384", "beside": "on"}
    console.post(page(main, "renew"), fields)

    main.refresh_from_db()
    (beside,) = main.further_certificates.all()
    assert (main.certificate, beside.key.algorithm) == (server, "p384")
    shown = text_of(console.get(page(main)))
    for one in (main.certificate, beside):
        assert f'href="/console/pki/certificate/{one.pk}/change/">{one}' in shown


def test_list_says_what_is_wrong(console, main, second):
    assert "on</span>" in text_of(console.get(LIST))
    Certificate.objects.filter(pk=main.certificate_id).update(
        is_outside=True, not_after=timezone.now() + dt.timedelta(days=9, hours=1)
    )
    assert "certificate ends</span>" in text_of(console.get(LIST))
    assert "expires in 9 days; nobody but you can renew it" in text_of(console.get(page(main)))


def test_endpoint_is_removed_once_it_is_off(console, main, second):
    assert console.post(page(second, "delete"), {"post": "yes"}).status_code == 404

    console.post(page(second), fields_of(second, enabled=None))
    console.post(page(second, "delete"), {"post": "yes"})

    assert not Endpoint.objects.filter(pk=second.pk).exists()
    assert entry_of("endpoint.removed").target == "second"


def test_only_valid_server_certificates_can_be_chosen(console, pki, main, server):
    form = console.get(page(main)).context["adminform"].form

    assert list(form.fields["certificate"].queryset) == [server]


def test_new_certificate_is_issued_and_put_in_force(console, main, server):
    asked = text_of(console.get(page(main, "renew")))
    assert 'value="localhost, 127.0.0.1"' in asked

    response = console.post(page(main, "renew"), {"hosts": "localhost, chat.example.org"})

    done, warned = said(console, response)
    assert "new certificate" in done
    assert warned == "chat.example.org is not in SIGNET_HOST, so pages are not served under it."
    main.refresh_from_db()
    assert main.certificate != server
    assert main.certificate.key is not None
    entry = entry_of("endpoint.changed")
    assert entry.detail == {"hosts": ["localhost", "chat.example.org"]}


def test_impossible_host_is_a_sentence_on_the_form(console, main, server):
    response = console.post(page(main, "renew"), {"hosts": "not a host"})

    assert response.status_code == 400
    main.refresh_from_db()
    assert main.certificate == server


def test_new_endpoint_is_made_by_the_verb(console, second):
    fields = fields_of(second, name="third", port=FREE)
    response = console.post(f"{LIST}add/", fields)

    assert response.status_code == 302, text_of(response)
    assert Endpoint.objects.get(name="third").port == FREE
    assert entry_of("endpoint.created").target == "third"


def test_name_of_an_endpoint_stays(console, second):
    console.post(page(second), fields_of(second, name="other", port=FREE))

    second.refresh_from_db()
    assert (second.name, second.port) == ("second", FREE)


def test_changing_needs_the_right(clerk, second):
    looker = clerk("view_endpoint")
    assert looker.get(page(second)).status_code == 200
    looker.post(page(second), fields_of(second, port=FREE))
    assert looker.get(page(second, "renew")).status_code == 404
    second.refresh_from_db()
    assert second.port == 9443

    clerk("view_endpoint", "change_endpoint").post(page(second), fields_of(second, port=FREE))
    second.refresh_from_db()
    assert second.port == FREE


# --- From elsewhere -------------------------------------------------------------------------


def uploaded(leaf):
    above = b"".join(ca.public_bytes(Encoding.PEM) for ca in leaf.issuers)
    return {
        "file": SimpleUploadedFile("site.pem", leaf.pem + leaf.key_pem),
        "chain": SimpleUploadedFile("chain.pem", above),
    }


def test_certificate_from_elsewhere_is_put_in_force_and_its_chain_is_shown(console, main, settings):
    settings.SIGNET_HOSTS = ["localhost", "chat.example.org"]
    assert "Import certificate" in text_of(console.get(page(main)))
    issuing = certs.make_ca("Elsewhere Root", path_length=2).make_ca("Elsewhere Issuing")
    leaf = issuing.issue("localhost", purposes=certs.SERVER, hosts=["localhost"])

    done, warned = said(console, console.post(page(main, "import"), uploaded(leaf)))

    assert "has this certificate now" in done
    assert "does not name chat.example.org" in warned
    main.refresh_from_db()
    assert bytes(main.certificate.der) == leaf.der
    assert entry_of("endpoint.changed").actor == "admin"
    shown = text_of(console.get(page(main)))
    for one in (main.certificate, main.certificate.authority.certificate):
        assert f'href="/console/pki/certificate/{one.pk}/change/">{one}' in shown
    assert "does not name chat.example.org" in shown
    assert "CN=Elsewhere Root" not in shown


def test_certificate_of_a_person_is_refused_with_a_sentence(console, main, server):
    leaf = certs.make_ca("Elsewhere").issue("alice", hosts=["localhost"])
    response = console.post(page(main, "import"), uploaded(leaf))

    assert response.status_code == 400
    assert "not for servers" in text_of(response)
    main.refresh_from_db()
    assert main.certificate == server


@pytest.mark.parametrize(
    "rights", [("view_endpoint", "issue_certificate"), ("view_endpoint", "change_endpoint")]
)
def test_importing_needs_both_rights(clerk, main, server, rights):
    bob = clerk(*rights)
    leaf = certs.make_ca("Elsewhere").issue("a", purposes=certs.SERVER, hosts=["localhost"])

    assert "Import certificate" not in text_of(bob.get(page(main)))
    assert bob.get(page(main, "import")).status_code == 404
    assert bob.post(page(main, "import"), uploaded(leaf)).status_code == 404
    main.refresh_from_db()
    assert main.certificate == server
