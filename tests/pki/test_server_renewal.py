"""Server certificates that renew themselves."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import connections

from pki import endpoints, server_certificates, server_renewal, upkeep
from pki.changes import current_version
from pki.models import AuditEntry, Certificate, Endpoint
from tests.factories import make_server_certificate

DAY = dt.timedelta(days=1)
HOSTS = ("localhost", "chat.example.org", "127.0.0.1")


@pytest.fixture
def server(pki, at):
    return make_server_certificate(pki.issuing, hosts=HOSTS, at=at)


@pytest.fixture
def two(server):
    """Two endpoints share a certificate, as after a bootstrap; a third is off."""
    return [
        Endpoint.objects.create(
            name=name, port=port, certificate=server, serves="enrol", enabled=name != "spare"
        )
        for port, name in enumerate(("main", "enrol", "spare"), start=9000)
    ]


def renewed(at):
    return server_renewal.renew_due(at=at)


def test_own_certificate_is_renewed_before_its_end_and_swapped_in(two, server):
    due, version = server_certificates.renewal_of(server), current_version()
    assert renewed(due - DAY) == []

    (successor,) = renewed(due)

    used = Endpoint.objects.values_list("certificate", flat=True)
    assert set(used) == {successor.pk}
    assert server_certificates.hosts_of(successor) == list(HOSTS)
    assert successor.spki_sha256 != server.spki_sha256
    assert current_version() > version
    server.refresh_from_db()
    assert server.revoked_at is None
    entries = AuditEntry.objects.filter(action="endpoint.changed")
    assert {(entry.actor, entry.target) for entry in entries} == {
        ("signet", name) for name in ("main", "enrol", "spare")
    }
    assert {entry.detail["sha256"] for entry in entries} == {successor.sha256}
    assert renewed(due) == []


def test_short_life_is_renewed_with_a_third_left(two, server):
    Certificate.objects.filter(pk=server.pk).update(not_after=server.not_before + 9 * DAY)
    assert renewed(server.not_before + 6 * DAY - DAY / 24) == []
    assert len(renewed(server.not_before + 6 * DAY)) == 1


def test_validity_is_what_scanners_want(two, server):
    (successor,) = renewed(server.not_after - DAY)
    assert 60 <= (successor.not_after - successor.not_before).days <= 366


@pytest.mark.parametrize("algorithm", ["p256", "p384", "rsa3072"])
def test_successor_has_the_same_kind_of_key_and_stays_where_it_was(two, server, at, algorithm):
    beside = endpoints.renew_certificate(
        actor="admin", endpoint=two[0], hosts=["localhost"], algorithm=algorithm, beside=True, at=at
    )
    assert beside.key.algorithm == algorithm
    successors = renewed(server.not_after - DAY)

    two[0].refresh_from_db()
    (further,) = two[0].further_certificates.all()
    assert {two[0].certificate, further} == set(successors)
    assert (two[0].certificate.key.algorithm, further.key.algorithm) == ("p256", algorithm)
    assert not two[1].further_certificates.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_processes_one_renews_what_stands_beside_another(two, server, at):
    beside = endpoints.renew_certificate(
        actor="admin", endpoint=two[0], hosts=["localhost"], algorithm="p384", beside=True, at=at
    )
    Certificate.objects.filter(pk=beside.pk).update(not_after=at + 9 * DAY)
    start = threading.Barrier(2)

    def race() -> None:
        start.wait()
        try:
            renewed(at + 7 * DAY)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    (further,) = two[0].further_certificates.all()
    assert further != beside
    assert Certificate.objects.filter(profile="server").count() == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"is_outside": True},
        {"key": None},
        {
            "revoked_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
            "revocation_reason": "superseded",
        },
    ],
    ids=["from elsewhere", "key elsewhere", "revoked"],
)
def test_left_alone(two, server, changed):
    Certificate.objects.filter(pk=server.pk).update(**changed)
    assert renewed(server.not_after - DAY) == []


def test_endpoint_that_is_off_needs_none(two, server):
    Endpoint.objects.update(enabled=False)
    assert renewed(server.not_after - DAY) == []


def test_nothing_is_gained_where_the_ca_ends_first(two, server, pki):
    Certificate.objects.filter(pk=pki.issuing.certificate_id).update(not_after=server.not_after)
    before = Certificate.objects.count()
    assert renewed(server.not_after - DAY) == []
    assert Certificate.objects.count() == before


def test_what_cannot_be_renewed_is_logged_and_keeps_the_old_one(two, server, pki, caplog):
    ended = server.not_after - 2 * DAY
    Certificate.objects.filter(pk=pki.issuing.certificate_id).update(not_after=ended)
    assert renewed(server.not_after - DAY) == []
    assert "cannot be renewed" in caplog.text
    assert set(Endpoint.objects.values_list("certificate", flat=True)) == {server.pk}


def test_upkeep_sees_to_it(two, server):
    upkeep.carry_out(at=server.not_after - DAY)
    assert server.pk not in Endpoint.objects.values_list("certificate", flat=True)


def test_a_hand_is_asked_for_where_nobody_renews(server):
    def trouble(days):
        return server_certificates.trouble_of(server, at=server.not_after - days * DAY)

    assert trouble(31) is trouble(30) is None
    assert trouble(29) == "has a certificate that expires in 29 days and could not be renewed"
    assert trouble(-1) == "has a certificate that is expired"
    server.is_outside = True
    assert trouble(31) is None
    assert str(trouble(29)).endswith("expires in 29 days; nobody but you can renew it")
