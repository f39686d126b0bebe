from __future__ import annotations

from dataclasses import MISSING, fields

import pytest

from chat.dispatch import perform
from chat.errors import ChatError, UnknownOpError
from chat.protocol import JSON, Limits
from chat.requests import REQUESTS, Ping, Request, parse

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("request_", [Request(ref=1), Ping(ref=1)])
def test_request_without_a_verb_is_unknown(cast, at, request_):
    with pytest.raises(UnknownOpError):
        perform(request_, actor=cast.alice, at=at)


ID = "00000000-0000-4000-8000-000000000000"
SAMPLES = {
    "room": "den", "client_id": "c", "body": "hi", "message": ID, "emoji": "👍", "reason": "spam",
    "rooms": {"den": 0}, "before": 9, "limit": 9, "query": "hi", "seq": 1, "state": "away",
    "name": "Den", "kind": "public", "user": "bob", "role": "member", "level": "all",
    "serials": ["5f"],
}  # fmt: skip


def ask(actor, at, op, **given):
    frame = JSON.encode({"op": op, "ref": 1, **given})
    return perform(parse(frame, codec=JSON, limits=Limits()), actor=actor, at=at)


def needed(op):
    """The fields that the operation cannot do without, with something in them."""
    kind = REQUESTS[op]
    names = [f.name for f in fields(kind) if f.default is MISSING and f.name != "ref"]
    return {name: SAMPLES[name] for name in names}


@pytest.mark.parametrize("op", sorted(REQUESTS.keys() - {"ping"}))  # which the session answers
def test_every_request_of_the_protocol_reaches_a_verb(cast, den, at, op):
    try:
        assert isinstance(ask(cast.alice, at, op, **needed(op)), dict)
    except UnknownOpError:
        pytest.fail(f"{op} reaches no verb")
    except ChatError:
        pass  # it was a verb that refused


def test_what_is_written_comes_back(cast, at):
    created = ask(cast.alice, at, "create", room="den", name="Den", kind="public")["event"]
    joined = ask(cast.bob, at, "join", room="den")["event"]
    posted = ask(cast.bob, at, "post", room="den", client_id="c", body="hi")["event"]
    assert ask(cast.alice, at, "history", room="den", before=9, limit=9) == {
        "events": [created, joined, posted], "later": [], "more": False,
    }  # fmt: skip
    assert ask(cast.alice, at, "sync", rooms={"den": 2}) == {
        "rooms": {"den": {"events": [posted], "more": False, "head": 3}}
    }
    assert ask(cast.alice, at, "read", room="den", seq=3) == {}
    assert ask(cast.alice, at, "typing", room="den") == {}
    assert ask(cast.bob, at, "leave", room="den")["event"]["type"] == "member.left"


def test_what_becomes_of_a_message_comes_back(cast, den, at):
    root = ask(cast.bob, at, "post", room=den, client_id="c1", body="hi")["event"]["id"]
    under = ask(cast.bob, at, "post", room=den, client_id="c2", body="so", thread=root)["event"]
    assert under["data"]["thread"] == root

    def done(op, **more):
        return ask(cast.alice, at, op, room=den, message=root, **more)["event"]

    types = [done("react", emoji="👍"), done("unreact", emoji="👍"), done("pin"), done("unpin")]
    assert [event["type"] for event in types] == [
        "reaction.added", "reaction.removed", "message.pinned", "message.unpinned",
    ]  # fmt: skip
    edited = ask(cast.bob, at, "edit", room=den, message=root, body="new")["event"]
    assert edited["data"] == {"message": root, "body": "new", "html": "<p>new</p>"}
    assert done("delete", reason="spam")["data"] == {"message": root, "reason": "spam"}
    thread = ask(cast.bob, at, "thread", room=den, message=root)
    assert [event["id"] for event in thread["events"]] == [root, under["id"]]
    assert len(thread["later"]) == 6
    assert ask(cast.bob, at, "pins", room=den) == {"events": [], "later": [], "more": False}


def test_what_is_done_about_others_comes_back(cast, den, at):
    def done(op, **more):
        return ask(cast.alice, at, op, room=den, **more)["event"]

    events = [
        done("change", name="Cave", archived=False),
        done("invite", user="charlie"),
        done("role", user="charlie", role="moderator"),
        done("remove", user="charlie"),
        done("ban", user="charlie", reason="Spam"),
    ]
    assert ask(cast.alice, at, "members", room=den)["bans"][0]["reason"] == "Spam"
    events.append(done("unban", user="charlie"))
    assert [event["type"] for event in events] == [
        "room.changed", "member.joined", "member.role", "member.left", "member.left",
        "member.unbanned",
    ]  # fmt: skip
    assert events[0]["data"] == {"name": "Cave"}
    assert ask(cast.alice, at, "notify", room=den, level="mentions") == {}
    assert ask(cast.alice, at, "rooms") == {"rooms": []}
    assert [p["username"] for p in ask(cast.alice, at, "people", query="Ch")["people"]] == [
        "charlie"
    ]
