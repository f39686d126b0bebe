from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from pki.models import Operation
from tests.pki.admin.conftest import entry_of, queries_of, said, text_of

OPERATIONS = "/console/pki/operation/"


@pytest.fixture
def operation(pki, at):
    return Operation.objects.create(
        title="Revoke 200 certificates",
        actor="admin",
        done=50,
        total=200,
        started_at=timezone.now() - dt.timedelta(seconds=10),
    )


def page_of(operation):
    return f"{OPERATIONS}{operation.pk}/change/"


def test_operations_are_listed_with_how_far_they_are(console, operation):
    listed = text_of(console.get(OPERATIONS))
    assert "Revoke 200 certificates" in listed
    assert 'max="100" value="25"' in listed
    assert "50 of 200" in listed


def test_list_takes_the_same_queries_for_many_operations(console, operation):
    few = queries_of(console, OPERATIONS)
    for number in range(5):
        Operation.objects.create(title=f"Another {number}", actor="admin")
    assert queries_of(console, OPERATIONS) == few


def test_page_of_an_operation_shows_its_bar_and_a_way_to_stop_it(console, operation):
    shown = text_of(console.get(page_of(operation)))
    assert 'value="25" data-bar' in shown
    assert f'data-operation="{OPERATIONS}{operation.pk}/state/"' in shown
    assert f'action="{OPERATIONS}{operation.pk}/stop/"' in shown
    assert "<script>" not in shown.split("data-operation")[1]


def test_state_of_an_operation_is_told_to_its_page(console, operation):
    response = console.get(f"{OPERATIONS}{operation.pk}/state/")
    assert "no-store" in response["Cache-Control"]
    assert response.json() == {
        "state": "running",
        "label": "running",
        "tone": "info",
        "percent": 25,
        "amount": "50 of 200",
        "left": "30 s",
        "outcome": "",
        "is_to_stop": False,
        "is_running": True,
        "leads_to": "",
        "leads_label": "",
    }


def test_operation_that_has_ended_tells_its_outcome_and_offers_no_stop(console, operation):
    Operation.objects.update(state="done", done=200, outcome="200 certificates revoked.")
    shown = text_of(console.get(page_of(operation)))
    assert "200 certificates revoked." in shown
    assert "/stop/" not in shown


def test_operation_without_a_sign_of_life_is_shown_as_failed(console, operation):
    Operation.objects.update(seen_at=timezone.now() - dt.timedelta(minutes=2))
    state = console.get(f"{OPERATIONS}{operation.pk}/state/").json()
    assert (state["state"], state["is_running"]) == ("failed", False)
    assert "process that ran it has ended" in state["outcome"]
    assert "process that ran it has ended" in text_of(console.get(OPERATIONS))


def test_operation_is_asked_to_stop_by_a_button(console, operation):
    assert console.get(f"{OPERATIONS}{operation.pk}/stop/").status_code == 405
    operation.refresh_from_db()
    assert not operation.is_to_stop

    sentences = said(console, console.post(f"{OPERATIONS}{operation.pk}/stop/"))

    assert sentences == ["It stops after the piece it is at."]
    operation.refresh_from_db()
    assert operation.is_to_stop
    assert "It stops after the piece it is at." in text_of(console.get(page_of(operation)))


def test_operation_that_has_just_ended_says_so_on_its_page(console, operation):
    Operation.objects.update(state="done")
    refused = console.post(f"{OPERATIONS}{operation.pk}/stop/")
    assert said(console, refused) == ["This operation has ended already."]
    assert refused.url == page_of(operation)
    entry = entry_of("operation.stop.refused")
    assert (entry.actor, entry.target) == ("admin", "Revoke 200 certificates")
    operation.refresh_from_db()
    assert not operation.is_to_stop


def test_stranger_neither_sees_nor_stops_an_operation(clerk, operation):
    bob = clerk("view_certificate")
    for path in (OPERATIONS, page_of(operation), f"{OPERATIONS}{operation.pk}/state/"):
        assert bob.get(path).status_code == 404
    assert bob.post(f"{OPERATIONS}{operation.pk}/stop/").status_code == 404
    operation.refresh_from_db()
    assert not operation.is_to_stop


def test_looker_sees_but_does_not_stop_an_operation(clerk, operation):
    bob = clerk("view_operation")
    assert bob.get(OPERATIONS).status_code == 200
    assert "/stop/" not in text_of(bob.get(page_of(operation)))
    assert bob.post(f"{OPERATIONS}{operation.pk}/stop/").status_code == 404

    bob = clerk("view_operation", "change_operation")
    assert bob.post(f"{OPERATIONS}{operation.pk}/stop/").status_code == 302
    entry = entry_of("operation.stopped")
    assert (entry.actor, entry.target) == ("bob", "Revoke 200 certificates")


def test_starter_watches_and_stops_their_own_without_a_right(clerk, operation):
    Operation.objects.update(actor="bob")
    bob = clerk("view_certificate")
    shown = bob.get(page_of(operation))
    assert "/stop/" in text_of(shown)
    assert "All operations" not in text_of(shown)
    assert bob.post(f"{OPERATIONS}{operation.pk}/stop/").status_code == 302


def test_operation_that_does_not_exist(console, operation):
    assert console.get(f"{OPERATIONS}{operation.pk + 1}/state/").status_code == 404
