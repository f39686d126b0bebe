"""Messages expire: their content goes everywhere, the log keeps its numbers."""

from __future__ import annotations

import datetime as dt

import pytest

from chat import attachments, log, retention, search
from chat.models import Event, Mention, Message, Reaction, Room
from chat.protocol import SERVER
from pki.models import AuditEntry
from tests.chat.verbs import numbers, post, types

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)


@pytest.fixture
def keep(den):
    def keeping(days, **fields):
        Room.objects.filter(slug=den).update(retention_days=days, **fields)

    keeping(30)
    return keeping


def old(cast, den, at, body="old plan", *, days=40):
    return post(cast.bob, den, body, at=at - days * DAY).event


def are_there(den):
    """Of each message, in order, whether it still says something."""
    return [message.is_there for message in Message.objects.filter(room__slug=den)]


def test_content_of_old_messages_goes_from_everywhere(cast, den, at, keep):
    first, kept = old(cast, den, at), post(cast.bob, den, "new plan", at=at).event
    Message.objects.filter(pk=first.pk).update(pinned_at=at, has_link=True)
    Reaction.objects.create(message_id=first.pk, user_id=cast.alice.user_id, emoji="👍")
    Mention.objects.create(message_id=first.pk, room=first.room, seq=3)

    assert retention.expire_messages(at=at) == 1

    message = Message.objects.get(pk=first.pk)
    assert (message.body, message.expired_at, message.pinned_at) == ("", at, None)
    assert not message.has_link
    assert not Reaction.objects.exists()
    assert not Mention.objects.exists()
    assert Event.objects.get(pk=first.pk).data == {
        "client_id": first.data["client_id"], "expired": True,
    }  # fmt: skip
    assert Message.objects.get(pk=kept.pk).body == "new plan"
    assert Event.objects.get(pk=kept.pk).data == kept.data


def test_earlier_versions_go_too(cast, den, at, keep):
    first = old(cast, den, at)
    room = Room.objects.get(slug=den)
    log.take_number(Room.objects.filter(pk=room.pk))
    room.refresh_from_db()
    edit = log.append(
        room=room,
        type=Event.Type.MESSAGE_EDITED,
        actor=cast.bob,
        data={"message": str(first.pk), "body": "better plan", "html": "…"},
        at=at,
        message=first,
    )
    retention.expire_messages(at=at)
    assert Event.objects.get(pk=edit.pk).data == {"message": str(first.pk), "expired": True}


def test_reply_still_says_to_what(cast, den, at, keep):
    first = old(cast, den, at)
    reply = post(cast.alice, den, "yes", reply_to=str(first.pk), at=at - 39 * DAY).event
    retention.expire_messages(at=at)
    assert Event.objects.get(pk=reply.pk).data["reply_to"] == str(first.pk)


def test_no_text_of_what_expired_is_left_in_any_row_of_the_chat(cast, den, at, keep):
    old(cast, den, at, "xyzzy")
    retention.expire_messages(at=at)
    assert not [e for e in Event.objects.all() if "xyzzy" in str(e.data)]
    assert not Message.objects.filter(body__contains="xyzzy").exists()
    assert search.search(actor=cast.bob, query="xyzzy", at=at)["hits"] == []


def test_room_is_told_once_by_the_server(cast, den, at, keep):
    last = [old(cast, den, at) for _ in range(5)][-1]
    retention.expire_messages(at=at)

    assert types(den)[-1] == "messages.expired"
    assert types(den).count("messages.expired") == 1
    wire = Event.objects.get(type="messages.expired").wire
    assert wire["data"] == {"upto": last.seq}
    assert wire["by"] == SERVER == {"id": 0, "username": "", "name": "Signet"}
    assert wire["certificate"] == {"serial": ""}
    assert numbers(den) == list(range(1, 9))


def test_second_run_finds_nothing(cast, den, at, keep):
    old(cast, den, at)
    assert [retention.expire_messages(at=at) for _ in range(2)] == [1, 0]
    assert types(den).count("messages.expired") == 1


def test_days_are_whole_ones(cast, den, keep):
    noon = dt.datetime(2026, 5, 31, 12, tzinfo=dt.UTC)
    post(cast.bob, den, "a", at=dt.datetime(2026, 4, 30, 23, 59, tzinfo=dt.UTC))
    post(cast.bob, den, "b", at=dt.datetime(2026, 5, 1, 0, 1, tzinfo=dt.UTC))
    assert retention.expire_messages(at=noon) == 1
    assert are_there(den) == [False, True]


@pytest.mark.parametrize("days", [30, 10**6])
def test_rooms_that_keep_everything_are_left_alone(cast, den, at, keep, days):
    keep(None if days == 30 else days)
    old(cast, den, at)
    assert retention.expire_messages(at=at) == 0
    assert are_there(den) == [True]


class TestLegalHold:
    def test_nothing_goes_under_a_hold(self, cast, den, at, keep):
        old(cast, den, at)
        keep(30, legal_hold="case 7")
        assert retention.expire_messages(at=at) == 0
        assert (are_there(den), numbers(den)) == ([True], [1, 2, 3])
        keep(30, legal_hold="")
        assert retention.expire_messages(at=at) == 1

    @pytest.mark.parametrize("change", [{"legal_hold": "case 7"}, {"retention_days": None}])
    def test_hold_that_is_set_during_a_run_stops_it(self, cast, den, at, keep, monkeypatch, change):
        monkeypatch.setattr(retention, "BATCH", 2)
        for _ in range(5):
            old(cast, den, at)

        done = retention.expire_messages(
            at=at, progress=lambda *_: Room.objects.filter(slug=den).update(**change)
        )
        assert done == 2
        assert are_there(den) == [False] * 2 + [True] * 3


def test_run_that_was_stopped_is_taken_up_and_not_told_again(cast, den, at, keep, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        old(cast, den, at)
    seen = []

    def stop(done, total):
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.expire_messages(at=at, progress=stop)
    assert (seen, are_there(den)) == ([(2, 5)], [False] * 2 + [True] * 3)

    assert retention.expire_messages(at=at) == 3
    assert types(den).count("messages.expired") == 1


def test_files_go_with_their_message(cast, den, at, keep, monkeypatch):
    first = old(cast, den, at)
    other = post(cast.bob, den, "new", at=at).event
    for message in (first, other):
        attachments.Attachment.objects.create(
            room=message.room,
            uploader_id=cast.bob.user_id,
            message_id=message.pk,
            name="plan.pdf",
            size=1,
            complete=True,
        )
    retention.expire_messages(at=at)
    left = attachments.Attachment.objects.values_list("message_id", flat=True)
    assert list(left) == [other.pk]


def test_audit_trail_has_an_entry_for_each_room(cast, den, square, at, keep):
    Room.objects.filter(slug=square).update(retention_days=30)
    old(cast, den, at)
    post(cast.alice, square, "old", at=at - 40 * DAY)
    retention.expire_messages(at=at, actor="command:root")
    entries = AuditEntry.objects.filter(action="room.messages_expired")
    assert sorted((e.actor, e.target, e.detail["messages"]) for e in entries) == [
        ("command:root", "room:den", 1),
        ("command:root", "room:square", 1),
    ]
