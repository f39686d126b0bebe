"""The console's page of a room: what was said there is taken out by who has the right."""

from __future__ import annotations

import re
import zipfile

import pytest
from django.utils import timezone

from chat import rooms
from chat.models import Room
from pki.models import AuditEntry, Operation
from tests.factories import make_identity
from tests.operations import finished
from tests.pki.admin.conftest import text_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def den(pki, people):
    alice = make_identity(people.alice, pki.issuing)
    rooms.create_room(actor=alice, room="den", name="Den", kind="private", at=timezone.now())
    return Room.objects.get()


def test_export_runs_beside_the_console(console, den, settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    export = f"/console/chat/room/{den.pk}/export/"
    assert console.get(export).status_code == 200
    assert not Operation.objects.exists()

    assert console.post(export).status_code == 302

    done = finished(Operation.objects.get())
    assert done.state == Operation.State.DONE
    (file,) = (tmp_path / "exports").iterdir()
    assert done.outcome == "1 events, 0 files."
    assert zipfile.is_zipfile(file)
    assert AuditEntry.objects.get(action="room.exported").actor == "admin"


def test_page_names_things_as_people_do(console, den):
    Room.objects.update(created_at="2026-11-21T19:14:00Z")
    page = text_of(console.get(f"/console/chat/room/{den.pk}/change/"))
    for words in ("Address", "Last number", "Seconds between messages", "21 Nov 2026, 19:14 UTC"):
        assert words in page
    for words in ("Slug", "Last seq", "Slow seconds"):
        assert words not in page
    assert "Last number" in text_of(console.get("/console/chat/room/"))


def test_list_tells_of_legal_holds_and_retention(console, den):
    def rows(query=""):
        return text_of(console.get(f"/console/chat/room/{query}")).split("</thead>")[1]

    plain = rows()
    assert ">on hold<" not in plain
    assert re.search(r"field-retention[^>]*>\s*for good\s*<", plain)
    Room.objects.create(slug="case", name="Case", legal_hold="Case 7", retention_days=30)

    shown = rows()

    assert shown.count(">on hold<") == 1
    assert "Case 7" not in shown
    assert "30 days" in shown
    for query in ("?hold=yes", "?retention=yes"):
        assert "den" not in re.findall(r"field-address[^>]*>\s*(\w+)", rows(query))
        assert "case" in re.findall(r"field-address[^>]*>\s*(\w+)", rows(query))
    for query in ("?hold=no", "?retention=no"):
        assert re.findall(r"field-address[^>]*>\s*(\w+)", rows(query)) == ["den"]


def test_export_needs_its_right(clerk, den, settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    visitor = clerk("view_room", "change_room")
    page = text_of(visitor.get(f"/console/chat/room/{den.pk}/change/"))
    assert "/export/" not in page
    assert visitor.post(f"/console/chat/room/{den.pk}/export/").status_code == 404
    assert not (tmp_path / "exports").exists()
