"""The fields of requests, one check each. Pure.

A check returns the value as it is used from there on, or raises a ChatError whose sentence goes on
after the field's name.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from chat.errors import BadRequestError, TooLargeError
from chat.protocol import LARGEST, Limits

SLOWEST = 3600  # seconds between two messages of a member, at most
SLUG = re.compile(r"\A[a-z0-9][a-z0-9-]{0,63}\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Control, format, surrogate, private-use and unassigned characters, separators of lines; and what
# takes up room without showing anything.
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
KINDS = ("public", "private", "direct")
SERIAL = re.compile(r"\A[0-9a-fA-F]{1,40}\Z")
# A base with what varies, tints or joins it; flags are pairs of letters, or a black one with the
# letters of a region as tags; keys a digit with a frame. Blanks, letters and marks of direction,
# which lie between the blocks of symbols, are none of it.
_BASE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
_PART = f"{_BASE}\ufe0f?[\U0001f3fb-\U0001f3ff]?"
_REGION = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
EMOJI = re.compile(
    rf"\A(?:{_PART}(?:\u200d{_PART}){{0,4}}|{_REGION}|[\U0001f1e6-\U0001f1ff]{{2}}"
    r"|[0-9#*]\ufe0f?\u20e3)\Z"
)

Check = Callable[[Any, Limits], Any]


def text(*, most: int) -> Check:
    def check(value: Any, _limits: Limits) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            raise BadRequestError(f"must be a text of 1 to {most} characters")
        if CONTROL.search(value):
            raise BadRequestError("must not contain control characters")
        return value

    return check


def is_plain(value: str) -> bool:
    """Every character shows, and stands where it is written."""
    return not any(c in FILLERS or unicodedata.category(c) in INVISIBLE for c in value)


def title(value: Any, limits: Limits) -> str:
    name = str(text(most=80)(value.strip() if isinstance(value, str) else value, limits))
    if not is_plain(name):
        raise BadRequestError("must not contain invisible characters")
    if all(unicodedata.category(c).startswith("M") or c.isspace() for c in name):
        raise BadRequestError("must contain a letter, digit or sign")  # not marks alone
    return name


def slug(value: Any, _limits: Limits) -> str:
    if not isinstance(value, str) or not SLUG.match(value):
        raise BadRequestError(
            "must be 1 to 64 small letters, digits and dashes, beginning with a letter or digit"
        )
    return value


def body(value: Any, limits: Limits) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise BadRequestError("must be a text that is not blank")
    if len(value.encode()) > limits.body_bytes:
        raise TooLargeError(f"must not be longer than {limits.body_bytes} bytes")
    return value


def written(value: Any, limits: Limits) -> str:
    """A body that may be empty, as beside an attachment; the verb looks whether it may here."""
    return "" if value == "" else body(value, limits)


def sentence(value: Any, limits: Limits) -> str:
    """A description or reason on one line; it may be empty."""
    said = value.strip() if isinstance(value, str) else value
    return "" if said == "" else str(text(most=500)(said, limits))


def needed_sentence(value: Any, limits: Limits) -> str:
    if isinstance(value, str) and not value.strip():
        raise BadRequestError("must not be blank")
    return str(text(most=200)(value.strip() if isinstance(value, str) else value, limits))


def maybe_text(*, most: int) -> Check:
    return lambda value, limits: "" if value == "" else text(most=most)(value, limits)


def emoji(value: Any, limits: Limits) -> str:
    """One emoji: symbols with what joins and varies them, as a keyboard for emoji sends it."""
    if not isinstance(value, str) or len(value) > 32 or not EMOJI.match(value):
        raise BadRequestError("must be one emoji")
    return value


def number(*, least: int, most: int = LARGEST) -> Check:
    def check(value: Any, _limits: Limits) -> int:
        if type(value) is not int or not least <= value <= most:
            upper = "or more" if most == LARGEST else f"to {most}"
            raise BadRequestError(f"must be a whole number, {least} {upper}")
        return value

    return check


def boolean(value: Any, _limits: Limits) -> bool:
    if not isinstance(value, bool):
        raise BadRequestError("must be true or false")
    return value


def one_of(*allowed: str) -> Check:
    def check(value: Any, _limits: Limits) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadRequestError(f"must be one of {', '.join(allowed)}")
        return value

    return check


def event_ids(value: Any, limits: Limits) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 10:
        raise BadRequestError("must be a list of at most 10 ids")
    return tuple(dict.fromkeys(event_id(one, limits) for one in value))


def serials(value: Any, _limits: Limits) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 50:
        raise BadRequestError("must be a list of 1 to 50 serial numbers")
    for serial in value:
        if not isinstance(serial, str) or not SERIAL.match(serial):
            raise BadRequestError("must be serial numbers in hexadecimal digits")
    return tuple(dict.fromkeys(serial.lower() for serial in value))


def event_id(value: Any, _limits: Limits) -> str:
    if isinstance(value, str) and len(value) == 36:
        with suppress(ValueError):
            return str(uuid.UUID(hex=value))
    raise BadRequestError("must be the id of an event")


def usernames(value: Any, limits: Limits) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 50:
        raise BadRequestError("must be a list of at most 50 usernames")
    return tuple(dict.fromkeys(text(most=64)(name, limits) for name in value))


def positions(value: Any, limits: Limits) -> Mapping[str, int]:
    if not isinstance(value, dict) or len(value) > 200:
        raise BadRequestError("must map at most 200 rooms to the last number seen")
    return {room_name(room, limits): last_seq(seq, limits) for room, seq in value.items()}


# A room that is looked up may have any name: one that no room can have is simply not found.
room_name = text(most=64)
kind = one_of(*KINDS)
last_seq = number(least=0)
