"""What is a request, and what is refused with which code and which ref."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.protocol import CODECS, JSON, MESSAGEPACK, Limits
from chat.requests import REQUESTS, UnreadableError, parse

LIMITS = Limits()
POST = {"op": "post", "ref": "r1", "room": "den", "client_id": "c1", "body": "hello"}
ID = "6f2b7c1e-98e7-4ab8-9f4f-6f6d0e2a7a11"


def read(message, codec=JSON, limits=LIMITS):
    return parse(codec.encode(message), codec=codec, limits=limits)


def refusal(frame, codec=JSON):
    with pytest.raises(UnreadableError) as caught:
        parse(frame, codec=codec, limits=LIMITS)
    return caught.value.ref, caught.value.error.code


GOOD = [
    POST,
    {**POST, "reply_to": ID},
    {**POST, "ref": 7, "body": "two\nlines\tand a tab"},
    {"op": "sync", "ref": 1, "rooms": {}},
    {"op": "sync", "ref": 1, "rooms": {"den": 0, "square": 12}, "limit": 10},
    {"op": "history", "ref": 1, "room": "den", "before": 9, "limit": 50},
    {"op": "read", "ref": 1, "room": "den", "seq": 0},
    {"op": "typing", "ref": 1, "room": "den"},
    {"op": "create", "ref": 1, "room": "den-2", "name": "Den", "kind": "private"},
    {"op": "create", "ref": 1, "room": "d", "name": "D", "kind": "direct", "members": ["bob"]},
    {"op": "join", "ref": 1, "room": "den"},
    {"op": "leave", "ref": 1, "room": "den"},
    {"op": "ping", "ref": 1},
]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("message", GOOD, ids=lambda m: m["op"])
def test_every_request_is_read_in_both_subprotocols(message, codec):
    request = read(message, codec)

    assert request.op == message["op"]
    for name in message.keys() - {"op", "members"}:
        assert getattr(request, name) == message[name]


BAD = {
    "unknown op": ({"op": "dance"}, "unknown_op"),
    "an op of later": ({"op": "fly", "room": "den"}, "unknown_op"),
    "no op": ({}, "bad_request"),
    "op is no text": ({"op": 3}, "bad_request"),
    "op is a list": ({"op": ["post"]}, "bad_request"),
    "missing body": ({k: v for k, v in POST.items() if k != "body"}, "bad_request"),
    "field too many": ({**POST, "colour": "red"}, "bad_request"),
    "field of another op": ({"op": "ping", "room": "den"}, "bad_request"),
    "room is a number": ({**POST, "room": 3}, "bad_request"),
    "room is too long": ({**POST, "room": "x" * 65}, "bad_request"),
    "room with NUL": ({**POST, "room": "de\x00n"}, "bad_request"),
    "body is null": ({**POST, "body": None}, "bad_request"),
    "body is blank": ({**POST, "body": " \n "}, "bad_request"),
    "body with NUL": ({**POST, "body": "a\x00b"}, "bad_request"),
    "body is too long": ({**POST, "body": "x" * 16_385}, "too_large"),
    "body is too long in bytes": ({**POST, "body": "ä" * 8_193}, "too_large"),
    "client_id is empty": ({**POST, "client_id": ""}, "bad_request"),
    "client_id is too long": ({**POST, "client_id": "x" * 65}, "bad_request"),
    "client_id with a line feed": ({**POST, "client_id": "a\nb"}, "bad_request"),
    "reply_to is no id": ({**POST, "reply_to": "4"}, "bad_request"),
    "reply_to is a number": ({**POST, "reply_to": 4}, "bad_request"),
    "reply_to is null": ({**POST, "reply_to": None}, "bad_request"),
    "rooms is a list": ({"op": "sync", "rooms": ["den"]}, "bad_request"),
    "seq is a text": ({"op": "sync", "rooms": {"den": "1"}}, "bad_request"),
    "seq is true": ({"op": "sync", "rooms": {"den": True}}, "bad_request"),
    "seq is negative": ({"op": "sync", "rooms": {"den": -1}}, "bad_request"),
    "seq is a fraction": ({"op": "read", "room": "den", "seq": 1.0}, "bad_request"),
    "seq is huge": ({"op": "read", "room": "den", "seq": 2**53}, "bad_request"),
    "rooms in rooms": ({"op": "sync", "rooms": {"den": {"den": 1}}}, "bad_request"),
    "too many rooms": ({"op": "sync", "rooms": {f"r{n}": 0 for n in range(201)}}, "bad_request"),
    "limit is none": ({"op": "history", "room": "den", "before": 1, "limit": 0}, "bad_request"),
    "limit is false": ({"op": "sync", "rooms": {}, "limit": False}, "bad_request"),
    "before the first": ({"op": "history", "room": "d", "before": 0, "limit": 1}, "bad_request"),
    "slug in capitals": ({"op": "create", "room": "Den", "name": "D", "kind": "public"}, "bad_request"),
    "slug with line feed": ({"op": "create", "room": "d\n", "name": "D", "kind": "public"}, "bad_request"),
    "kind is unknown": ({"op": "create", "room": "d", "name": "D", "kind": "secret"}, "bad_request"),
    "name is blank": ({"op": "create", "room": "d", "name": "  ", "kind": "public"}, "bad_request"),
    "members is a text": (
        {"op": "create", "room": "d", "name": "D", "kind": "public", "members": "bob"},
        "bad_request",
    ),
    "members are numbers": (
        {"op": "create", "room": "d", "name": "D", "kind": "public", "members": [1]},
        "bad_request",
    ),
    "too many members": (
        {"op": "create", "room": "d", "name": "D", "kind": "public", "members": ["x"] * 51},
        "bad_request",
    ),
}  # fmt: skip


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(("message", "code"), BAD.values(), ids=BAD)
def test_bad_request_is_one_error_with_its_ref(message, code, codec):
    assert refusal(codec.encode({**message, "ref": "r1"}), codec) == ("r1", code)


@pytest.mark.parametrize("ref", [None, "", "x" * 65, True, 1.5, [1], {"a": 1}, 2**53], ids=repr)
def test_ref_that_is_none_is_refused_without_one(ref):
    assert refusal(orjson.dumps({**POST, "ref": ref}).decode()) == (None, "bad_request")


@pytest.mark.parametrize(
    "frame",
    [
        "", "hello", "NaN", '{"ref": NaN}', "[1]", "7", "null", '"text"', "[" * 60_000,
        '{"a":' * 10_000, '{"op":"ping","ref":1}{}', '{"ref":"\\ud800"}', b'{"op":"ping","ref":1}',
        '{"ref": 1e999}',
    ],
)  # fmt: skip
def test_frame_that_is_no_json_object_is_refused(frame):
    assert refusal(frame) == (None, "bad_request")


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91" * 60_000, b"\xdf\xff\xff\xff\xff", b"\x81\xa1a",
        b"\x81\xa3ref\x01\x01", b"\x81\xa3\xff\xff\xff\x01", b"\x81\x01\x01", b"\xd6\xff\x00\x00\x00\x01",
        b"\xc7\x0c\x05hello world!", b"\x81\x91\x01\x01", '{"op":"ping","ref":1}',
    ],
)  # fmt: skip
def test_frame_that_is_no_messagepack_map_is_refused(frame):
    assert refusal(frame, MESSAGEPACK) == (None, "bad_request")


def test_nan_in_messagepack_is_no_number():
    frame = msgpack.packb({"op": "read", "ref": 1, "room": "den", "seq": float("nan")})
    assert refusal(frame, MESSAGEPACK) == (1, "bad_request")


def test_messagepack_bytes_are_no_text():
    assert refusal(msgpack.packb({**POST, "body": b"hello"}), MESSAGEPACK) == ("r1", "bad_request")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_frame_does_anything_but_parse_or_be_refused(frame):
    for codec in CODECS.values():
        with suppress(UnreadableError):
            parse(frame, codec=codec, limits=LIMITS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(REQUESTS)),
    st.sampled_from(["room", "rooms", "body", "seq", "limit", "members", "ref", "reply_to"]),
)
def test_no_value_of_a_field_does_anything_but_parse_or_be_refused(value, op, field):
    message = {**POST, "op": op, field: value}
    with suppress(UnreadableError):
        parse(MESSAGEPACK.encode(message), codec=MESSAGEPACK, limits=LIMITS)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("message", GOOD, ids=lambda m: m["op"])
def test_nul_in_any_text_is_a_bad_request(message, codec):
    """PostgreSQL refuses it, which must not look like a failure of ours."""
    for name, value in message.items():
        nul = {str: "a\x00b", dict: {"a\x00b": 0}, list: ["a\x00b"]}.get(type(value))
        if nul is not None and name != "op":
            code = refusal(codec.encode({"ref": 1, **message, name: nul}), codec)[1]
            assert code == "bad_request", name
    assert refusal(codec.encode({**message, "ref": "a\x00b"}), codec) == (None, "bad_request")
    assert refusal(codec.encode({**message, "a\x00b": 1}), codec)[1] == "bad_request"


@pytest.mark.parametrize(
    "frame",
    [
        '{"op":"post","ref":1,"room":"den","client_id":"c","body":"\\ud800"}',
        '{"op":"post","ref":1,"room":"den","client_id":"c","body":"a\\udc00b"}',
        '{"op":"post","ref":1,"room":"den","client_id":"c","body":"\\ude00\\ud83d"}',
        '{"op":"ping","ref":"\\udfff"}',
        '{"op":"ping","ref":1,"\\ud800":1}',
        '{"op":"ping","ref":"\ud800"}',
    ],
)
def test_lone_surrogate_is_a_bad_request(frame):
    assert refusal(frame) == (None, "bad_request")


def test_surrogate_pair_is_a_character():
    frame = '{"op":"post","ref":1,"room":"den","client_id":"c","body":"\\ud83d\\ude00"}'
    assert parse(frame, codec=JSON, limits=LIMITS).body == "😀"


def test_surrogate_in_messagepack_is_a_bad_request():
    frame = b"\x82\xa2op\xa4ping\xa3ref\xa3\xed\xa0\x80"
    assert refusal(frame, MESSAGEPACK) == (None, "bad_request")


@pytest.mark.parametrize(
    "frame",
    [
        '{"op":"ping","ref":1,"ref":2}',
        '{"op":"ping","ref":1,"op":"ping"}',
        '{"op":"ping","ref":1,"r\\u0065f":1}',
        '{"op":"sync","ref":1,"rooms":{"den":0,"den":0}}',
    ],
)
def test_key_that_comes_twice_is_a_bad_request(frame):
    assert refusal(frame) == (None, "bad_request")


def test_key_that_comes_twice_in_messagepack_is_a_bad_request():
    frame = b"\x83\xa2op\xa4ping\xa3ref\x01\xa3ref\x02"
    assert refusal(frame, MESSAGEPACK) == (None, "bad_request")


def test_error_does_not_repeat_much_of_what_was_sent():
    with pytest.raises(UnreadableError) as caught:
        read({**POST, "x" * 10_000: 1})
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("message", "cost"),
    [
        ({"op": "certificates", "serials": ["5f"]}, 1),
        ({"op": "certificates", "serials": [f"{n:x}" for n in range(11)]}, 2),
        ({"op": "ping"}, 1),
        ({"op": "create", "room": "d", "name": "D", "kind": "public"}, 1),
        ({"op": "create", "room": "d", "name": "D", "kind": "private", "members": ["a", "b"]}, 3),
        ({"op": "sync", "rooms": {}}, 1),
        ({"op": "sync", "rooms": {f"r{n}": 0 for n in range(20)}}, 1),
        ({"op": "sync", "rooms": {f"r{n}": 0 for n in range(21)}}, 2),
        ({"op": "sync", "rooms": {f"r{n}": 0 for n in range(200)}}, 10),
        ({"op": "members", "room": "d"}, 5),
        ({"op": "rooms"}, 5),
        ({"op": "people", "query": "a"}, 2),
        ({"op": "post", "room": "d", "client_id": "c", "body": "x" * 4095}, 1),
        ({"op": "post", "room": "d", "client_id": "c", "body": "x" * 16384}, 5),
        ({"op": "edit", "room": "d", "message": ID, "body": "x" * 16384}, 5),
        ({"op": "report", "room": "d", "message": ID, "reason": "r"}, 10),
        ({"op": "change", "room": "d", "name": "D"}, 5),
        ({"op": "history", "room": "d", "before": 1, "limit": 1}, 2),
        ({"op": "invite", "room": "d", "user": "a"}, 3),
        ({"op": "ban", "room": "d", "user": "a", "reason": "r"}, 3),
    ],
)
def test_request_costs_what_it_makes_the_server_do(message, cost):
    assert read({**message, "ref": 1}).cost == cost
