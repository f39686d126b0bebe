"""The verbs: what they change, what they refuse, and to whom they admit that a room exists."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from chat import log, services
from chat.errors import (
    BadRequestError,
    ClientIdConflictError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from chat.models import Event, Membership, Room

pytestmark = pytest.mark.django_db


def post(actor, room, body="hello", *, at, client_id=None, reply_to=None):
    client_id = client_id or str(uuid.uuid4())
    return services.post_message(
        actor=actor, room=room, client_id=client_id, body=body, reply_to=reply_to, at=at
    )


def numbers(room):
    return list(Event.objects.filter(room__slug=room).order_by("seq").values_list("seq", flat=True))


def types(room):
    return list(
        Event.objects.filter(room__slug=room).order_by("seq").values_list("type", flat=True)
    )


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
        monkeypatch.setattr(services, "render", None)
        with pytest.raises(NotFoundError):
            post(cast.charlie, den, at=at)

    def test_stranger_is_told_to_join_a_public_room(self, cast, square, at):
        with pytest.raises(NotAllowedError, match="Join the room first"):
            post(cast.charlie, square, at=at)
        assert Room.objects.get(slug=square).last_seq == 1

    def test_who_has_left_cannot_post(self, cast, den, at):
        post(cast.bob, den, at=at)
        services.leave(actor=cast.bob, room=den, at=at)
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
        services.join(actor=cast.bob, room=square, at=at)
        post(cast.bob, den, client_id="c1", at=at)
        with pytest.raises(ClientIdConflictError):
            post(cast.bob, square, client_id="c1", at=at)
        assert numbers(square) == [1, 2]

    def test_stored_message_is_not_returned_to_who_has_left(self, cast, den, at):
        post(cast.bob, den, client_id="c1", at=at)
        services.leave(actor=cast.bob, room=den, at=at)
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

    def test_post_takes_three_queries(self, cast, den, at):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            post(cast.bob, den, at=at)
        assert len([q for q in queries if "SAVEPOINT" not in q["sql"]]) == 3


@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    """With real transactions in real threads; on PostgreSQL they do overlap."""

    def run(self, *works):
        results: list[object] = [None] * len(works)
        barrier = threading.Barrier(len(works))

        def worker(number):
            barrier.wait()
            try:
                results[number] = works[number]()
            except Exception as error:
                results[number] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=worker, args=[n]) for n in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def test_numbers_have_neither_holes_nor_doubles(self, cast, den, at):
        def post_ten():
            for _ in range(10):
                post(cast.bob, den, at=at)

        assert self.run(*[post_ten] * 4) == [None] * 4
        assert numbers(den) == list(range(1, 43))
        assert Room.objects.get(slug=den).last_seq == 42

    def test_copies_of_a_message_are_stored_once(self, cast, den, at):
        results = self.run(*[lambda: post(cast.bob, den, client_id="c1", at=at)] * 6)

        assert sorted(r.duplicate for r in results) == [False] + [True] * 5
        assert len({r.event.pk for r in results}) == 1
        assert numbers(den) == [1, 2, 3]

    def test_client_id_for_two_contents_goes_to_one(self, cast, den, at):
        results = self.run(
            lambda: post(cast.bob, den, "a", client_id="c1", at=at),
            lambda: post(cast.bob, den, "b", client_id="c1", at=at),
        )
        assert sum(isinstance(r, ClientIdConflictError) for r in results) == 1
        assert numbers(den) == [1, 2, 3]

    def test_nobody_writes_after_they_have_left(self, cast, den, at):
        def post_many():
            for _ in range(30):
                post(cast.bob, den, at=at)

        posted, farewell = self.run(
            post_many, lambda: services.leave(actor=cast.bob, room=den, at=at)
        )
        left = farewell.event.seq
        assert isinstance(posted, NotFoundError) or left == numbers(den)[-1]
        assert numbers(den) == list(range(1, left + 1))

    def test_person_joins_once(self, cast, square, at):
        results = self.run(*[lambda: services.join(actor=cast.bob, room=square, at=at)] * 4)
        assert sorted(r.duplicate for r in results) == [False, True, True, True]
        assert types(square) == ["room.created", "member.joined"]

    def test_address_goes_to_one(self, cast, at):
        def create(actor):
            return lambda: services.create_room(
                actor=actor, room="new", name="New", kind="public", at=at
            )

        results = self.run(create(cast.alice), create(cast.bob))
        assert sum(isinstance(r, NotAllowedError) for r in results) == 1

    def test_two_people_have_one_direct_room(self, cast, at):
        def create(actor, other, slug):
            return lambda: services.create_room(
                actor=actor, room=slug, name="x", kind="direct", members=[other], at=at
            )

        results = self.run(create(cast.alice, "bob", "d1"), create(cast.bob, "alice", "d2"))
        assert len({r.event.room.slug for r in results}) == 1
        assert Room.objects.count() == 1


class TestReading:
    @pytest.fixture
    def events(self, cast, den, at):
        for number in range(3, 13):
            post(cast.alice, den, f"message {number}", at=at)
        return [event.wire for event in Event.objects.filter(room__slug=den).order_by("seq")]

    def test_sync_returns_what_comes_after_in_order(self, cast, den, events):
        assert services.sync(actor=cast.bob, rooms={den: 4}) == {
            "rooms": {den: {"events": events[4:], "more": False, "head": 12}}
        }

    def test_sync_says_when_there_is_more(self, cast, den, events):
        room = services.sync(actor=cast.bob, rooms={den: 0}, limit=5)["rooms"][den]
        assert (room["events"], room["more"], room["head"]) == (events[:5], True, 12)

    def test_sync_from_the_head_or_beyond_is_empty(self, cast, den, events):
        for seq in (12, 13, 2**53 - 1):
            room = services.sync(actor=cast.bob, rooms={den: seq})["rooms"][den]
            assert room == {"events": [], "more": False, "head": 12}

    def test_sync_stops_when_the_answer_is_full_but_moves_on(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(services, "PAGE_BYTES", 1000)
        got, seq, answers = [], 0, 0
        while True:
            room = services.sync(actor=cast.bob, rooms={den: seq})["rooms"][den]
            got += room["events"]
            seq, answers = got[-1]["seq"], answers + 1
            if not room["more"]:
                break
        assert got == events
        assert answers > 3

    def test_sync_of_a_full_answer_leaves_other_rooms_for_later(
        self, cast, den, square, events, monkeypatch
    ):
        monkeypatch.setattr(services, "PAGE_BYTES", 1000)
        rooms = services.sync(actor=cast.alice, rooms={den: 0, square: 0})["rooms"]
        assert rooms[square] == {"events": [], "more": True, "head": 1}

    def test_sync_of_a_private_room_is_not_found_for_a_stranger(self, cast, den, events):
        assert services.sync(actor=cast.bob, rooms={den: 0})["rooms"][den]["events"]
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                services.sync(actor=cast.charlie, rooms={room: 0})

    def test_sync_of_one_lost_room_does_not_spoil_the_others(self, cast, den, square, events):
        rooms = services.sync(actor=cast.bob, rooms={den: 11, square: 0, "nowhere": 0})["rooms"]
        assert rooms[den]["events"] == events[11:]
        assert rooms[square]["error"]["code"] == "not_allowed"
        assert rooms["nowhere"] == {
            "error": {"code": "not_found", "detail": "There is no such room."}
        }

    def test_sync_of_nothing_is_nothing(self, cast):
        assert services.sync(actor=cast.charlie, rooms={}) == {"rooms": {}}

    def test_sync_takes_one_query_and_two_for_each_room_with_news(
        self, cast, den, events, django_assert_num_queries
    ):
        with django_assert_num_queries(3):
            services.sync(actor=cast.bob, rooms={den: 0})
        with django_assert_num_queries(1):
            services.sync(actor=cast.bob, rooms={den: 12})

    def test_sync_has_a_limit_over_all_rooms(self, cast, den, square, events, monkeypatch):
        monkeypatch.setattr(services, "EVENTS", 12)
        rooms = services.sync(actor=cast.alice, rooms={den: 1, square: 0})["rooms"]
        assert [len(room["events"]) for room in rooms.values()] == [11, 1]
        monkeypatch.setattr(services, "EVENTS", 11)
        rooms = services.sync(actor=cast.alice, rooms={den: 1, square: 0})["rooms"]
        assert [room["more"] for room in rooms.values()] == [False, True]

    def test_full_answer_loads_no_more_than_it_holds(
        self, cast, den, square, events, monkeypatch, django_assert_num_queries
    ):
        monkeypatch.setattr(services, "PAGE_BYTES", 1000)
        loaded = []
        real = Event.from_db.__func__

        def from_db(cls, *args):
            loaded.append(args)
            return real(cls, *args)

        monkeypatch.setattr(Event, "from_db", classmethod(from_db))
        with django_assert_num_queries(3):
            rooms = services.sync(actor=cast.alice, rooms={den: 0, square: 0})["rooms"]
        assert 0 < len(loaded) == len(rooms[den]["events"]) < 4

    def test_history_is_newest_last(self, cast, den, events):
        page = services.history(actor=cast.bob, room=den, before=13, limit=4)
        assert page == {"events": events[8:], "more": True}
        page = services.history(actor=cast.bob, room=den, before=5, limit=100)
        assert page == {"events": events[:4], "more": False}
        page = services.history(actor=cast.bob, room=den, before=5, limit=4)
        assert page == {"events": events[:4], "more": False}

    def test_history_has_a_limit(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(services, "PAGE", 3)
        page = services.history(actor=cast.bob, room=den, before=13, limit=2**53 - 1)
        assert page == {"events": events[9:], "more": True}

    def test_history_stops_when_the_answer_is_full(self, cast, den, events, monkeypatch):
        monkeypatch.setattr(services, "PAGE_BYTES", 900)
        page = services.history(actor=cast.bob, room=den, before=13, limit=10)
        assert page == {"events": events[10:], "more": True}

    def test_history_is_for_members(self, cast, den, square, events, at):
        assert services.history(actor=cast.bob, room=den, before=13, limit=1)["events"]
        services.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            services.history(actor=cast.bob, room=den, before=13, limit=1)
        with pytest.raises(NotAllowedError):
            services.history(actor=cast.bob, room=square, before=13, limit=1)

    def test_read_mark_moves_forward_and_not_past_the_head(self, cast, den, events):
        for seq, expected in ((5, 5), (3, 5), (2**53 - 1, 12)):
            services.mark_read(actor=cast.bob, room=den, seq=seq)
            mark = Membership.objects.get(room__slug=den, user_id=cast.bob.user_id)
            assert mark.read_seq == expected

    def test_stranger_neither_marks_nor_types(self, cast, den):
        with pytest.raises(NotFoundError):
            services.mark_read(actor=cast.charlie, room=den, seq=1)
        with pytest.raises(NotFoundError):
            services.show_typing(actor=cast.charlie, room=den)


class TestRooms:
    def test_creator_owns_and_members_are_in(self, cast, den):
        roles = Membership.objects.filter(room__slug=den).values_list("user__username", "role")
        assert dict(roles) == {"alice": "owner", "bob": "member"}
        assert types(den) == ["room.created", "member.joined"]

    def test_created_event_says_what_the_room_is(self, cast, at):
        wire = services.create_room(
            actor=cast.alice, room="new", name="New", kind="public", at=at
        ).reply["event"]
        assert (wire["seq"], wire["type"]) == (1, "room.created")
        assert wire["data"] == {"name": "New", "kind": "public"}

    def test_creating_again_returns_the_first_event(self, cast, den, at):
        again = services.create_room(
            actor=cast.alice, room=den, name="Den", kind="private", members=["bob"], at=at
        )
        assert again.duplicate
        assert again.event.seq == 1

    @pytest.mark.parametrize("change", [{"name": "Other"}, {"kind": "public"}])
    def test_taken_address_is_refused(self, cast, den, at, change):
        wish = {"room": den, "name": "Den", "kind": "private"}
        with pytest.raises(NotAllowedError, match="taken"):
            services.create_room(actor=cast.alice, at=at, **(wish | change))
        with pytest.raises(NotAllowedError, match="taken"):
            services.create_room(actor=cast.charlie, at=at, **wish)

    def test_unknown_and_disabled_people_cannot_be_brought_in(self, cast, people, at):
        people.charlie.is_active = False
        people.charlie.save()
        for name in ("nobody", "charlie"):
            with pytest.raises(NotFoundError, match=name):
                services.create_room(
                    actor=cast.alice, room="new", name="New", kind="private", members=[name], at=at
                )
        assert not Room.objects.exists()

    @pytest.mark.parametrize("members", [[], ["alice"], ["bob", "charlie"]])
    def test_direct_room_has_two_people(self, cast, at, members):
        with pytest.raises(BadRequestError):
            services.create_room(
                actor=cast.alice, room="d", name="d", kind="direct", members=members, at=at
            )

    def test_direct_room_of_two_is_found_again(self, cast, at):
        first = services.create_room(
            actor=cast.alice, room="d1", name="d", kind="direct", members=["bob"], at=at
        )
        again = services.create_room(
            actor=cast.bob, room="d2", name="d", kind="direct", members=["alice"], at=at
        )
        assert again.duplicate
        assert again.event == first.event

    def test_direct_room_cannot_be_left(self, cast, at):
        services.create_room(
            actor=cast.alice, room="d", name="d", kind="direct", members=["bob"], at=at
        )
        with pytest.raises(NotAllowedError):
            services.leave(actor=cast.bob, room="d", at=at)

    def test_person_is_in_so_many_rooms_and_no_more(self, cast, den, square, at, monkeypatch):
        wish = {"kind": "private", "at": at}
        services.join(actor=cast.bob, room=square, at=at)
        monkeypatch.setattr(services, "PLACES", 2)
        with pytest.raises(NotAllowedError, match="You are in 2 rooms already"):
            services.create_room(actor=cast.bob, room="new", name="New", **wish)
        with pytest.raises(NotAllowedError, match="bob is in 2 rooms already"):
            services.create_room(
                actor=cast.charlie, room="new", name="New", members=["bob"], **wish
            )
        assert not Room.objects.filter(slug="new").exists()
        services.create_room(actor=cast.charlie, room="open", name="Open", kind="public", at=at)
        with pytest.raises(NotAllowedError, match="Leave one first"):
            services.join(actor=cast.bob, room="open", at=at)
        again = {"room": den, "name": "Den", "members": ["bob"]}
        assert services.create_room(actor=cast.alice, **again, **wish).duplicate
        assert services.join(actor=cast.bob, room=square, at=at).duplicate

        services.leave(actor=cast.bob, room=den, at=at)
        services.join(actor=cast.bob, room="open", at=at)

    def test_rooms_that_were_made_and_left_count(self, cast, square, at, monkeypatch):
        monkeypatch.setattr(services, "PLACES", 2)
        wish = {"name": "New", "kind": "private", "at": at}
        services.create_room(actor=cast.alice, room="new", **wish)
        services.leave(actor=cast.alice, room="new", at=at)
        with pytest.raises(NotAllowedError, match="You have made 2 rooms already"):
            services.create_room(actor=cast.alice, room="newer", **wish)

    def test_public_room_is_joined(self, cast, square, at):
        wire = services.join(actor=cast.bob, room=square, at=at).event.wire
        assert (wire["seq"], wire["type"]) == (2, "member.joined")
        assert wire["data"] == {
            "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
            "role": "member",
        }
        assert not post(cast.bob, square, at=at).duplicate

    def test_joining_again_returns_the_first_event(self, cast, square, at):
        first = services.join(actor=cast.bob, room=square, at=at)
        again = services.join(actor=cast.bob, room=square, at=at)
        assert again.duplicate
        assert again.event == first.event

    def test_private_room_cannot_be_joined_and_looks_missing(self, cast, den, at):
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                services.join(actor=cast.charlie, room=room, at=at)

    def test_who_leaves_is_out(self, cast, den, at):
        wire = services.leave(actor=cast.bob, room=den, at=at).event.wire
        assert (wire["seq"], wire["type"]) == (3, "member.left")
        assert wire["data"]["user"]["username"] == "bob"
        with pytest.raises(NotFoundError):
            services.leave(actor=cast.bob, room=den, at=at)


class TestRoomsForEveryone:
    @pytest.fixture
    def lobby(self, db):
        return Room.objects.create(slug="lobby", name="Lobby", kind="public", everyone=True)

    def test_new_person_is_brought_in_once(self, cast, lobby, at):
        for _ in range(2):
            services.join_default_rooms(actor=cast.bob, at=at)
        assert types("lobby") == ["member.joined"]
        assert not post(cast.bob, "lobby", at=at).duplicate

    def test_who_has_left_stays_outside(self, cast, lobby, at):
        services.join_default_rooms(actor=cast.bob, at=at)
        services.leave(actor=cast.bob, room="lobby", at=at)
        services.join_default_rooms(actor=cast.bob, at=at)
        assert not Membership.objects.filter(room=lobby).exists()

    def test_other_rooms_are_left_alone(self, cast, square, at):
        services.join_default_rooms(actor=cast.bob, at=at)
        assert not Membership.objects.filter(user_id=cast.bob.user_id).exists()
