"""The commands about endpoints: one line each, and one sentence where they refuse."""

from __future__ import annotations

import socket

import pytest
from django.core.management import CommandError

from pki.models import Endpoint
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


def test_list_says_where_what_and_whom(main):
    end = main.certificate.not_after
    assert run("list_endpoints") == (
        "main | on | https://127.0.0.1:8443 | serves main | client certificate optional | trusts "
        f"chat | intermediate, certificate until {end:%Y-%m-%d}"
    )


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
