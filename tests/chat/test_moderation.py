"""Reports: who may make them, who hears of them, and who may read what they are about."""

from __future__ import annotations

import pytest
from django.db import transaction

from chat import fanout, moderation, rooms
from chat.errors import NotAllowedError, NotFoundError
from chat.models import Event, Membership, Message, Report, Room
from pki.models import AuditEntry
from tests.chat.verbs import numbers, post
from tests.locks import held_up, needs_row_locks

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(monkeypatch):
    notes = []
    monkeypatch.setattr(fanout, "announce", lambda news: notes.extend(news.notes))
    return notes


def report(actor, room, message, reason="rude", *, at):
    moderation.report(actor=actor, room=room, message=str(message.pk), reason=reason, at=at)


def actions():
    entries = AuditEntry.objects.filter(action__startswith="report.").order_by("sequence")
    return [entry.action for entry in entries]


class TestReporting:
    def test_moderators_are_told_and_the_log_is_not(
        self, cast, den, at, told, django_capture_on_commit_callbacks
    ):
        message = post(cast.bob, den, at=at).event
        rooms_before = numbers(den)
        Membership.objects.create(
            room=message.room, user_id=cast.charlie.user_id, role=Membership.Role.MODERATOR
        )
        with django_capture_on_commit_callbacks(execute=True):
            report(cast.charlie, den, message, at=at)

        frame = {"ev": "report", "room": "den", "message": str(message.pk), "count": 1}
        people = {(note.user_id, tuple(note.frame.items())) for note in told if note.user_id}
        expected = (cast.alice.user_id, cast.charlie.user_id)
        assert people == {(user, tuple(frame.items())) for user in expected}
        assert numbers(den) == rooms_before

    def test_who_wrote_the_message_is_not_told(
        self, cast, den, at, told, django_capture_on_commit_callbacks
    ):
        message = post(cast.alice, den, at=at).event  # the owner
        with django_capture_on_commit_callbacks(execute=True):
            report(cast.bob, den, message, at=at)
        assert Report.objects.count() == 1
        assert told == []

    def test_who_began_a_direct_room_is_not_told(
        self, cast, at, told, django_capture_on_commit_callbacks
    ):
        everybody = ["bob", "charlie"]
        rooms.create_room(
            actor=cast.alice, room="d", name="d", kind="direct", members=everybody, at=at
        )
        message = post(cast.bob, "d", at=at).event
        with django_capture_on_commit_callbacks(execute=True):
            report(cast.charlie, "d", message, at=at)
        assert Report.objects.count() == 1
        assert told == []

    def test_second_report_by_the_same_person_changes_nothing(self, cast, den, at):
        message = post(cast.alice, den, at=at).event
        report(cast.bob, den, message, "rude", at=at)
        report(cast.bob, den, message, "very rude", at=at)
        assert [r.reason for r in Report.objects.all()] == ["rude"]
        assert actions() == ["report.made"]

    def test_stranger_cannot_tell_whether_there_is_such_a_message(self, cast, den, at):
        message = post(cast.alice, den, at=at).event
        with pytest.raises(NotFoundError, match="no such room"):
            report(cast.charlie, den, message, at=at)

    def test_message_of_another_room_is_not_found(self, cast, den, square, at):
        message = post(cast.alice, square, at=at).event
        with pytest.raises(NotFoundError, match="not in this room"):
            report(cast.bob, den, message, at=at)

    def test_own_message_is_not_reported(self, cast, den, at):
        message = post(cast.bob, den, at=at).event
        with pytest.raises(NotAllowedError, match="your own"):
            report(cast.bob, den, message, at=at)

    @pytest.mark.parametrize("field", ["deleted_at", "expired_at"])
    def test_what_is_gone_is_not_reported(self, cast, den, at, field):
        message = post(cast.alice, den, at=at).event
        Message.objects.filter(pk=message.pk).update(**{field: at})
        with pytest.raises(NotAllowedError, match="gone"):
            report(cast.bob, den, message, at=at)

    def test_who_has_left_does_not_report(self, cast, den, at):
        message = post(cast.alice, den, at=at).event
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            report(cast.bob, den, message, at=at)


@pytest.fixture
def reported(cast, den, at):
    message = post(cast.alice, den, "rude words", at=at).event
    report(cast.bob, den, message, at=at)
    return Report.objects.get()


class TestSettling:
    @pytest.mark.parametrize("state", [Report.State.UPHELD, Report.State.DISMISSED])
    def test_report_is_settled_once(self, cast, reported, at, state):
        moderation.settle_report(actor=cast.charlie, report=reported, state=state, at=at)
        reported.refresh_from_db()
        assert (reported.state, reported.settled_by_id) == (state, cast.charlie.user_id)
        with pytest.raises(NotAllowedError, match="settled already"):
            moderation.settle_report(
                actor=cast.alice, report=reported, state=Report.State.DISMISSED, at=at
            )
        assert actions() == ["report.made", f"report.{state}"]

    def test_it_is_not_opened_again(self, cast, reported, at):
        with pytest.raises(NotAllowedError):
            moderation.settle_report(
                actor=cast.alice, report=reported, state=Report.State.OPEN, at=at
            )


