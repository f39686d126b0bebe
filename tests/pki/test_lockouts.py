"""Changes of endpoints that would lock people out are refused, and nothing else is."""

from __future__ import annotations

import datetime as dt
import socket
import threading

import pytest
from django.db import connections
from django.utils import timezone

from pki import endpoints, lockouts, truststore
from pki.errors import RequestError
from pki.lockouts import Visitor
from pki.models import AuditEntry, Certificate, Endpoint, RevocationList
from tests import certs
from tests.e2e.server import free_ports
from tests.factories import make_device, make_endpoint, make_server_certificate

DAY = dt.timedelta(days=1)


@pytest.fixture
def main(pki):
    return make_endpoint(pki, pki.truststore)


@pytest.fixture
def second(pki):
    return make_endpoint(pki, pki.truststore, name="second", port=9443)


@pytest.fixture
def admin(pki, people):
    """Admin, as they came in: through main, on the loopback."""
    der = make_device(people.admin, pki.issuing).der
    return Visitor(endpoint="main", address="127.0.0.1", certificate=der)


def change(endpoint, visitor=None, *, probe=False, at=None, **changes):
    return endpoints.change_endpoint(
        actor="admin",
        endpoint=endpoint,
        changes=changes,
        visitor=visitor,
        probe=probe,
        at=at or timezone.now(),
    )


def refused(sentence, endpoint, visitor=None, **how):
    before = Endpoint.objects.values().get(pk=endpoint.pk)
    with pytest.raises(RequestError, match=sentence):
        change(endpoint, visitor, **how)
    assert Endpoint.objects.values().get(pk=endpoint.pk) == before
    assert AuditEntry.objects.first().action == "endpoint.change.refused"


# --- Server certificates --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"not_after": dt.datetime(2020, 1, 2, tzinfo=dt.UTC)}, "has expired"),
        ({"not_before": dt.datetime(2090, 1, 1, tzinfo=dt.UTC)}, "is not valid yet"),
        (
            {
                "revoked_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
                "revocation_reason": "superseded",
            },
            "was revoked",
        ),
    ],
)
def test_certificate_that_is_not_valid_now_is_not_put_in_force(pki, main, second, fields, sentence):
    server = make_server_certificate(pki.issuing, hosts=("localhost",))
    far = {"not_after": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)}
    past = {"not_before": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}
    Certificate.objects.filter(pk=server.pk).update(**past | far | fields)
    server.refresh_from_db()
    refused(sentence, second, certificate=server)
    refused(sentence, second, further_certificates=[server])


def test_broken_certificate_keeps_nobody_from_changing_something_else(second, main):
    later = second.certificate.not_after + DAY
    assert change(second, at=later, max_connections=70).max_connections == 70


def test_endpoint_with_an_expired_certificate_is_not_switched_on(second, main):
    later = second.certificate.not_after + DAY
    change(second, enabled=False)
    refused("has expired", second, at=later, enabled=True)


def test_certificate_of_a_person_stands_beside_none(pki, main, people):
    device = make_device(people.alice, pki.issuing).certificate
    refused("no server certificate with its key", main, further_certificates=[device])


# --- Trust ----------------------------------------------------------------------------------


def test_required_with_an_empty_trust_store(main, second, at):
    empty = truststore.create_truststore(actor="admin", name="empty", at=at)
    refused("trusts nobody", second, truststore=empty, client_certificate="required")
    change(second, truststore=empty)  # `optional` explains itself on a page


@pytest.mark.parametrize("authority", ["root", "issuing"])
@pytest.mark.parametrize("state", ["missing", "stale"])
def test_required_without_a_current_crl(pki, main, second, authority, state):
    ca = getattr(pki, authority)
    ca.crls.all().delete()
    if state == "stale":
        from pki import crl

        crl.publish(actor="admin", authority=ca, at=timezone.now() - 60 * DAY)
        RevocationList.objects.filter(authority=ca).update(next_update=timezone.now())
    refused("has a current CRL", second, client_certificate="required")
    change(second, max_connections=70)


def test_required_with_current_crls_is_fine(main, second):
    assert change(second, client_certificate="required").client_certificate == "required"


# --- Ports ----------------------------------------------------------------------------------


def test_port_of_another_program_is_named(main, second):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(
            f"Port {port} on 127.0.0.1 is taken by another program", second, probe=True, port=port
        )
        assert change(second, port=port).port == port  # not probed


