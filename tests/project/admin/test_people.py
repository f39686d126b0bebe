"""The console's page of a person: what they did in the chat is taken out by who has the right."""

from __future__ import annotations

import pytest

from pki.models import AuditEntry, Operation
from project.models import Export
from tests.operations import finished
from tests.pki.admin.conftest import text_of

pytestmark = pytest.mark.django_db(transaction=True)


def page(person, name="change"):
    return f"/console/pki/user/{person.pk}/{name}/"


@pytest.fixture
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    return tmp_path


def test_person_is_exported_beside_the_console(clerk, people, home):
    visitor = clerk("view_user", "export_room")
    assert page(people.alice, "export") in text_of(visitor.get(page(people.alice)))
    assert visitor.get(page(people.alice, "export")).status_code == 200
    assert not Operation.objects.exists()

    begun = visitor.post(page(people.alice, "export"))

    done = finished(Operation.objects.get())
    assert begun.url == f"/console/pki/operation/{done.pk}/change/"
    assert (done.state, done.actor) == (Operation.State.DONE, "bob")
    assert Export.objects.get().subject == "alice"
    assert AuditEntry.objects.get(action="person.exported").target == "alice"


@pytest.mark.parametrize("rights", [["view_user"], ["view_user", "change_user"], ["export_room"]])
def test_export_needs_its_right_and_that_to_see_people(clerk, people, home, rights):
    visitor = clerk(*rights)
    if "view_user" in rights:
        assert "/export/" not in text_of(visitor.get(page(people.alice)))
    assert visitor.post(page(people.alice, "export")).status_code == 404
    assert not Export.objects.exists()


def test_people_of_the_console_are_exported_by_administrators(clerk, console, people, home):
    visitor = clerk("view_user", "export_room")
    assert visitor.post(page(people.admin, "export")).status_code == 404
    assert not Export.objects.exists()
    assert console.post(page(people.admin, "export")).status_code == 302
    assert finished(Operation.objects.get()).state == Operation.State.DONE
