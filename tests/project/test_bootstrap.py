from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from pki import authorities, endpoints, keys, revocation, server_certificates
from pki.errors import MasterKeyInvalidError, MasterKeyMissingError
from pki.models import (
    AuditEntry,
    Certificate,
    CertificateAuthority,
    Endpoint,
    Invitation,
    PrivateKey,
    TrustStore,
    User,
)
from project import bootstrap as module
from project.bootstrap import bootstrap
from tests import certs


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    settings.SIGNET_HOME = tmp_path
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "master.key"
    return tmp_path


def run(at, **fields):
    return bootstrap(**{"hosts": ["localhost"], "admin": "admin", "at": at, **fields})


def counts():
    models = (Certificate, CertificateAuthority, Endpoint, PrivateKey, TrustStore, User)
    return [model.objects.count() for model in models]


def test_first_run_makes_everything_a_person_needs(db, at, home):
    report = run(at)

    root, issuing = CertificateAuthority.objects.order_by("pk")
    assert (root.certificate.profile, issuing.certificate.profile) == ("root", "intermediate")
    assert issuing.parent == root
    assert {e.name: (e.tls, e.client_certificate, e.serves) for e in Endpoint.objects.all()} == {
        "main": (True, "optional", "main"),
        "enrol": (True, "none", "enrol"),
        "public": (False, "none", "public"),
    }
    assert report.admin.is_superuser
    assert report.enrolment_link
    assert report.root_file.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert (home / "master.key").stat().st_mode & 0o777 == 0o600


def test_second_run_changes_nothing_and_replaces_the_open_link(db, at):
    first = run(at)
    before = counts()
    second = run(at)

    assert second.done == []
    assert counts() == before
    assert second.enrolment_link != first.enrolment_link
    assert Invitation.objects.open(at).count() == 1


def test_enrolled_admin_gets_no_further_link(db, at):
    admin = run(at).admin
    assert run(at).enrolment_link

    Certificate.objects.filter(profile="intermediate").update(owner=admin)
    assert run(at).enrolment_link is None


@pytest.mark.parametrize("step", ["_server_certificate", "_truststore", "_endpoints", "_admin"])
def test_half_finished_run_is_finished_by_the_next(db, at, step, monkeypatch):
    def fail(*_args, **_kwargs):
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with pytest.raises(DatabaseError):
            run(at)
    run(at)

    assert counts() == [3, 2, 3, 3, 1, 1]
    assert run(at).done == []


def test_missing_master_key_is_refused_and_never_replaced(db, at, home):
    run(at)
    (home / "master.key").unlink()

    with pytest.raises(MasterKeyMissingError):
        run(at)
    assert not (home / "master.key").exists()


def test_another_master_key_is_refused(db, at, home):
    from pki import masterkey

    run(at)
    (home / "master.key").unlink()
    masterkey.create(home / "master.key")

    with pytest.raises(MasterKeyInvalidError, match="another one"):
        run(at)
    with pytest.raises(MasterKeyInvalidError):
        keys.require_master_key()


def test_new_host_gets_a_new_server_certificate_on_both_endpoints(db, at):
    run(at)
    old = Endpoint.objects.get(name="main").certificate
    report = run(at, hosts=["chat.example.org"])

    new = Endpoint.objects.get(name="main").certificate
    assert new != old
    assert Endpoint.objects.get(name="enrol").certificate == new
    assert "made server certificate for chat.example.org" in report.done


def test_certificate_that_an_admin_chose_stays(db, at):
    run(at)
    main = Endpoint.objects.get(name="main")
    Certificate.objects.filter(pk=main.certificate_id).update(issued_by="alice", device="mine")
    chosen = main.certificate_id
    run(at, hosts=["chat.example.org"])

    assert Endpoint.objects.get(name="main").certificate_id == chosen


def test_certificate_from_elsewhere_stays_where_an_admin_put_it(db, at):
    """Also where it names the very hosts: the other endpoints keep what they have."""
    run(at)
    main, enrol = Endpoint.objects.get(name="main"), Endpoint.objects.get(name="enrol")
    root = certs.make_ca("Elsewhere")
    hosts = ["localhost", "127.0.0.1", "::1"]
    leaf = root.issue("localhost", purposes=certs.SERVER, hosts=hosts)
    data = leaf.pem + leaf.key_pem
    made = endpoints.import_certificate(
        actor="alice", endpoint=main, data=data, password=None, chain=root.pem, at=at
    )

    assert run(at).done == []
    assert Endpoint.objects.get(name="main").certificate == made
    assert Endpoint.objects.get(name="enrol").certificate == enrol.certificate


def test_endpoints_are_made_and_changed_by_their_verbs(db, at):
    run(at)
    made = AuditEntry.objects.filter(action="endpoint.created").order_by("sequence")
    assert list(made.values_list("actor", "target")) == [
        ("bootstrap", "main"),
        ("bootstrap", "enrol"),
        ("bootstrap", "public"),
    ]
    run(at, hosts=["chat.example.org"])
    changed = AuditEntry.objects.filter(action="endpoint.changed").order_by("sequence")
    assert list(changed.values_list("target", flat=True)) == ["main", "enrol"]