def test_port_that_is_free_is_had(main, second):
    (port,) = free_ports(1)
    assert change(second, probe=True, port=port).port == port


def test_port_that_we_listen_on_ourselves_is_no_other_program(main):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        change(main, port=ours.getsockname()[1])
        change(main, probe=True, address="0.0.0.0")


def test_address_that_this_machine_has_not_is_named(main, second):
    (port,) = free_ports(1)
    refused("has no address 192.0.2.1", second, probe=True, address="192.0.2.1", port=port)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_port_of_another_endpoint_is_named(main, second, address):
    refused("Endpoint main has 127.0.0.1 port 8443", second, port=8443, address=address)


def test_port_of_an_endpoint_of_another_family_or_that_is_off_is_free(main, second):
    assert change(second, port=8443, address="::1").port == 8443
    change(second, enabled=False)
    assert change(main, address="::1", port=9000).port == 9000


# --- The console ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"enabled": False}, {"serves": "chat"}, {"serves": "enrol", "client_certificate": "none"}],
)
def test_last_endpoint_of_the_console_stays(pki, main, changes):
    refused("Nobody could reach the console", main, **changes)
    make_endpoint(pki, pki.truststore, name="other", port=9000, serves="console")
    change(main, **changes)


def test_an_empty_trust_store_is_no_way_into_the_console(main, at):
    empty = truststore.create_truststore(actor="admin", name="empty", at=at)
    refused("Nobody could reach the console", main, truststore=empty)


def test_endpoint_that_lets_nobody_in_does_not_count_as_another_one(pki, main):
    other = make_endpoint(pki, pki.truststore, name="other", port=9000)
    Certificate.objects.filter(pk=other.certificate_id).update(
        not_before=dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    )
    refused("Nobody could reach the console", main, enabled=False)


def test_own_certificate_that_would_be_refused(pki, main, second, admin, at):
    partners = truststore.create_truststore(actor="admin", name="partners", at=at)
    foreign = certs.make_ca("Partner Root")
    truststore.add_anchor(actor="admin", truststore=partners, certificate=foreign.der, at=at)

    refused("Your own certificate would be refused here", main, admin, truststore=partners)
    change(second, admin, truststore=partners)  # not the one they came through
    change(main, truststore=partners)  # the command line has no certificate


def test_own_revoked_certificate_and_required(pki, main, second, people):
    from pki import revocation

    device = make_device(people.admin, pki.issuing)
    admin = Visitor(endpoint="main", address="127.0.0.1", certificate=device.der)
    revocation.revoke(
        actor="admin", certificate=device.certificate, reason="superseded", at=timezone.now()
    )
    refused("certificate has been revoked", main, admin, client_certificate="required")


def test_own_good_certificate_and_required(main, admin):
    assert change(main, admin, client_certificate="required").client_certificate == "required"


def test_own_port(main, second, admin):
    (port,) = free_ports(1)
    refused(
        "on port 8443, where it would no longer listen. Add an endpoint", main, admin, port=port
    )

    assert change(second, admin, port=port).port == port
    assert change(main, port=port + 1).port == port + 1  # the command, which is nobody's visit


def test_what_has_nothing_to_do_with_who_gets_in_is_free(main, admin):
    changed = change(main, admin, max_connections=90, handshake_seconds=3, policy="modern")
    assert (changed.max_connections, changed.policy) == (90, "modern")
    assert change(main, admin, address="0.0.0.0").address == "0.0.0.0"


@pytest.mark.parametrize("serves", ["main", "console"])
def test_console_behind_a_proxy_that_sends_certificates_counts(pki, main, serves, at):
    row = make_endpoint(pki, pki.truststore, name="proxied", port=9000, serves=serves)
    row.tls, row.certificate, row.proxy, row.proxy_addresses = False, None, "header", "192.0.2.1"
    assert lockouts.admits_console(row, at=at)
    row.proxy = "protocol"
    assert not lockouts.admits_console(row, at=at)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_switch_off_the_last_two_consoles_at_once_one_is_refused(main, second):
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def race(endpoint: Endpoint) -> None:
        start.wait()
        try:
            change(endpoint, enabled=False)
            outcomes.append("off")
        except RequestError:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race, args=[one]) for one in (main, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(outcomes) == ["off", "refused"]
    assert Endpoint.objects.filter(enabled=True).count() == 1
