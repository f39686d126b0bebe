from __future__ import annotations

import pytest

from chat.dispatch import perform
from chat.errors import UnknownOpError
from chat.protocol import JSON, REQUESTS, Limits, Request, parse

pytestmark = pytest.mark.django_db


def test_every_request_of_the_protocol_has_a_verb():
    assert set(perform.registry) - {object} == set(REQUESTS.values())


def test_request_without_a_verb_is_unknown(cast, at):
    with pytest.raises(UnknownOpError):
        perform(Request(ref=1), actor=cast.alice, at=at)


def test_requests_reach_their_verbs(cast, at):
    def ask(actor, op, **fields):
        frame = JSON.encode({"op": op, "ref": 1, **fields})
        return perform(parse(frame, codec=JSON, limits=Limits()), actor=actor, at=at)

    created = ask(cast.alice, "create", room="den", name="Den", kind="public")["event"]
    joined = ask(cast.bob, "join", room="den")["event"]
    posted = ask(cast.bob, "post", room="den", client_id="c", body="hi")["event"]
    assert ask(cast.alice, "history", room="den", before=9, limit=9) == {
        "events": [created, joined, posted], "more": False,
    }  # fmt: skip
    assert ask(cast.alice, "sync", rooms={"den": 2}) == {
        "rooms": {"den": {"events": [posted], "more": False, "head": 3}}
    }
    assert ask(cast.alice, "read", room="den", seq=3) == {}
    assert ask(cast.alice, "typing", room="den") == {}
    assert ask(cast.alice, "ping") == {}
    assert ask(cast.bob, "leave", room="den")["event"]["type"] == "member.left"
