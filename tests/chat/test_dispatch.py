from __future__ import annotations

import pytest

from chat.dispatch import perform
from chat.errors import UnknownOpError
from chat.protocol import JSON, REQUESTS, Limits, Ping, Request, parse

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("request_", [Request(ref=1), Ping(ref=1)])
def test_request_without_a_verb_is_unknown(cast, at, request_):
    with pytest.raises(UnknownOpError):
        perform(request_, actor=cast.alice, at=at)


def test_every_request_of_the_protocol_reaches_its_verb(cast, at):
    asked = {"ping"}  # which the session answers

    def ask(actor, op, **fields):
        asked.add(op)
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
    assert ask(cast.bob, "leave", room="den")["event"]["type"] == "member.left"
    assert asked == REQUESTS.keys()
