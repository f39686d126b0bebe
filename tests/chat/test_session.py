"""A connection without a network: frames and a clock in, effects out."""

from __future__ import annotations

import json

import pytest

from chat.errors import NotFoundError
from chat.protocol import JSON, MESSAGEPACK, CloseCode, Limits
from chat.session import Bucket, Close, Pace, Perform, Send, Session, person_bucket

LIMITS = Limits(rate=10, burst=5, unreadable=3, person_factor=2)
PING = '{"op":"ping","ref":1}'


def pace(person=None):
    return Pace(limits=LIMITS, person=person or person_bucket(LIMITS, now=0.0), now=0.0)


def fresh(codec=JSON, pace_=None):
    return Session(codec=codec, limits=LIMITS, pace=pace_ or pace(), now=0.0)


def opened(**options):
    session = fresh(**options)
    session.open(user={}, certificate={}, rooms=[], heartbeat=25, epoch="e")
    return session


def said(effect):
    assert isinstance(effect, Send)
    return json.loads(effect.frame)


def test_ready_tells_who_and_what_and_the_limits():
    user = {"id": 1, "username": "alice", "name": "Alice"}
    certificate = {"serial": "ab", "sha256": "cd", "not_after": "2030-01-01T00:00:00.000Z"}
    ready = fresh().open(user=user, certificate=certificate, rooms=[], heartbeat=25, epoch="e")

    assert said(ready) == {
        "ev": "ready",
        "user": user,
        "certificate": certificate,
        "rooms": [],
        "limits": {
            "body_bytes": 16384, "frame_bytes": 65536, "rate": 10, "burst": 5, "silence": 600,
        },
        "heartbeat": 25,
        "epoch": "e",
    }  # fmt: skip


def test_nothing_can_be_sent_before_ready():
    with pytest.raises(AssertionError):
        fresh().refuse(1, NotFoundError())
    with pytest.raises(AssertionError):
        fresh().receive(PING, now=0.0)


def test_ready_is_sent_once():
    session = opened()
    with pytest.raises(AssertionError):
        session.open(user={}, certificate={}, rooms=[], heartbeat=25, epoch="e")


def test_ping_is_answered_at_once():
    (reply,) = opened().receive(PING, now=0.0)
    assert said(reply) == {"ref": 1, "ok": True}


def test_request_is_to_be_performed_and_answered_with_its_ref():
    session = opened()
    (effect,) = session.receive('{"op":"join","ref":"j","room":"den"}', now=0.0)

    assert isinstance(effect, Perform)
    assert said(session.succeed(effect.request, {"event": {}})) == {
        "ref": "j",
        "ok": True,
        "event": {},
    }
    assert said(session.refuse("j", NotFoundError()))["error"]["code"] == "not_found"


def test_frames_of_the_other_subprotocol_are_refused():
    (reply,) = opened(codec=MESSAGEPACK).receive(PING, now=0.0)
    assert MESSAGEPACK.decode(reply.frame)["error"]["code"] == "bad_request"


def test_frame_above_the_limit_ends_the_connection():
    session = opened()
    assert session.receive("x" * 65_537, now=0.0) == [Close(CloseCode.TOO_LARGE)]
    assert session.receive(PING, now=1.0) == []


def test_frame_is_measured_in_bytes():
    assert opened().receive("ä" * 32_769, now=0.0) == [Close(CloseCode.TOO_LARGE)]


def test_burst_passes_and_the_next_is_told_when_to_try_again():
    session = opened()
    for _ in range(5):
        assert said(session.receive(PING, now=0.0)[0])["ok"]
    refused = said(session.receive(PING, now=0.0)[0])

    assert refused["ref"] == 1
    assert refused["error"]["code"] == "rate_limited"
    assert refused["error"]["retry_after"] == 0.1
    assert said(session.receive(PING, now=0.1)[0])["ok"]


def test_who_waits_as_told_is_never_refused():
    session, now = opened(), 0.0
    for _ in range(200):
        reply = said(session.receive(PING, now=now)[0])
        if not reply["ok"]:
            now += reply["error"]["retry_after"]
            assert said(session.receive(PING, now=now)[0])["ok"]


def test_who_keeps_exceeding_the_rate_is_sent_away():
    session = opened()
    effects = [session.receive(PING, now=0.0)[0] for _ in range(11)]
    assert all(isinstance(effect, Send) for effect in effects[:10])
    assert effects[10] == Close(CloseCode.TOO_FAST)


def test_connections_of_a_person_share_a_bucket():
    person = person_bucket(LIMITS, now=0.0)
    sessions = [opened(pace_=pace(person)) for _ in range(3)]
    answers = [said(s.receive(PING, now=0.0)[0])["ok"] for s in sessions for _ in range(5)]
    assert answers == [True] * 10 + [False] * 5


def test_large_request_costs_several_drops():
    session = opened()
    members = ["bob", "charlie", "dora"]
    create = JSON.encode(
        {"op": "create", "ref": 1, "room": "d", "name": "D", "kind": "private", "members": members}
    )
    assert isinstance(session.receive(create, now=0.0)[0], Perform)
    assert said(session.receive(create, now=0.0)[0])["error"]["retry_after"] == 0.3
    assert said(session.receive(PING, now=0.0)[0])["ok"]
    assert isinstance(session.receive(create, now=0.4)[0], Perform)


def test_request_that_costs_more_than_the_bucket_holds_waits_until_it_is_empty():
    bucket = Bucket(rate=1, burst=2, now=0.0)
    bucket.add(0.0)
    assert bucket.wait(0.0, drops=50) == 1
    assert bucket.wait(1.0, drops=50) == 0
    bucket.add(1.0, drops=50)
    assert bucket.wait(1.0) == 1


def test_client_that_only_talks_nonsense_is_broken():
    session = opened()
    answers = [session.receive("nonsense", now=0.0)[0] for _ in range(3)]
    assert said(answers[0])["error"]["code"] == "bad_request"
    assert answers[2] == Close(CloseCode.BROKEN_CLIENT)


def test_nonsense_now_and_then_is_forgiven():
    session = opened()
    for minute in range(20):
        assert said(session.receive("nonsense", now=minute * 60.0)[0])["ref"] is None


def test_silence_is_measured_from_the_last_frame():
    subject = pace()
    subject.take(100.0)
    assert not subject.is_silent(700.0)
    assert subject.is_silent(701.0)


def test_bucket_leaks_to_empty_and_no_further():
    bucket = Bucket(rate=1, burst=2, now=0.0)
    bucket.add(0.0)
    assert bucket.wait(0.0) == 0
    bucket.add(0.0)
    assert bucket.wait(0.0) == 1
    assert bucket.wait(0.5) == 0.5
    assert bucket.is_empty(1000.0)
    bucket.add(1000.0)
    bucket.add(1000.0)
    assert bucket.wait(1000.0) == 1
