"""The console's page of reports: who may open it, what it shows, and that each look is recorded."""

from __future__ import annotations

import pytest
from django.utils import timezone

from chat.models import Message, Room
from pki.models import AuditEntry
from tests.pki.admin.conftest import entry_of, said, text_of
from tests.project.admin.conftest import WORDS

LIST = "/console/chat/report/"


def page(report):
    return f"{LIST}{report.pk}/change/"


def test_list_says_who_and_why_but_not_what_was_said(console, reported):
    shown = text_of(console.get(LIST))
    for words in ("den", "this is rude", "Bob", "Alice", "open"):
        assert words in shown
    assert "rude&#x27;" not in shown
    assert "alert(" not in shown
    assert not AuditEntry.objects.filter(action="report.read").exists()


def test_page_shows_the_message_as_text_and_records_the_look(console, reported):
    shown = text_of(console.get(page(reported)))

    assert "&lt;script&gt;alert(&#x27;rude&#x27;)&lt;/script&gt; words" in shown
    assert "<script>alert" not in shown
    entry = entry_of("report.read")
    assert (entry.actor, entry.target) == ("admin", "room:den")


def test_right_to_look_at_the_list_does_not_show_the_message(clerk, reported):
    visitor = clerk("view_report")
    assert visitor.get(LIST).status_code == 200
    refused = visitor.get(page(reported))
    assert refused.status_code == 404
    assert "alert(" not in text_of(refused)
    assert visitor.post(f"{LIST}{reported.pk}/settle/", {"state": "upheld"}).status_code == 404
    assert not AuditEntry.objects.filter(action="report.read").exists()


def test_other_rights_open_nothing(clerk, reported):
    visitor = clerk("view_room")
    assert visitor.get(LIST).status_code == 404
    assert visitor.get(page(reported)).status_code == 404


@pytest.mark.parametrize("state", ["upheld", "dismissed"])
def test_who_may_moderate_settles_a_report_once(clerk, reported, state):
    visitor = clerk("moderate_report")
    assert WORDS.removeprefix("<script>")[:5] in text_of(visitor.get(page(reported)))
    assert "Alice and the moderators of the room can delete it" in text_of(
        visitor.get(page(reported))
    )
    settle = f"{LIST}{reported.pk}/settle/"

    assert said(visitor, visitor.post(settle, {"state": state})) == [f"The report is {state}."]
    assert said(visitor, visitor.post(settle, {"state": state})) == [
        "This report has been settled already."
    ]
    reported.refresh_from_db()
    assert (reported.state, reported.settled_by.username) == (state, "bob")
    assert "Uphold" not in text_of(visitor.get(page(reported)))


DELETE = "Uphold and delete the message"


def delete_page(report):
    return f"{LIST}{report.pk}/uphold-and-delete/"


def test_page_leads_to_the_room_for_who_may_see_rooms(clerk, reported):
    room = (
        f'<a class="sg-link" href="/console/chat/room/{reported.message.room_id}/change/">Den</a>'
    )
    assert room in text_of(clerk("moderate_report", "view_room").get(page(reported)))
    shown = text_of(clerk("moderate_report").get(page(reported)))
    assert "in Den (den)." in shown
    assert "/console/chat/room/" not in shown


def test_who_may_moderate_upholds_and_deletes(clerk, reported):
    visitor = clerk("moderate_report")
    assert DELETE in text_of(visitor.get(page(reported)))
    asked = text_of(visitor.get(delete_page(reported)))
    assert "The message of Alice in Den is gone for good" in asked
    assert f'action="{LIST}' not in asked
    assert visitor.post(f"{LIST}{reported.pk}/settle/", {"state": "delete"}).status_code == 404
    assert Message.objects.get().is_there

    done = visitor.post(delete_page(reported))

    assert said(visitor, done) == ["The report is upheld and the message deleted."]
    assert said(visitor, visitor.post(delete_page(reported)))
    reported.refresh_from_db()
    assert (reported.state, reported.message.is_there) == ("upheld", False)
    entry = entry_of("room.message_deleted")
    assert (entry.actor, entry.target) == ("bob", "room:den")
    shown = text_of(visitor.get(page(reported)))
    assert "It is gone" in shown
    assert DELETE not in shown


def test_right_to_look_deletes_nothing(clerk, reported):
    visitor = clerk("view_report", "view_room", "change_room")
    assert visitor.get(delete_page(reported)).status_code == 404
    assert visitor.post(delete_page(reported)).status_code == 404
    assert Message.objects.get().is_there


def test_no_other_verdict_and_no_verdict_by_a_link(console, reported):
    settle = f"{LIST}{reported.pk}/settle/"
    assert console.get(settle).status_code == 405
    assert console.post(settle, {"state": "open"}).status_code == 404
    reported.refresh_from_db()
    assert reported.state == "open"


def test_message_that_is_gone_is_not_shown(console, reported):
    Message.objects.update(deleted_at=timezone.now())
    shown = text_of(console.get(page(reported)))
    assert "It is gone" in shown
    assert "alert(" not in shown
    assert DELETE not in shown


@pytest.mark.parametrize(
    ("room", "sentence"),
    [({"kind": "direct"}, "Alice alone can delete it"), ({"legal_hold": "Case 7"}, "Nobody can")],
)
def test_page_says_who_can_delete_the_message(console, reported, room, sentence):
    Room.objects.update(**room)
    shown = text_of(console.get(page(reported)))
    assert sentence in shown
    assert DELETE not in shown
    assert said(console, console.post(delete_page(reported)))
    assert Message.objects.get().is_there
