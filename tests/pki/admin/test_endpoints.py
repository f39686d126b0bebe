from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.uploadedfile import SimpleUploadedFile

from pki.changes import current_version
from pki.models import Endpoint
from tests import certs
from tests.factories import make_server_certificate
from tests.pki.admin.conftest import entry_of, said, text_of

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
    } | changed
    return {name: value for name, value in fields.items() if value is not None}


def test_change_is_saved_recorded_and_announced_together(console, main, second):
    before = current_version()

    response = console.post(
        page(second), fields_of(second, client_certificate="required", port=9444)
    )

    assert response.status_code == 302
    second.refresh_from_db()
    assert (second.client_certificate, second.port) == ("required", 9444)
    entry = entry_of("endpoint.changed")
    assert (entry.actor, entry.target) == ("admin", "second")
    assert entry.detail == {"client_certificate": "required", "port": "9444"}
    assert current_version() == before + 1


def test_change_that_cannot_be_recorded_is_not_made(console, second, monkeypatch):
    from pki import audit
    from pki.errors import AuditError

    def broken(**_):
        raise AuditError("The audit trail cannot be written: disk full.")

    monkeypatch.setattr(audit, "record", broken)
    response = console.post(page(second), fields_of(second, port=9444))

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
    assert "already exists" in text_of(response)


@pytest.mark.parametrize(
    "changed",
    [{"enabled": None}, {"tls": None}, {"serves": "enrol"}],
    ids=["off", "plain", "moved"],
)
def test_nobody_saws_off_the_endpoint_they_sit_on(console, main, changed):
    response = console.post(page(main), fields_of(main, **changed))

    assert "You are using this endpoint right now." in text_of(response)
    main.refresh_from_db()
    assert (main.enabled, main.tls, main.serves) == (True, True, "main")


def test_endpoint_is_removed_once_it_is_off(console, second):
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

    assert "new certificate" in said(console, response)[0]
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
    fields = fields_of(second, name="third", port=9445)
    response = console.post(f"{LIST}add/", fields)

    assert response.status_code == 302, text_of(response)
    assert Endpoint.objects.get(name="third").port == 9445
    assert entry_of("endpoint.created").target == "third"


def test_name_of_an_endpoint_stays(console, second):
    console.post(page(second), fields_of(second, name="other", port=9444))

    second.refresh_from_db()
    assert (second.name, second.port) == ("second", 9444)


def test_changing_needs_the_right(clerk, second):
    looker = clerk("view_endpoint")
    assert looker.get(page(second)).status_code == 200
    looker.post(page(second), fields_of(second, port=9444))
    assert looker.get(page(second, "renew")).status_code == 404
    second.refresh_from_db()
    assert second.port == 9443

    clerk("view_endpoint", "change_endpoint").post(page(second), fields_of(second, port=9444))
    second.refresh_from_db()
    assert second.port == 9444


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
