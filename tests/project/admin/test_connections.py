"""System → Connections: who is connected, and ending one or all of a person."""

from __future__ import annotations

import datetime as dt
from uuid import uuid4

import pytest
from django.utils import timezone

from pki.models import AuditEntry, Endpoint
from project.models import LiveConnection, Process
from tests.pki.admin.conftest import entry_of, queries_of, said, text_of

CONNECTIONS = "/console/project/liveconnection/"


@pytest.fixture
def process(pki):
    Endpoint.objects.create(name="gate", port=18443, serves="public", tls=False, max_connections=10)
    return make_process(held={"gate": {"web": 3, "socket": 2, "handshake": 1}})


def make_process(*, seen: float = 0, held=()):
    now = timezone.now()
    return Process.objects.create(
        id=uuid4(),
        host="here",
        pid=7,
        started_at=now,
        seen_at=now - dt.timedelta(seconds=seen),
        held=dict(held),
    )


def make_connection(process, user=None, **fields):
    at = timezone.now() - dt.timedelta(hours=3, minutes=30)
    number = LiveConnection.objects.count() + 1
    facts = {
        "number": number,
        "endpoint": "gate",
        "peer": f"192.0.2.7:{4000 + number}",
        "kind": "socket",
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "opened_at": at,
        "active_at": at,
        "received": 12,
        "sent": 3456,
    }
    return LiveConnection.objects.create(process=process, user=user, **{**facts, **fields})


def page_of(row, page="change"):
    return f"{CONNECTIONS}{row.pk}/{page}/"


def test_list_shows_who_is_connected_and_how_full_each_endpoint_is(console, process, people):
    make_connection(process, people.alice)
    make_connection(process, kind="web", tls_version="", cipher="")
    shown = text_of(console.get(CONNECTIONS))
    assert "Alice · alice" in shown
    assert "no certificate" in shown
    assert "TLS_AES_256_GCM_SHA384" in shown
    assert "12 in, 3,456 out" in shown
    assert "3 h 30 min ago" in shown
    assert "6 of 10" in shown
    assert "3 web, 2 socket, 1 in handshake" in shown


def test_list_takes_the_same_queries_for_many(console, process, people):
    make_connection(process, people.alice)
    few = queries_of(console, CONNECTIONS)
    for _ in range(10):
        make_connection(process, people.bob)
    assert queries_of(console, CONNECTIONS) == few


def test_what_a_dead_process_held_is_not_shown(console, process, people):
    dead = make_process(seen=11, held={"gate": {"web": 3}})
    row = make_connection(dead, people.bob)
    shown = text_of(console.get(CONNECTIONS))
    assert "Bob" not in shown
    assert "6 of 10" in shown
    assert said(console, console.get(page_of(row))) == ["This connection has ended already."]


def test_list_is_searched_and_filtered(console, process, people):
    make_connection(process, people.alice)
    make_connection(process, people.bob, kind="web", peer="[2001:db8::1]:5000")
    make_connection(process, people.charlie, endpoint="enrol")
    for query, who in [("q=alice", "Alice"), ("q=2001:db8", "Bob"), ("kind__exact=web", "Bob")]:
        shown = text_of(console.get(f"{CONNECTIONS}?{query}"))
        assert [name for name in ("Alice", "Bob", "Charlie") if f"{name} ·" in shown] == [who]
    shown = text_of(console.get(f"{CONNECTIONS}?endpoint=gate"))
    assert "Charlie" not in shown


def test_empty_list_says_so(console, process):
    assert "There are no live connections yet." in text_of(console.get(CONNECTIONS))
    assert "Nothing here is what you look for." in text_of(console.get(f"{CONNECTIONS}?q=x"))


def test_one_is_ended_after_a_question(console, process, people):
    row, other = make_connection(process, people.alice), make_connection(process, people.alice)
    asked = text_of(console.get(page_of(row, "end")))
    assert "192.0.2.7:4001" in asked
    assert not LiveConnection.objects.filter(is_to_end=True).exists()

    answer = console.post(page_of(row, "end"))
    assert said(console, answer) == ["The connection from 192.0.2.7:4001 is being ended."]
    row.refresh_from_db()
    other.refresh_from_db()
    assert row.is_to_end
    assert not other.is_to_end
    entry = entry_of("connection.ended")
    assert (entry.actor, entry.target) == ("admin", "192.0.2.7:4001 on gate")
    assert entry.detail == {"user": "alice", "kind": "socket"}
    assert "is ending" in text_of(console.get(CONNECTIONS))


def test_all_of_a_person_are_ended(console, process, people):
    rows = [make_connection(process, people.alice) for _ in range(3)]
    bob = make_connection(process, people.bob)
    assert "<dd>3</dd>" in text_of(console.get(page_of(rows[0], "end-all")))
    answer = console.post(page_of(rows[0], "end-all"))
    assert said(console, answer) == ["3 connections of Alice are being ended."]
    assert LiveConnection.objects.filter(is_to_end=True).count() == 3
    bob.refresh_from_db()
    assert not bob.is_to_end
    assert entry_of("connection.all_ended").detail == {"connections": 3}


def test_what_has_ended_meanwhile_is_said_so(console, process, people):
    row = make_connection(process, people.alice)
    console.post(page_of(row, "end"))
    again = text_of(console.post(page_of(row, "end")))
    assert "This connection has ended already." in again
    assert entry_of("connection.end.refused").actor == "admin"


def test_clerk_sees_and_ends_what_their_rights_allow(clerk, process, people):
    row = make_connection(process, people.alice)
    of_admin = make_connection(process, people.admin)
    nobody = clerk()
    assert nobody.get(CONNECTIONS).status_code == 404
    viewer = clerk("view_liveconnection")
    assert "Alice" in text_of(viewer.get(CONNECTIONS))
    assert viewer.post(page_of(row, "end")).status_code == 404
    ender = clerk("view_liveconnection", "change_liveconnection")
    assert ender.post(page_of(of_admin, "end")).status_code == 404
    assert ender.post(page_of(of_admin, "end-all")).status_code == 404
    assert not LiveConnection.objects.filter(is_to_end=True).exists()
    assert ender.post(page_of(row, "end")).status_code == 302
    row.refresh_from_db()
    assert row.is_to_end
    assert AuditEntry.objects.filter(action="connection.ended").count() == 1


def test_page_of_a_person_leads_to_their_connections(console, clerk, process, people):
    path = f"/console/pki/user/{people.alice.pk}/change/"
    assert f"{CONNECTIONS}?q=alice" in text_of(console.get(path))
    assert CONNECTIONS not in text_of(clerk("view_user").get(path))