def test_port_that_is_set_is_followed_and_one_that_is_not_stays(db, at, monkeypatch, settings):
    run(at)
    Endpoint.objects.filter(name="main").update(port=9000)
    run(at)
    assert Endpoint.objects.get(name="main").port == 9000

    monkeypatch.setenv("SIGNET_PORT", "9443")
    settings.SIGNET_PORTS = {**settings.SIGNET_PORTS, "main": 9443}
    run(at)
    assert Endpoint.objects.get(name="main").port == 9443


def test_endpoint_behind_a_proxy_stays_where_it_listens(db, at, monkeypatch, settings):
    settings.ON_LOOPBACK = True
    run(at)
    Endpoint.objects.filter(name="main").update(
        port=9000, proxy="protocol", proxy_addresses="127.0.0.1"
    )
    settings.ON_LOOPBACK = False
    monkeypatch.setenv("SIGNET_PORT", "443")
    settings.SIGNET_PORTS = {**settings.SIGNET_PORTS, "main": 443}
    run(at, hosts=["chat.example.org"])

    main = Endpoint.objects.get(name="main")
    assert (main.address, main.port) == ("127.0.0.1", 9000)


def set_ports(monkeypatch, settings, **ports):
    settings.SIGNET_PORTS = {**settings.SIGNET_PORTS, **ports}
    for name in ports:
        monkeypatch.setenv(module.PORT_VARIABLES[name], str(ports[name]))


def test_endpoint_that_is_off_is_left_alone(db, at, monkeypatch, settings):
    settings.ON_LOOPBACK = True
    run(at)
    main = Endpoint.objects.get(name="main")
    Endpoint.objects.filter(name="main").update(enabled=False)
    settings.ON_LOOPBACK = False
    set_ports(monkeypatch, settings, main=settings.SIGNET_PORTS["enrol"])
    run(at, hosts=["chat.example.org"])

    row = Endpoint.objects.get(name="main")
    assert (row.address, row.port) == (main.address, main.port)
    assert row.certificate == main.certificate


def test_equal_ports_are_refused_before_anything_is_made(db, at, home, monkeypatch, settings):
    set_ports(monkeypatch, settings, main=443, enrol=443, public=80)
    with pytest.raises(
        ImproperlyConfigured, match=r"main cannot listen on port 443 \(SIGNET_PORT\)"
    ):
        run(at)
    assert counts() == [0] * 6
    assert not (home / "master.key").exists()

    set_ports(monkeypatch, settings, main=8443, enrol=8444, public=8080)
    run(at)
    before = counts(), list(Endpoint.objects.values())
    set_ports(monkeypatch, settings, main=443, enrol=443, public=80)
    with pytest.raises(ImproperlyConfigured, match="SIGNET_PROXY_PORT"):
        run(at, hosts=["chat.example.org"])
    assert (counts(), list(Endpoint.objects.values())) == before


def test_port_that_another_address_has_is_free(db, at, monkeypatch, settings):
    settings.ON_LOOPBACK = True
    run(at)
    Endpoint.objects.filter(name="enrol").update(address="127.0.0.2")
    set_ports(monkeypatch, settings, main=settings.SIGNET_PORTS["enrol"])

    assert run(at).done == ["changed port of endpoint main"]


def test_run_that_fails_leaves_the_database_as_it_was(db, at, monkeypatch):
    def fail(*_args, **_kwargs):
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(module, "_enrolment_link", fail)
    with pytest.raises(DatabaseError):
        run(at)
    assert counts() == [0] * 6


def test_host_beyond_this_machine_opens_the_endpoints_to_it(db, at, settings):
    settings.ON_LOOPBACK = True
    run(at)
    settings.ON_LOOPBACK = False
    run(at, hosts=["chat.example.org"])

    assert set(Endpoint.objects.values_list("address", flat=True)) == {"0.0.0.0"}


def test_every_host_counts_however_long_the_list_is(db, at):
    many = [f"chat-{number}.department.example.org" for number in range(5)]
    run(at, hosts=many)
    run(at, hosts=[*many, "one-more.example.org"])

    newest = Certificate.objects.filter(profile="server").first()
    assert set(server_certificates.hosts_of(newest)) == {*many, "one-more.example.org"}
    assert run(at, hosts=[*many, "one-more.example.org"]).done == []


def test_revoked_issuing_ca_is_passed_over(db, at):
    run(at)
    revocation.revoke(
        actor="t",
        certificate=CertificateAuthority.objects.get(slug="signet-issuing").certificate,
        reason="superseded",
        at=at,
    )
    spare = authorities.create_authority(
        actor="t", name="Spare", parent=CertificateAuthority.objects.get(parent=None), at=at
    )
    run(at, hosts=["new.example.org"])

    assert Endpoint.objects.get(name="main").certificate.authority == spare