class TestUpholdingAndDeleting:
    """Charlie runs the console and is not in the room."""

    def uphold(self, cast, reported, at):
        moderation.uphold_and_delete(actor=cast.charlie, report=reported, at=at)

    def test_message_goes_as_by_a_moderator_and_members_hear_of_it(
        self, cast, den, reported, at, monkeypatch, django_capture_on_commit_callbacks
    ):
        heard = []
        monkeypatch.setattr(fanout, "announce", heard.append)
        head = Room.objects.get().last_seq
        with django_capture_on_commit_callbacks(execute=True):
            self.uphold(cast, reported, at)

        reported.refresh_from_db()
        assert (reported.state, reported.message.is_there) == ("upheld", False)
        posted, deleted = (Event.objects.get(pk=reported.message_id), Event.objects.last())
        assert posted.data["deleted"]
        assert "rude" not in str(list(Event.objects.values_list("data", flat=True)))
        assert (deleted.type, deleted.by_id) == ("message.deleted", cast.charlie.user_id)
        assert deleted.seq == head + 1
        assert deleted.data == {"message": str(reported.message_id)}  # no word of the report
        assert [news.event for news in heard] == [deleted]
        assert not Membership.objects.filter(user_id=cast.charlie.user_id).exists()

    def test_both_are_in_the_audit_trail(self, cast, den, reported, at):
        self.uphold(cast, reported, at)
        entry = AuditEntry.objects.get(action="room.message_deleted")
        assert (entry.actor, entry.target) == ("charlie", "room:den")
        assert entry.detail["author"] == "alice"
        assert actions() == ["report.made", "report.upheld"]

    @pytest.mark.parametrize(
        ("room", "message", "why"),
        [
            ({"legal_hold": "Case 7"}, {}, "legal hold"),
            ({"kind": Room.Kind.DIRECT}, {}, "only who wrote"),
            ({}, {"deleted_at": "2026-01-01T00:00Z"}, "has been deleted"),
            ({}, {"expired_at": "2026-01-01T00:00Z"}, "has expired"),
        ],
        ids=["hold", "direct", "deleted", "expired"],
    )
    def test_what_may_not_go_stays_and_the_report_stays_open(
        self, cast, den, reported, at, room, message, why
    ):
        Room.objects.update(**room)
        Message.objects.update(**message)
        head = Room.objects.get().last_seq
        with pytest.raises(NotAllowedError, match=why):
            self.uphold(cast, reported, at)
        reported.refresh_from_db()
        assert (reported.state, Room.objects.get().last_seq) == ("open", head)
        assert Event.objects.get(pk=reported.message_id).data["body"] == "rude words"
        assert not moderation.may_delete(Report.objects.get())
        assert actions() == ["report.made"]

    def test_settled_report_deletes_nothing(self, cast, den, reported, at):
        assert moderation.may_delete(reported)
        moderation.settle_report(
            actor=cast.alice, report=reported, state=Report.State.DISMISSED, at=at
        )
        with pytest.raises(NotAllowedError, match="settled already"):
            self.uphold(cast, reported, at)
        assert Message.objects.get(pk=reported.message_id).body == "rude words"
        assert not AuditEntry.objects.filter(action="room.message_deleted").exists()

    @needs_row_locks
    @pytest.mark.django_db(transaction=True)
    def test_of_two_who_settle_at_once_one_is_refused(self, cast, den, reported, at):
        dismissed = Report.State.DISMISSED
        with transaction.atomic():
            Report.objects.select_for_update().get()
            upholding = held_up(lambda: self.uphold(cast, reported, at))
            moderation.settle_report(actor=cast.alice, report=reported, state=dismissed, at=at)
        with pytest.raises(NotAllowedError, match="settled already"):
            upholding.result(30)
        reported.refresh_from_db()
        assert (reported.state, reported.message.is_there) == (dismissed, True)


class TestReading:
    def test_each_look_is_recorded(self, cast, reported, at):
        said = moderation.read_reported(actor=cast.charlie, report=reported, at=at)
        assert said == ["rude words"]
        entry = AuditEntry.objects.get(action="report.read")
        assert (entry.actor, entry.target) == ("charlie", "room:den")
        assert entry.detail["message"] == str(reported.message_id)
        assert "rude words" not in str(entry.detail)

    def test_what_is_gone_is_not_read(self, cast, reported, at):
        Message.objects.filter(pk=reported.message_id).update(deleted_at=at)
        reported.refresh_from_db()
        assert moderation.read_reported(actor=cast.charlie, report=reported, at=at) == []


def test_report_goes_with_its_room(reported):
    Room.objects.get().delete()
    assert not Report.objects.exists()
