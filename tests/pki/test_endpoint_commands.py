"""The commands about endpoints: one line each, and one sentence where they refuse."""

from __future__ import annotations

import socket

import pytest
from django.core.management import CommandError

from pki.models import AuditEntry, Endpoint
from pki.server_certificates import hosts_of
from tests.e2e.server import free_ports
from tests.factories import make_endpoint
from tests.pki.test_authority_commands import run


@pytest.fixture
def main(pki):
    return make_endpoint(pki, pki.truststore)


def refused(*arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return str(caught.value)


def test_list_says_where_what_and_whom_and_each_certificate(main):
    run("renew_endpoint", "main", "--host", "chat.example.org", "--beside")
    (further,) = main.further_certificates.all()
    assert run("list_endpoints").splitlines() == [
        "main | on | https://127.0.0.1:8443 | serves main | client certificate optional | trusts "
        "chat | intermediate",
        f"  certificate {main.certificate.serial} | localhost | until "
        f"{main.certificate.not_after:%Y-%m-%d}",
        f"  certificate {further.serial} | chat.example.org | until {further.not_after:%Y-%m-%d} | "
        "chat.example.org is not in SIGNET_HOST, so pages are not served under it.",
    ]


def test_host_that_leads_nowhere_is_named(main, settings):
    said = run("renew_endpoint", "main", "--host", "chat.example.org", "--beside").splitlines()
    assert said[1:] == ["chat.example.org is not in SIGNET_HOST, so pages are not served under it."]
    settings.SIGNET_HOSTS = ["localhost", "chat.example.org"]
    assert len(run("renew_endpoint", "main", "--host", "chat.example.org").splitlines()) == 1


def test_change_to_what_is_so_already_changes_nothing(main):
    before = AuditEntry.objects.count()
    said = run("change_endpoint", "main", "--serves", "main", "--further-certificate", "")
    assert said == "main: nothing changed: it is so already"
    assert AuditEntry.objects.count() == before
    said = run("change_endpoint", "main", "--serves", "main", "--max-connections", 20)
    assert said == "main: changed max_connections"
    assert AuditEntry.objects.latest("sequence").detail == {"max_connections": "20"}


def test_endpoint_is_created_changed_and_removed(main):
    (port,) = free_ports(1)
    serial = main.certificate.serial
    said = run("create_endpoint", "robots", "--serves", "chat", "--port", port, "--certificate",
        serial, "--client-certificate", "required", "--truststore", "chat", "--policy", "modern",
        "--max-connections", 20)  # fmt: skip
    assert said == f"robots: serves chat on 127.0.0.1 port {port}"
    row = Endpoint.objects.get(name="robots")
    assert (row.client_certificate, row.policy, row.max_connections) == ("required", "modern", 20)

    assert "Switch it off first" in refused("remove_endpoint", "robots")
    assert run("change_endpoint", "robots", "--no-enabled") == "robots: changed enabled"
    assert run("remove_endpoint", "robots") == "robots: removed"


def test_further_certificates_are_named_by_their_serial(main):
    said = run("renew_endpoint", "main", "--host", "chat.example.org", "--key", "p384", "--beside")
    assert said.startswith("main: CN=chat.example.org, serial ")
    (further,) = main.further_certificates.all()
    assert further.key.algorithm == "p384"

    run("change_endpoint", "main", "--further-certificate", "")
    assert not main.further_certificates.exists()
    run("change_endpoint", "main", "--further-certificate", further.serial)
    assert list(main.further_certificates.all()) == [further]


def test_renewal_is_for_the_same_hosts(main):
    run("renew_endpoint", "main")
    before = main.certificate
    main.refresh_from_db()
    assert main.certificate != before
    assert hosts_of(main.certificate) == hosts_of(before)


def test_refusals_are_sentences(main):
    assert refused("change_endpoint", "main") == ("Say what to change; see: change_endpoint --help")
    assert "There are: main." in refused("renew_endpoint", "nobody")
    assert "no server certificate" in refused("change_endpoint", "main", "--certificate", "12")
    assert "Nobody could reach the console" in refused("change_endpoint", "main", "--no-enabled")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "is taken by another program" in refused("change_endpoint", "main", "--port", port)
        run("change_endpoint", "main", "--port", port, "--port-is-ours")
