"""The verbs of messages: what they change, what they refuse, and to whom they admit that a room exists."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from chat import log, messages, rooms
from chat.errors import (
    BadRequestError,
    ClientIdConflictError,
    NotAllowedError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from chat.models import Attachment, Event, Mention, Message, Room
from pki.errors import AuditError
from pki.models import AuditEntry
from tests.chat.verbs import at_once, numbers, post, types

pytestmark = pytest.mark.django_db


class TestPosting:
    def test_member_posts_and_the_event_says_everything(self, cast, den, at):
        wire = post(cast.bob, den, "*hi*", client_id="c1", at=at).event.wire

        assert wire == {
            "ev": "event",
            "room": "den",
            "seq": 3,
            "id": str(Event.objects.get(seq=3).pk),
            "type": "message.posted",
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "by": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
            "certificate": {"serial": cast.bob.serial},
            "data": {"body": "*hi*", "html": "<p><em>hi</em></p>", "client_id": "c1"},
        }
        assert Room.objects.get(slug="den").last_seq == 3

    def test_stranger_cannot_tell_a_private_room_from_a_missing_one(self, cast, den, at):
        post(cast.bob, den, at=at)
        for room in ("den", "nowhere"):
            with pytest.raises(NotFoundError) as caught:
                post(cast.charlie, room, at=at)
            assert str(caught.value) == "There is no such room."
        assert numbers(den) == [1, 2, 3]

    def test_only_what_a_member_writes_is_rendered(self, cast, den, at, monkeypatch):
        monkeypatch.setattr(messages, "read", None)
        with pytest.raises(NotFoundError):
            post(cast.charlie, den, at=at)

    def test_stranger_is_told_to_join_a_public_room(self, cast, square, at):
        with pytest.raises(NotAllowedError, match="Join the room first"):
            post(cast.charlie, square, at=at)
        assert Room.objects.get(slug=square).last_seq == 1

    def test_who_has_left_cannot_post(self, cast, den, at):
        post(cast.bob, den, at=at)
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            post(cast.bob, den, at=at)
        assert numbers(den) == [1, 2, 3, 4]

    def test_same_message_again_is_the_stored_one(self, cast, den, at):
        first = post(cast.bob, den, client_id="c1", at=at)
        again = post(cast.bob, den, client_id="c1", at=at)

        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.reply == {"event": first.event.wire, "duplicate": True}
        assert numbers(den) == [1, 2, 3]

    def test_same_client_id_with_another_content_is_a_conflict(self, cast, den, at):
        message = str(post(cast.bob, den, client_id="c0", at=at).event.pk)
        post(cast.bob, den, client_id="c1", at=at)
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, den, "goodbye", client_id="c1", at=at)
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, den, client_id="c1", reply_to=message, at=at)
        assert numbers(den) == [1, 2, 3, 4]

    def test_same_client_id_in_another_room_is_a_conflict(self, cast, den, square, at):
        rooms.join(actor=cast.bob, room=square, at=at)
        post(cast.bob, den, client_id="c1", at=at)
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, square, client_id="c1", at=at)
        assert numbers(square) == [1, 2]

    def test_stored_message_is_not_returned_to_who_has_left(self, cast, den, at):
        post(cast.bob, den, client_id="c1", at=at)
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            post(cast.bob, den, client_id="c1", at=at)

    def test_two_people_may_use_the_same_client_id(self, cast, den, at):
        post(cast.alice, den, client_id="c1", at=at)
        assert not post(cast.bob, den, client_id="c1", at=at).duplicate

    def test_reply_names_a_message_of_the_room(self, cast, den, at):
        message = str(post(cast.alice, den, at=at).event.pk)
        reply = post(cast.bob, den, reply_to=message, at=at)
        assert reply.event.wire["data"]["reply_to"] == message

    def test_reply_to_another_room_is_not_found(self, cast, den, square, at):
        message = str(post(cast.alice, square, at=at).event.pk)
        with pytest.raises(NotFoundError, match="not in this room"):
            post(cast.alice, den, reply_to=message, at=at)

    def test_reply_to_what_is_no_message_is_not_found(self, cast, den, at):
        with pytest.raises(NotFoundError):
            post(cast.alice, den, reply_to=str(Event.objects.get(seq=1).pk), at=at)

    def test_rolled_back_post_leaves_no_hole(self, cast, den, at):
        def fail():
            with transaction.atomic():
                post(cast.bob, den, at=at)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        post(cast.bob, den, at=at)
        assert numbers(den) == [1, 2, 3]

    def test_who_came_in_at_this_very_moment_is_asked_to_try_again(
        self, cast, den, at, monkeypatch
    ):
        monkeypatch.setattr(log, "take_number", lambda _rooms: 0)
        with pytest.raises(UnavailableError):
            post(cast.bob, den, at=at)
        assert numbers(den) == [1, 2]

    def test_post_takes_four_queries(self, cast, den, at):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            post(cast.bob, den, at=at)
        assert len([q for q in queries if "SAVEPOINT" not in q["sql"]]) == 4

    def test_repeat_of_what_was_stored_is_not_refused_since(self, cast, den, at):
        first = post(cast.bob, den, client_id="c1", at=at)
        for change in ({"slow_seconds": 60}, {"posting": "moderators"}, {"archived_at": at}):
            Room.objects.filter(slug=den).update(**change)
            assert post(cast.bob, den, client_id="c1", at=at).reply == {
                "event": first.event.wire,
                "duplicate": True,
            }
            with pytest.raises((RateLimitedError, NotAllowedError)):
                post(cast.bob, den, client_id="c2", at=at)
        assert numbers(den) == [1, 2, 3]

    def test_message_knows_what_it_holds(self, cast, den, at):
        bodies = {"has_link": "see https://a.example", "has_code": "`x`"}
        for body in ("plain", *bodies.values()):
            message = Message.objects.get(pk=post(cast.bob, den, body, at=at).event.pk)
            assert message.body == body
            for flag, holding in bodies.items():
                assert getattr(message, flag) == (body == holding)

    def test_action_is_marked(self, cast, den, at):
        data = post(cast.bob, den, "/me waves", at=at).event.data
        assert (data["action"], data["body"], data["html"]) == (True, "/me waves", "<p>waves</p>")
        assert "action" not in post(cast.bob, den, "/menu", at=at).event.data

    def test_nothing_at_all_is_no_message(self, cast, den, at):
        with pytest.raises(BadRequestError, match="Write something, or attach a file"):
            post(cast.bob, den, "", at=at)


class TestThreads:
    def test_message_is_written_under_another(self, cast, den, at):
        root = post(cast.alice, den, at=at).event
        under = post(cast.bob, den, thread=str(root.pk), at=at).event
        assert under.data["thread"] == str(root.pk)
        assert Message.objects.get(pk=under.pk).thread_id == root.pk

    def test_thread_begins_in_its_room_and_not_in_a_thread(self, cast, den, square, at):
        elsewhere = str(post(cast.alice, square, at=at).event.pk)
        root = str(post(cast.alice, den, at=at).event.pk)
        under = str(post(cast.bob, den, thread=root, at=at).event.pk)
        with pytest.raises(NotFoundError, match="not in this room"):
            post(cast.alice, den, thread=elsewhere, at=at)
        with pytest.raises(BadRequestError, match="in a thread"):
            post(cast.alice, den, thread=under, at=at)

    def test_same_words_in_another_thread_are_a_conflict(self, cast, den, at):
        root = str(post(cast.alice, den, at=at).event.pk)
        post(cast.bob, den, client_id="c1", thread=root, at=at)
        assert post(cast.bob, den, client_id="c1", thread=root, at=at).duplicate
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, den, client_id="c1", at=at)


class TestFiles:
    @pytest.fixture
    def file(self, cast, den, at):
        def file(**fields):
            given = {
                "room": Room.objects.get(slug=den), "uploader_id": cast.bob.user_id,
                "name": "a.png", "media_type": "image/png", "size": 5, "complete": True,
            }  # fmt: skip
            return str(Attachment.objects.create(**given | fields).pk)

        return file

    def test_file_goes_with_the_message_of_who_uploaded_it(self, cast, den, at, file):
        first, second = file(), file(name="b.txt", media_type="text/plain")
        event = post(cast.bob, den, "", attachments=(second, first), at=at).event
        assert event.data["body"] == event.data["html"] == ""
        assert [f["name"] for f in event.data["attachments"]] == ["b.txt", "a.png"]
        message = Message.objects.get(pk=event.pk)
        assert (message.has_file, message.has_image) == (True, True)
        assert message.attachments.count() == 2

    def test_repeat_is_the_stored_one_and_not_a_missing_file(self, cast, den, at, file):
        key = file()
        post(cast.bob, den, "a", client_id="c1", attachments=(key,), at=at)
        assert post(cast.bob, den, "a", client_id="c1", attachments=(key,), at=at).duplicate
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, den, "a", client_id="c1", at=at)

    def test_file_of_somebody_else_or_another_room_is_not_found(self, cast, den, square, at, file):
        post(cast.bob, den, attachments=(file(),), at=at)
        elsewhere = file(room=Room.objects.get(slug=square))
        for key in (file(complete=False), file(uploader_id=cast.alice.user_id), elsewhere):
            with pytest.raises(NotFoundError):
                post(cast.bob, den, attachments=(key,), at=at)
        assert numbers(den) == [1, 2, 3]

    def test_file_goes_with_one_message(self, cast, den, at, file):
        key = file()
        post(cast.bob, den, attachments=(key,), at=at)
        with pytest.raises(NotFoundError):
            post(cast.bob, den, attachments=(key,), at=at)


class TestSlowMode:
    @pytest.fixture
    def slow(self, den):
        Room.objects.filter(slug=den).update(slow_seconds=30)
        return den

    def test_member_waits_and_is_told_how_long(self, cast, slow, at):
        post(cast.bob, slow, at=at)
        with pytest.raises(RateLimitedError, match="once in 30 seconds") as caught:
            post(cast.bob, slow, at=at + dt.timedelta(seconds=10.5))
        assert caught.value.retry_after == 19.5
        post(cast.bob, slow, at=at + dt.timedelta(seconds=30))
        assert numbers(slow) == [1, 2, 3, 4]

    def test_moderator_and_duplicate_do_not_wait(self, cast, slow, at):
        post(cast.alice, slow, at=at)
        post(cast.alice, slow, at=at)
        post(cast.bob, slow, client_id="c1", at=at)
        assert post(cast.bob, slow, client_id="c1", at=at).duplicate

    def test_deleting_does_not_shorten_the_wait(self, cast, slow, at):
        message = str(post(cast.bob, slow, at=at).event.pk)
        messages.delete_message(actor=cast.bob, room=slow, message=message, at=at)
        with pytest.raises(RateLimitedError):
            post(cast.bob, slow, at=at)


class TestEditing:
    @pytest.fixture
    def message(self, cast, den, at):
        return str(post(cast.bob, den, "old", client_id="c1", at=at).event.pk)

    def edit(self, actor, room, message, body, at):
        return messages.edit_message(actor=actor, room=room, message=message, body=body, at=at)

    def test_author_edits_and_the_log_keeps_what_was_said(self, cast, den, message, at):
        event = self.edit(cast.bob, den, message, "*new* `x`", at).event
        assert (event.type, event.seq, str(event.message_id)) == ("message.edited", 4, message)
        assert event.data == {
            "message": message,
            "body": "*new* `x`",
            "html": "<p><em>new</em> <code>x</code></p>",
        }
        assert Event.objects.get(pk=message).data["body"] == "old"
        row = Message.objects.get(pk=message)
        assert (row.body, row.edited_at, row.has_code) == ("*new* `x`", at, True)

    def test_saying_the_same_is_a_duplicate_of_who_said_it(self, cast, den, message, at):
        assert self.edit(cast.bob, den, message, "old", at).event.seq == 3
        edited = self.edit(cast.bob, den, message, "new", at)
        again = self.edit(cast.bob, den, message, "new", at)
        assert again.reply == {"event": edited.event.wire, "duplicate": True}
        assert numbers(den) == [1, 2, 3, 4]
        assert Room.objects.get(slug=den).last_seq == 4

    def test_nobody_edits_what_others_wrote(self, cast, den, message, at):
        with pytest.raises(NotAllowedError, match="Only its author"):
            self.edit(cast.alice, den, message, "new", at)
        with pytest.raises(NotFoundError):
            self.edit(cast.charlie, den, message, "new", at)
        assert numbers(den) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"legal_hold": "case 7"}, "a legal hold says so"),
            ({"posting": "moderators"}, "Only moderators write"),
            ({"archived_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "archived"),
        ],
    )
    def test_room_may_not_let_it_be_edited(self, cast, den, message, at, change, sentence):
        Room.objects.filter(slug=den).update(**change)
        with pytest.raises(NotAllowedError, match=sentence):
            self.edit(cast.bob, den, message, "new", at)
        assert Message.objects.get(pk=message).body == "old"

    def test_what_is_gone_is_not_edited(self, cast, den, message, at):
        Message.objects.filter(pk=message).update(expired_at=at)
        with pytest.raises(NotAllowedError, match="expired"):
            self.edit(cast.bob, den, message, "new", at)

    def test_edited_message_names_whom_it_names_now(self, cast, den, message, at):
        self.edit(cast.bob, den, message, "hi @alice", at)
        assert list(Mention.objects.values_list("user", "seq")) == [(cast.alice.user_id, 3)]
        event = self.edit(cast.bob, den, message, "hi @all", at).event
        assert list(Mention.objects.values_list("user", "seq")) == [(None, 3)]
        assert event.data["everyone"] is True
        assert "mentions" not in event.data


class TestDeleting:
    SECRET = "the word is swordfish"

    @pytest.fixture
    def message(self, cast, den, at):
        root = post(cast.alice, den, at=at).event
        return str(
            post(cast.bob, den, self.SECRET, client_id="c1", thread=str(root.pk), at=at).event.pk
        )

    def delete(self, actor, room, message, at, **more):
        return messages.delete_message(actor=actor, room=room, message=message, at=at, **more)

    def test_nothing_of_it_is_left(self, cast, den, message, at):
        root = Event.objects.get(seq=3)
        for body in (f"{self.SECRET}!", f"{self.SECRET} @alice"):
            messages.edit_message(actor=cast.bob, room=den, message=message, body=body, at=at)
        event = self.delete(cast.bob, den, message, at).event

        assert (event.type, event.data, str(event.message_id)) == (
            "message.deleted", {"message": message}, message,
        )  # fmt: skip
        redacted = [e.data for e in Event.objects.filter(room__slug=den, seq__gt=3).order_by("seq")]
        assert redacted == [
            {"client_id": "c1", "thread": str(root.pk), "deleted": True},
            {"message": message, "deleted": True},
            {"message": message, "deleted": True},
            {"message": message},
        ]
        row = Message.objects.get(pk=message)
        assert (row.body, row.deleted_at, row.is_there) == ("", at, False)
        assert not Mention.objects.exists()

    def test_deleting_again_is_a_duplicate(self, cast, den, message, at):
        deleted = self.delete(cast.bob, den, message, at)
        again = self.delete(cast.bob, den, message, at)
        assert again.reply == {"event": deleted.event.wire, "duplicate": True}
        assert numbers(den) == [1, 2, 3, 4, 5]

    def test_client_id_stays_taken(self, cast, den, message, at):
        thread = str(Event.objects.get(seq=3).pk)
        self.delete(cast.bob, den, message, at)
        again = post(cast.bob, den, self.SECRET, client_id="c1", thread=thread, at=at)
        assert (str(again.event.pk), again.duplicate) == (message, True)
        assert again.event.data["deleted"] is True
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, den, self.SECRET, client_id="c1", at=at)
        assert numbers(den) == [1, 2, 3, 4, 5]

    def test_moderator_deletes_and_it_is_recorded(self, cast, den, message, at):
        event = self.delete(cast.alice, den, message, at, reason="spam").event
        assert event.data == {"message": message, "reason": "spam"}
        entry = AuditEntry.objects.get(action="room.message_deleted")
        assert (entry.actor, entry.target) == ("alice", "room:den")
        assert (entry.detail["author"], entry.detail["reason"]) == ("bob", "spam")
        assert self.SECRET not in str(entry.detail)

    def test_nothing_is_deleted_that_cannot_be_recorded(self, cast, den, message, at, monkeypatch):
        def fail(**_facts):
            raise AuditError("The trail cannot be written.")

        monkeypatch.setattr("pki.audit.record", fail)
        with pytest.raises(AuditError):
            self.delete(cast.alice, den, message, at)
        assert Message.objects.get(pk=message).body == self.SECRET
        assert numbers(den) == [1, 2, 3, 4]

    def test_own_message_is_nobody_elses_business(self, cast, den, message, at):
        self.delete(cast.bob, den, message, at)
        assert not AuditEntry.objects.filter(action="room.message_deleted").exists()

    def test_member_deletes_nothing_of_others(self, cast, den, message, at):
        hers = str(Event.objects.get(seq=3).pk)
        with pytest.raises(NotAllowedError, match="what you wrote yourself"):
            self.delete(cast.bob, den, hers, at)
        with pytest.raises(NotFoundError):
            self.delete(cast.charlie, den, hers, at)

    def test_legal_hold_keeps_it_from_everybody(self, cast, den, message, at):
        Room.objects.filter(slug=den).update(legal_hold="case 7")
        for actor in (cast.bob, cast.alice):
            with pytest.raises(NotAllowedError, match="legal hold") as caught:
                self.delete(actor, den, message, at)
            assert "case 7" not in str(caught.value)
        assert Message.objects.get(pk=message).body == self.SECRET

    def test_what_has_expired_is_gone_already(self, cast, den, message, at):
        Message.objects.filter(pk=message).update(expired_at=at)
        with pytest.raises(NotAllowedError, match="expired"):
            self.delete(cast.bob, den, message, at)


@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    """With real transactions in real threads; on PostgreSQL they do overlap."""

    def test_numbers_have_neither_holes_nor_doubles(self, cast, den, at):
        def post_ten():
            for _ in range(10):
                post(cast.bob, den, at=at)

        assert at_once(*[post_ten] * 4) == [None] * 4
        assert numbers(den) == list(range(1, 43))
        assert Room.objects.get(slug=den).last_seq == 42

    def test_copies_of_a_message_are_stored_once(self, cast, den, at):
        results = at_once(*[lambda: post(cast.bob, den, client_id="c1", at=at)] * 6)

        assert sorted(r.duplicate for r in results) == [False] + [True] * 5
        assert len({r.event.pk for r in results}) == 1
        assert numbers(den) == [1, 2, 3]

    def test_client_id_for_two_contents_goes_to_one(self, cast, den, at):
        results = at_once(
            lambda: post(cast.bob, den, "a", client_id="c1", at=at),
            lambda: post(cast.bob, den, "b", client_id="c1", at=at),
        )
        assert sum(isinstance(r, ClientIdConflictError) for r in results) == 1
        assert numbers(den) == [1, 2, 3]

    def test_message_is_deleted_once(self, cast, den, at):
        message = str(post(cast.bob, den, at=at).event.pk)
        about = {"room": den, "message": message, "at": at}
        results = at_once(
            *[lambda: messages.delete_message(actor=cast.bob, **about)] * 3,
            *[lambda: messages.delete_message(actor=cast.alice, **about)] * 3,
        )
        assert sorted(r.duplicate for r in results) == [False] + [True] * 5
        assert types(den)[2:] == ["message.posted", "message.deleted"]

    def test_edit_that_meets_a_deletion_leaves_no_word(self, cast, den, at):
        message = str(post(cast.bob, den, at=at).event.pk)
        about = {"actor": cast.bob, "room": den, "message": message, "at": at}
        at_once(
            *[lambda n=n: messages.edit_message(**about, body=f"secret {n}") for n in range(3)],
            lambda: messages.delete_message(**about),
        )
        log_of_room = Event.objects.filter(room__slug=den)
        assert not [e.data for e in log_of_room if "secret" in str(e.data)]
        assert Message.objects.get(pk=message).body == ""

    def test_nobody_writes_after_they_have_left(self, cast, den, at):
        def post_many():
            for _ in range(30):
                post(cast.bob, den, at=at)

        posted, farewell = at_once(post_many, lambda: rooms.leave(actor=cast.bob, room=den, at=at))
        left = farewell.event.seq
        assert isinstance(posted, NotFoundError) or left == numbers(den)[-1]
        assert numbers(den) == list(range(1, left + 1))

    def test_person_joins_once(self, cast, square, at):
        results = at_once(*[lambda: rooms.join(actor=cast.bob, room=square, at=at)] * 4)
        assert sorted(r.duplicate for r in results) == [False, True, True, True]
        assert types(square) == ["room.created", "member.joined"]

    def test_address_goes_to_one(self, cast, at):
        def create(actor):
            return lambda: rooms.create_room(
                actor=actor, room="new", name="New", kind="public", at=at
            )

        results = at_once(create(cast.alice), create(cast.bob))
        assert sum(isinstance(r, NotAllowedError) for r in results) == 1

    def test_two_people_have_one_direct_room(self, cast, at):
        def create(actor, other, slug):
            return lambda: rooms.create_room(
                actor=actor, room=slug, name="x", kind="direct", members=[other], at=at
            )

        results = at_once(create(cast.alice, "bob", "d1"), create(cast.bob, "alice", "d2"))
        assert len({r.event.room.slug for r in results}) == 1
        assert Room.objects.count() == 1
