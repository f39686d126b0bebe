"""Failed handshakes as rows: counted on, bounded, and never in the way."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from django.db import DatabaseError

from pki import upkeep
from project import handshakes
from project.models import HandshakeFailure
from project.tls.overheard import Overheard
from project.tls.sample import Sample
from tests.certs import made_odd, make_ca

pytestmark = pytest.mark.django_db
ODD = made_odd(make_ca("Mallory CA").issue("alice").der)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(handshakes, "_rows", {})


def add(sample, at, **more):
    fields = {"endpoint": "main", "peer": "192.0.2.1:1", "reason": "certificate revoked"}
    sample.add(**{**fields, "advice": "Do.", "at": at, **more})


def row_at(at, **more):
    return HandshakeFailure.objects.create(
        at=at, endpoint="main", peer="192.0.2.1:1", reason="r", advice="a", **more
    )


def test_row_tells_who_and_why(at):
    leaf = make_ca("Mallory CA").issue("mallory")
    sample = Sample()
    heard = Overheard(protocol="TLS 1.3", server_name="chat.example.org", certificate=leaf.der)
    add(sample, at, heard=heard)

    handshakes.keep(sample)

    row = HandshakeFailure.objects.get()
    assert (row.at, row.endpoint, row.peer, row.count) == (at, "main", "192.0.2.1:1", 1)
    assert (row.reason, row.advice) == ("certificate revoked", "Do.")
    assert (row.protocol, row.server_name) == ("TLS 1.3", "chat.example.org")
    assert (row.subject, bytes(row.certificate)) == ("CN=mallory", leaf.der)
    assert row.sha256 == hashlib.sha256(leaf.der).hexdigest()


def test_what_goes_on_is_counted_in_its_row(at, django_assert_num_queries):
    sample = Sample()
    add(sample, at)
    handshakes.keep(sample)
    add(sample, at + dt.timedelta(seconds=30))
    add(sample, at + dt.timedelta(seconds=31))
    with django_assert_num_queries(3):  # savepoint, update, release
        handshakes.keep(sample)

    row = HandshakeFailure.objects.get()
    assert (row.count, row.at) == (3, at + dt.timedelta(seconds=31))


def test_row_that_is_gone_is_written_again(at):
    sample = Sample()
    add(sample, at)
    handshakes.keep(sample)
    HandshakeFailure.objects.all().delete()
    add(sample, at)
    handshakes.keep(sample)

    assert HandshakeFailure.objects.get().count == 1


def test_flood_is_one_insert(at, django_assert_num_queries):
    sample = Sample()
    for number in range(5000):
        add(sample, at, peer=f"192.0.{number // 256}.{number % 256}:1")
    with django_assert_num_queries(3):
        handshakes.keep(sample)

    assert HandshakeFailure.objects.count() == 61
    assert handshakes.counts(at=at) == [("certificate revoked", 5000)]


def test_nothing_new_asks_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert handshakes.keep(Sample()) == 0


def test_database_that_is_away_loses_nothing_at_first(at, monkeypatch):
    def fail(*_, **__):
        raise DatabaseError("away")

    sample = Sample()
    add(sample, at)
    with monkeypatch.context() as away:
        away.setattr(HandshakeFailure.objects, "bulk_create", fail)
        with pytest.raises(DatabaseError):
            handshakes.keep(sample)
    add(sample, at)

    handshakes.keep(sample)

    assert HandshakeFailure.objects.get().count == 2


@pytest.mark.parametrize("der", [b"\x30\x00", b"nonsense", *ODD])
def test_certificate_that_cannot_be_read_is_kept_all_the_same(at, der):
    sample = Sample()
    add(sample, at, heard=Overheard(certificate=der))
    handshakes.keep(sample)

    row = HandshakeFailure.objects.get()
    assert (row.subject, bytes(row.certificate)) == ("(cannot be read)", der)


def test_upkeep_forgets_what_is_old_and_what_is_too_much(at, monkeypatch):
    monkeypatch.setattr(handshakes, "KEPT", 3)
    row_at(at - dt.timedelta(days=31))
    kept = [row_at(at - dt.timedelta(hours=hours)) for hours in (0, 1, 2)]
    row_at(at - dt.timedelta(hours=3))

    upkeep.carry_out(at=at)

    assert list(HandshakeFailure.objects.all()) == kept


def test_counts_are_those_of_a_day(at):
    row_at(at, count=3)
    row_at(at - dt.timedelta(hours=25))
    HandshakeFailure.objects.create(
        at=at, endpoint="enrol", peer="p", reason="other", advice="a", count=5
    )

    assert handshakes.counts(at=at) == [("other", 5), ("r", 3)]
    assert handshakes.counts(at=at, endpoint="main") == [("r", 3)]
