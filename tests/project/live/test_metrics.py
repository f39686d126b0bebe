"""/metrics: what it counts, that counters never fall, and who may read it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from chat.models import Room
from pki import revocation, server_certificates
from pki.models import Endpoint, RevocationReason
from project.live import metrics, processes
from project.models import PastCounters, Process
from tests.client import Visitor
from tests.factories import make_device, make_endpoint
from tests.locks import held_up, needs_row_locks


def scraped() -> dict[tuple[str, ...], float]:
    """Sample name and the values of its labels, by their names → value."""
    return read(metrics.text(at=timezone.now()).decode())


def read(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def make_process(*, pid: int = 1, seen: float = 0, counters=(), held=()) -> Process:
    now = timezone.now()
    return Process.objects.create(
        id=uuid4(),
        host="here",
        pid=pid,
        started_at=now,
        seen_at=now - dt.timedelta(seconds=seen),
        counters=dict(counters),
        held=dict(held),
    )


def test_counters_are_the_sums_of_all_processes(pki):
    make_process(pid=1, counters={"handshakes\tmain\tok": 3, "messages\tsocket\tsent": 5})
    make_process(
        pid=2, counters={"handshakes\tmain\tok": 4, "handshakes\tmain\tCRL has expired": 1}
    )
    found = scraped()
    assert found["signet_handshakes_total", "main", "ok"] == 7
    assert found["signet_handshakes_total", "main", "CRL has expired"] == 1
    assert found["signet_messages_total", "sent", "socket"] == 5
    assert found["signet_process_up", "here:1"] == found["signet_process_up", "here:2"] == 1


def test_counters_do_not_fall_when_a_process_dies(pki):
    make_process(pid=1, counters={"handshakes\tmain\tok": 3}, held={"main": {"web": 2}})
    make_process(
        pid=2, seen=11, counters={"handshakes\tmain\tok": 4}, held={"main": {"web": 5, "socket": 1}}
    )
    before = scraped()
    assert processes.bury_dead() == 1
    after = scraped()
    for found in (before, after):
        assert found["signet_handshakes_total", "main", "ok"] == 7
        assert found["signet_connections", "main", "web"] == 2
        assert ("signet_connections", "main", "socket") not in found
        assert ("signet_process_up", "here:2") not in found
    assert processes.bury_dead() == 0
    assert Process.objects.count() == 1


def test_a_process_that_leaves_hands_over_its_last_counts(pki):
    leaving = make_process(counters={"ocsp\t200": 1})
    processes.leave(leaving.pk, {"ocsp\t200": 9})
    processes.leave(leaving.pk, {"ocsp\t200": 9})  # gone already: nothing is added twice
    assert scraped()["signet_ocsp_answers_total", "200"] == 9


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_process_that_leaves_and_one_that_buries_it_lock_in_the_same_order():
    leaving = make_process(seen=11, counters={"ocsp\t200": 1})
    PastCounters.objects.create(pk=processes.PAST)
    with transaction.atomic():
        PastCounters.objects.select_for_update().get()
        left = held_up(lambda: processes.leave(leaving.pk, {"ocsp\t200": 9}))
        assert processes.bury_dead() == 1
    left.result(timeout=30)
    assert processes.counted()["ocsp\t200"] == 1


def test_rows_are_counted_where_they_are(pki, people, at):
    device = make_device(people.alice, pki.issuing)
    before = scraped()
    revocation.revoke(
        certificate=device.certificate,
        reason=RevocationReason.KEY_COMPROMISE,
        actor="admin",
        at=timezone.now(),
    )
    Room.objects.create(slug="one", name="One", kind=Room.Kind.PUBLIC, last_seq=12)
    after = scraped()
    assert after["signet_revocations_total",] == before["signet_revocations_total",] + 1
    assert after["signet_certificates", "revoked"] == before["signet_certificates", "revoked"] + 1
    assert after["signet_certificates", "valid"] == before["signet_certificates", "valid"] - 1
    assert after["signet_chat_events_total",] == before["signet_chat_events_total",] + 12
    assert after["signet_crl_age_seconds", pki.issuing.slug] < 3600
    assert after["signet_crl_expiry_seconds", pki.issuing.slug] > 0


def test_days_left_are_rounded_down_as_in_the_console():
    now = timezone.now()
    assert metrics._days(now + dt.timedelta(days=20, seconds=-1), now) == 19.99


def test_limits_are_told_beside_the_counts(pki):
    Endpoint.objects.create(
        name="publish", port=18080, serves="public", tls=False, max_connections=123
    )
    assert scraped()["signet_connections_limit", "publish"] == 123


# --- Who may read it ------------------------------------------------------------------------


@pytest.fixture
def from_elsewhere(settings):
    """Nobody is on a network that may read without a certificate."""
    settings.SIGNET_METRICS_FROM = [ipaddress.ip_network("192.0.2.0/24")]


def test_people_of_the_console_read_it(pki, people, from_elsewhere):
    visitor = Visitor(make_device(people.admin, pki.issuing).chain)
    answer = visitor.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert read(answer.content.decode())


@pytest.mark.parametrize("who", ["bob", None])
def test_everybody_else_meets_what_an_unknown_path_meets(pki, people, from_elsewhere, who):
    chain = make_device(people.bob, pki.issuing).chain if who else ()
    visitor = Visitor(chain)
    refused, unknown = visitor.get("/metrics"), visitor.get("/metrixx")
    assert refused.status_code == unknown.status_code == 404
    assert refused.content == unknown.content


def test_listed_networks_read_it_without_a_certificate(pki, settings):
    assert Visitor().get("/metrics").status_code == 200  # the loopback interface, as it ships
    settings.SIGNET_METRICS_FROM = []
    assert Visitor().get("/metrics").status_code == 404


@pytest.mark.parametrize("serves", ["enrol", "public"])
def test_other_endpoints_have_no_metrics(pki, serves):
    assert b"signet_" not in Visitor(serves=serves).get("/metrics").content


def test_expiry_of_an_endpoint_is_that_of_its_first_certificate_to_end(pki):
    endpoint = make_endpoint(pki, pki.truststore)
    first = scraped()["signet_endpoint_certificate_expiry_days", endpoint.name]
    further = server_certificates.issue(actor="t", hosts=["localhost"], at=timezone.now())
    endpoint.further_certificates.add(further)
    ends = timezone.now() + dt.timedelta(days=3, hours=1)
    type(further).objects.filter(pk=further.pk).update(not_after=ends)

    assert 3 <= scraped()["signet_endpoint_certificate_expiry_days", endpoint.name] < 4 < first
