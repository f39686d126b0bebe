"""What people read, how much of it at once, and who reads nothing."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat import members, messages, pins, places, reactions, reading, rooms
from chat.errors import (
    NotAllowedError,
    NotFoundError,
)
from chat.models import Event, Membership, Message
from tests.chat.verbs import numbers, post

pytestmark = pytest.mark.django_db


class TestReading:
    @pytest.fixture
    def events(self, cast, den, at):
        for number in range(3, 13):
            post(cast.alice, den, f"message {number}", at=at)
        return [event.wire for event in Event.objects.filter(room__slug=den).order_by("seq")]

    def test_sync_returns_what_comes_after_in_order(self, cast, den, events):
        assert reading.sync(actor=cast.bob, rooms={den: 4}) == {
            "rooms": {den: {"events": events[4:], "more": False, "head": 12}}
        }

    def test_sync_says_when_there_is_more(self, cast, den, events):
        room = reading.sync(actor=cast.bob, rooms={den: 0}, limit=5)["rooms"][den]
        assert (room["events"], room["more"], room["head"]) == (events[:5], True, 12)

    def test_sync_from_the_head_or_beyond_is_empty(self, cast, den, events):
        for seq in (12, 13, 2**53 - 1):
            room = reading.sync(actor=cast.bob, rooms={den: seq})["rooms"][den]
            assert room == {"events": [], "more": False, "head": 12}

    def test_sync_stops_when_the_answer_is_full_but_moves_on(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(reading, "PAGE_BYTES", 1000)
        got, seq, answers = [], 0, 0
        while True:
            room = reading.sync(actor=cast.bob, rooms={den: seq})["rooms"][den]
            got += room["events"]
            seq, answers = got[-1]["seq"], answers + 1
            if not room["more"]:
                break
        assert got == events
        assert answers > 3

    def test_sync_of_a_full_answer_leaves_other_rooms_for_later(
        self, cast, den, square, events, monkeypatch
    ):
        monkeypatch.setattr(reading, "PAGE_BYTES", 1000)
        rooms = reading.sync(actor=cast.alice, rooms={den: 0, square: 0})["rooms"]
        assert rooms[square] == {"events": [], "more": True, "head": 1}

    def test_sync_of_a_private_room_is_not_found_for_a_stranger(self, cast, den, events):
        assert reading.sync(actor=cast.bob, rooms={den: 0})["rooms"][den]["events"]
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                reading.sync(actor=cast.charlie, rooms={room: 0})

    def test_sync_of_one_lost_room_does_not_spoil_the_others(self, cast, den, square, events):
        rooms = reading.sync(actor=cast.bob, rooms={den: 11, square: 0, "nowhere": 0})["rooms"]
        assert rooms[den]["events"] == events[11:]
        assert rooms[square]["error"]["code"] == "not_allowed"
        assert rooms["nowhere"] == {
            "error": {"code": "not_found", "detail": "There is no such room."}
        }

    def test_sync_of_lost_rooms_alone_fails_as_the_first_of_them_does(self, cast, square):
        missing = [f"nowhere-{number}" for number in range(8)]
        with pytest.raises(NotAllowedError, match="Join the room first"):
            reading.sync(actor=cast.charlie, rooms=dict.fromkeys([square, *missing], 0))
        with pytest.raises(NotFoundError, match="no such room"):
            reading.sync(actor=cast.charlie, rooms=dict.fromkeys([*missing, square], 0))

    def test_sync_of_nothing_is_nothing(self, cast):
        assert reading.sync(actor=cast.charlie, rooms={}) == {"rooms": {}}

    def test_sync_takes_one_query_and_two_for_each_room_with_news(
        self, cast, den, events, django_assert_num_queries
    ):
        with django_assert_num_queries(3):
            reading.sync(actor=cast.bob, rooms={den: 0})
        with django_assert_num_queries(1):
            reading.sync(actor=cast.bob, rooms={den: 12})

    def test_sync_has_a_limit_over_all_rooms(self, cast, den, square, events, monkeypatch):
        monkeypatch.setattr(reading, "EVENTS", 12)
        rooms = reading.sync(actor=cast.alice, rooms={den: 1, square: 0})["rooms"]
        assert [len(room["events"]) for room in rooms.values()] == [11, 1]
        monkeypatch.setattr(reading, "EVENTS", 11)
        rooms = reading.sync(actor=cast.alice, rooms={den: 1, square: 0})["rooms"]
        assert [room["more"] for room in rooms.values()] == [False, True]

    def test_full_answer_loads_no_more_than_it_holds(
        self, cast, den, square, events, monkeypatch, django_assert_num_queries
    ):
        monkeypatch.setattr(reading, "PAGE_BYTES", 1000)
        loaded = []
        real = Event.from_db.__func__

        def from_db(cls, *args):
            loaded.append(args)
            return real(cls, *args)

        monkeypatch.setattr(Event, "from_db", classmethod(from_db))
        with django_assert_num_queries(3):
            rooms = reading.sync(actor=cast.alice, rooms={den: 0, square: 0})["rooms"]
        assert 0 < len(loaded) == len(rooms[den]["events"]) < 4

    def test_history_is_newest_last(self, cast, den, events):
        page = reading.history(actor=cast.bob, room=den, before=13, limit=4)
        assert page == {"events": events[8:], "later": [], "more": True}
        page = reading.history(actor=cast.bob, room=den, before=5, limit=100)
        assert page == {"events": events[:4], "later": [], "more": False}
        page = reading.history(actor=cast.bob, room=den, before=5, limit=4)
        assert page == {"events": events[:4], "later": [], "more": False}

    def test_history_has_a_limit(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(reading, "PAGE", 3)
        page = reading.history(actor=cast.bob, room=den, before=13, limit=2**53 - 1)
        assert page == {"events": events[9:], "later": [], "more": True}

    def test_history_stops_when_the_answer_is_full(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(reading, "PAGE_BYTES", 900)
        page = reading.history(actor=cast.bob, room=den, before=13, limit=10)
        assert page == {"events": events[10:], "later": [], "more": True}

    def test_history_is_for_members(self, cast, den, square, events, at):
        assert reading.history(actor=cast.bob, room=den, before=13, limit=1)["events"]
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            reading.history(actor=cast.bob, room=den, before=13, limit=1)
        with pytest.raises(NotAllowedError):
            reading.history(actor=cast.bob, room=square, before=13, limit=1)

    def test_read_mark_moves_forward_and_not_past_the_head(self, cast, den, events):
        for seq, expected in ((5, 5), (3, 5), (2**53 - 1, 12)):
            reading.mark_read(actor=cast.bob, room=den, seq=seq)
            mark = Membership.objects.get(room__slug=den, user_id=cast.bob.user_id)
            assert mark.read_seq == expected

    def test_stranger_neither_marks_nor_types(self, cast, den):
        with pytest.raises(NotFoundError):
            reading.mark_read(actor=cast.charlie, room=den, seq=1)
        with pytest.raises(NotFoundError):
            reading.show_typing(actor=cast.charlie, room=den)

    def test_who_may_not_write_is_not_seen_writing(self, cast, den, at):
        reading.show_typing(actor=cast.bob, room=den)
        rooms.change_room(actor=cast.alice, room=den, posting="moderators", at=at)
        reading.show_typing(actor=cast.alice, room=den)
        with pytest.raises(NotAllowedError):
            reading.show_typing(actor=cast.bob, room=den)


class TestWhatBecameOfMessages:
    """Pages of old messages come with what happened to them since."""

    @pytest.fixture
    def posted(self, cast, den, at):
        """Numbers 3 to 7."""
        return [str(post(cast.bob, den, f"m{number}", at=at).event.pk) for number in range(3, 8)]

    @pytest.fixture
    def later(self, cast, den, posted, at):
        """Numbers 8 to 12, all about the first two."""
        first, second, *_ = posted
        about = {"actor": cast.bob, "room": den, "at": at}
        return [
            reactions.add_reaction(**about, message=first, emoji="👍"),
            messages.edit_message(**about, message=second, body="new"),
            pins.pin_message(**about | {"actor": cast.alice}, message=first),
            reactions.remove_reaction(**about, message=first, emoji="👍"),
            messages.delete_message(**about, message=second),
        ]

    def test_history_brings_it_along_in_order(self, cast, den, later):
        page = reading.history(actor=cast.alice, room=den, before=5, limit=2)
        assert [event["seq"] for event in page["events"]] == [3, 4]
        assert [event["seq"] for event in page["later"]] == [8, 9, 10, 11, 12]
        assert page["events"][1]["data"] == {
            "client_id": page["events"][1]["data"]["client_id"],
            "deleted": True,
        }
        assert "new" not in str(page)

    def test_history_brings_nothing_that_is_in_the_page_or_about_others(self, cast, den, later):
        page = reading.history(actor=cast.alice, room=den, before=10, limit=7)
        assert [event["seq"] for event in page["later"]] == [10, 11, 12]
        page = reading.history(actor=cast.alice, room=den, before=8, limit=2)
        assert page["later"] == []

    def test_history_brings_the_answers_under_its_messages(self, cast, den, posted, at):
        first, second, *_ = posted
        answer = post(cast.bob, den, "below", thread=first, at=at)
        post(cast.bob, den, "beside it", reply_to=second, at=at)
        page = reading.history(actor=cast.alice, room=den, before=5, limit=2)
        assert page["later"] == [answer.event.wire]

    def test_of_too_much_the_newest_is_told(self, cast, den, later, monkeypatch):
        monkeypatch.setattr(reading, "EVENTS", 2)
        page = reading.history(actor=cast.alice, room=den, before=5, limit=2)
        assert [event["seq"] for event in page["later"]] == [11, 12]

    def test_nobody_can_push_out_what_a_message_says_now(self, cast, den, posted, at, monkeypatch):
        about = {"actor": cast.bob, "room": den, "at": at}
        for number in range(3):
            messages.edit_message(**about, message=posted[0], body=f"take back {number}")
        for number in range(4):
            messages.edit_message(**about, message=posted[1], body=f"{number}" * 1000)
            reactions.add_reaction(**about | {"actor": cast.alice}, message=posted[1], emoji="👍")
            reactions.remove_reaction(
                **about | {"actor": cast.alice}, message=posted[1], emoji="👍"
            )
        asked = {"actor": cast.alice, "room": den}
        monkeypatch.setattr(reading, "EVENTS", 4)
        monkeypatch.setattr(reading, "PAGE_BYTES", 6000)
        pages = [reading.history(**asked, before=5, limit=2)]
        pages.append(reading.thread(**asked, message=posted[0]))
        for page in pages:
            edits = [e["data"] for e in page["later"] if e["type"] == "message.edited"]
            first = [edit["body"] for edit in edits if edit["message"] == posted[0]]
            assert first[-1:] == ["take back 2"]
        assert len(pages[0]["later"]) <= 4

    def test_page_is_shorter_where_the_edits_of_its_messages_are_long(
        self, cast, den, posted, at, monkeypatch
    ):
        for message in posted:
            messages.edit_message(actor=cast.bob, room=den, message=message, body="x" * 1000, at=at)
        monkeypatch.setattr(reading, "PAGE_BYTES", 5000)
        seen, before = [], 8
        while before > 3:
            page = reading.history(actor=cast.alice, room=den, before=before, limit=50)
            seen += [event["id"] for event in page["events"] if event["seq"] > 2]
            told = {event["data"]["message"] for event in page["later"]}
            assert told == {event["id"] for event in page["events"] if event["seq"] > 2}
            before = page["events"][0]["seq"]
            assert page["more"] == (before > 1)
        assert sorted(seen) == sorted(posted)

    def test_history_takes_eight_queries(self, cast, den, later, django_assert_num_queries):
        with django_assert_num_queries(8):
            reading.history(actor=cast.alice, room=den, before=5, limit=2)

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="a small table is read whole there")
    def test_what_became_of_messages_is_found_without_a_walk_through_the_log(
        self, cast, den, posted, later, at
    ):
        asked = {"actor": cast.alice, "room": den}
        with CaptureQueriesContext(connection) as queries:
            reading.history(**asked, before=5, limit=2)
            reading.thread(**asked, message=posted[0])
            with pytest.raises(NotFoundError):
                reactions.remove_reaction(**asked, message=posted[3], emoji="👍", at=at)
        about = [q["sql"] for q in queries if '"message_id"' in q["sql"].partition("WHERE")[2]]
        about = [sql for sql in about if sql.startswith("SELECT") and 'FROM "chat_event"' in sql]
        assert len(about) >= 5
        for sql in about:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
                assert "events_about_message" in str(cursor.fetchall()), sql

    def test_pins_are_those_that_are_pinned_now(self, cast, den, posted, later, at):
        assert [event["id"] for event in reading.pins(actor=cast.bob, room=den)["events"]] == [
            posted[0]
        ]
        about = {"actor": cast.alice, "room": den, "at": at}
        pins.pin_message(**about, message=posted[3])
        pins.unpin_message(**about, message=posted[0])
        answer = reading.pins(actor=cast.bob, room=den)
        assert [event["id"] for event in answer["events"]] == [posted[3]]
        assert [event["type"] for event in answer["later"]] == ["message.pinned"]
        assert answer["more"] is False

    def test_thread_is_its_beginning_and_what_is_under_it(self, cast, den, posted, at):
        root = posted[0]
        under = [str(post(cast.alice, den, thread=root, at=at).event.pk) for _ in range(3)]
        messages.edit_message(actor=cast.bob, room=den, message=root, body="begin", at=at)
        for asked in (root, under[1]):
            answer = reading.thread(actor=cast.bob, room=den, message=asked)
            assert [event["id"] for event in answer["events"]] == [root, *under]
            assert [event["type"] for event in answer["later"]] == ["message.edited"]
            assert answer["more"] is False

    def test_thread_that_is_too_long_is_told_from_its_end(self, cast, den, posted, at, monkeypatch):
        monkeypatch.setattr(reading, "PAGE", 2)
        under = [str(post(cast.alice, den, thread=posted[0], at=at).event.pk) for _ in range(3)]
        answer = reading.thread(actor=cast.bob, room=den, message=posted[0])
        assert [event["id"] for event in answer["events"]] == [posted[0], *under[1:]]
        assert answer["more"] is True

    def test_stranger_learns_nothing(self, cast, den, posted, later):
        assert reading.pins(actor=cast.bob, room=den)["events"]
        with pytest.raises(NotFoundError):
            reading.pins(actor=cast.charlie, room=den)
        with pytest.raises(NotFoundError):
            reading.thread(actor=cast.charlie, room=den, message=posted[0])

    def test_thread_of_another_room_is_not_found(self, cast, den, square, posted):
        with pytest.raises(NotFoundError):
            reading.thread(actor=cast.alice, room=square, message=posted[0])


class TestWhoIsPutOutMeanwhile:
    """Between the query that finds Bob in the room and those that read its log."""

    @pytest.fixture
    def posted(self, cast, den, at):
        """Number 3, when Bob was there."""
        return str(post(cast.alice, den, "before", at=at).event.pk)

    @pytest.fixture(autouse=True)
    def put_out(self, cast, den, posted, at, monkeypatch):
        """Numbers 4 to 9, of which he gets nothing."""
        about = {"actor": cast.alice, "room": den, "at": at}

        def meanwhile(found):
            members.remove(**about, user="bob")
            messages.edit_message(**about, message=posted, body="after")
            answer = post(cast.alice, den, "after", thread=posted, at=at)
            for message in (posted, str(answer.event.pk)):
                pins.pin_message(**about, message=message)
            post(cast.alice, den, "after", at=at)
            assert numbers(den) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
            return found

        monkeypatch.setattr(reading, "own", lambda **asked: meanwhile(places.own(**asked)))
        monkeypatch.setattr(
            reading, "refusals", lambda **asked: meanwhile(places.refusals(**asked))
        )

    def test_sync_ends_where_he_was_there_last(self, cast, den):
        room = reading.sync(actor=cast.bob, rooms={den: 1})["rooms"][den]
        assert [event["seq"] for event in room["events"]] == [2, 3]
        assert (room["more"], room["head"]) == (False, 3)

    @pytest.mark.parametrize(("before", "limit", "seen"), [(99, 9, [1, 2, 3]), (4, 1, [3])])
    def test_history_too(self, cast, den, before, limit, seen):
        page = reading.history(actor=cast.bob, room=den, before=before, limit=limit)
        assert ([event["seq"] for event in page["events"]], page["later"]) == (seen, [])

    def test_thread_too(self, cast, den, posted):
        page = reading.thread(actor=cast.bob, room=den, message=posted)
        assert [event["seq"] for event in page["events"]] == [3]
        assert (page["later"], page["more"]) == ([], False)

    def test_thread_that_begins_afterwards_is_not_found(self, cast, den, posted, monkeypatch):
        monkeypatch.setattr(reading, "message_in", lambda *_: Message.objects.get(seq=9))
        with pytest.raises(NotFoundError, match="not in this room"):
            reading.thread(actor=cast.bob, room=den, message=posted)

    def test_pins_too(self, cast, den):
        page = reading.pins(actor=cast.bob, room=den)
        assert [event["seq"] for event in page["events"]] == [3]
        assert (page["later"], page["more"]) == ([], False)
