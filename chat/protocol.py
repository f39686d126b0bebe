"""The chat socket, version 1: what goes over the wire. No I/O, no state; protocol.js mirrors it.

A request is one object with `op`, `ref` and exactly the fields of its operation. Whatever else a
client sends is refused with one error, which carries `ref` wherever one could be read.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import unicodedata
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar, NoReturn

import msgpack
import orjson

from chat.errors import BadRequestError, ChatError, TooLargeError, UnknownOpError

Frame = str | bytes
Ref = str | int
Wire = dict[str, Any]

LARGEST = 2**53 - 1  # the last integer that every client can count to
SLUG = re.compile(r"\A[a-z0-9][a-z0-9-]{0,63}\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Control, format, surrogate, private-use and unassigned characters, separators of lines; and what
# takes up room without showing anything.
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
KINDS = ("public", "private", "direct")


# --- Limits and close codes -----------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What one connection may do; the part a client must know is sent in `ready`."""

    body_bytes: int = 16_384
    frame_bytes: int = 65_536
    rate: int = 30  # requests a second, in the long run
    burst: int = 200  # requests at once, and impatient ones before the connection is closed
    silence: int = 600  # seconds without any request; `ping` is one
    person_factor: int = 3  # a person's connections together, as a multiple of one connection
    connections: int = 50  # of one person, in one process
    backlog_bytes: int = 1_048_576  # sent, but not taken by the peer
    unreadable: int = 100  # bad requests in quick succession that make a broken client

    def announced(self) -> Wire:
        names = ("body_bytes", "frame_bytes", "rate", "burst", "silence")
        return {name: getattr(self, name) for name in names}


class CloseCode(IntEnum):
    """Below 4500 a client reconnects (with jitter); from 4500 on it stops and tells the person."""

    GOING_AWAY = 1001
    TOO_LARGE = 1009
    FAILED = 1011
    RESTART = 1012
    OVERLOADED = 1013
    RESYNC = 4001
    SILENT = 4008
    TOO_FAST = 4029
    TOO_SLOW = 4030
    BROKEN_CLIENT = 4500
    REVOKED = 4501
    EXPIRED = 4502
    DISABLED = 4503
    NO_CERTIFICATE = 4504
    NOT_TRUSTED = 4505
    SIGNED_OUT = 4506
    TOO_MANY_CONNECTIONS = 4510

    @property
    def sentence(self) -> str:
        return SENTENCES[self]


# A close reason has at most 123 bytes (RFC 6455, 5.5).
SENTENCES = {
    CloseCode.GOING_AWAY: "The server is going away.",
    CloseCode.TOO_LARGE: "This message is too large.",
    CloseCode.FAILED: "The server could not write to you; connect again.",
    CloseCode.RESTART: "The server is restarting.",
    CloseCode.OVERLOADED: "The server has too much to do.",
    CloseCode.RESYNC: "Your copy is out of date; connect again.",
    CloseCode.SILENT: "Nothing was heard from you for too long.",
    CloseCode.TOO_FAST: "You kept sending too fast.",
    CloseCode.TOO_SLOW: "You read too slowly.",
    CloseCode.BROKEN_CLIENT: "This program does not speak the protocol.",
    CloseCode.REVOKED: "Your certificate has been revoked.",
    CloseCode.EXPIRED: "Your certificate has expired.",
    CloseCode.DISABLED: "Your account has been disabled.",
    CloseCode.NO_CERTIFICATE: "Your browser sent no certificate.",
    CloseCode.NOT_TRUSTED: "This certificate was not issued here.",
    CloseCode.SIGNED_OUT: "This device has been signed out.",
    CloseCode.TOO_MANY_CONNECTIONS: "You have too many connections open.",
}

# The `code` of an identity error → how a socket ends.
IDENTITY_CLOSES = {
    "no_identity": CloseCode.NO_CERTIFICATE,
    "no_certificate": CloseCode.NO_CERTIFICATE,
    "certificate_not_trusted": CloseCode.NOT_TRUSTED,
    "wrong_purpose": CloseCode.NOT_TRUSTED,
    "certificate_not_yet_valid": CloseCode.NOT_TRUSTED,
    "certificate_expired": CloseCode.EXPIRED,
    "certificate_revoked": CloseCode.REVOKED,
    "account_disabled": CloseCode.DISABLED,
}


# --- Codecs ---------------------------------------------------------------------------------


class Codec(ABC):
    """One subprotocol: how an object becomes a WebSocket message and back."""

    name: ClassVar[str]

    @abstractmethod
    def encode(self, message: Wire) -> Frame:
        """The message as one text or binary frame."""

    @abstractmethod
    def decode(self, frame: Frame) -> Any:
        """What the frame holds. Raises ValueError, or the BadRequestError that says more."""


def _distinct(pairs: list[tuple[Any, Any]]) -> Wire:
    """The object of these pairs. Of equal keys another reader might believe the other one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRequestError("A key may be in an object only once.")
    return found


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")


class JSONCodec(Codec):
    name = "signet.v1.json"
    _keys = json.JSONDecoder(object_pairs_hook=_distinct)

    def encode(self, message: Wire) -> str:
        return orjson.dumps(message).decode()

    def decode(self, frame: Frame) -> Any:
        if not isinstance(frame, str):
            raise BadRequestError("Send text frames: this connection speaks JSON.")
        message = orjson.loads(frame)  # strict: no lone surrogates, no NaN …
        self._keys.decode(frame)  # … but of equal keys it takes the last
        return message


class MessagePackCodec(Codec):
    name = "signet.v1.msgpack"

    def encode(self, message: Wire) -> bytes:
        packed: bytes = msgpack.packb(message)
        return packed

    def decode(self, frame: Frame) -> Any:
        if not isinstance(frame, bytes):
            raise BadRequestError("Send binary frames: this connection speaks MessagePack.")
        return msgpack.unpackb(frame, ext_hook=_no_extension, object_pairs_hook=_distinct)


JSON, MESSAGEPACK = JSONCodec(), MessagePackCodec()
CODECS = {codec.name: codec for codec in (JSON, MESSAGEPACK)}


def choose(offered: Sequence[str]) -> Codec | None:
    """The first subprotocol of the client's list that we speak."""
    return next((CODECS[name] for name in offered if name in CODECS), None)


# --- Fields ---------------------------------------------------------------------------------
# A check returns the value, or raises a ChatError whose sentence goes on after the field's name.

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


def number(*, least: int) -> Check:
    def check(value: Any, _limits: Limits) -> int:
        if type(value) is not int or not least <= value <= LARGEST:
            raise BadRequestError(f"must be a whole number, {least} or more")
        return value

    return check


def event_id(value: Any, _limits: Limits) -> str:
    try:
        return (
            str(uuid.UUID(hex=value)) if isinstance(value, str) and len(value) == 36 else _no_id()
        )
    except ValueError:
        return _no_id()


def _no_id() -> NoReturn:
    raise BadRequestError("must be the id of an event")


def kind(value: Any, _limits: Limits) -> str:
    if not isinstance(value, str) or value not in KINDS:
        raise BadRequestError(f"must be one of {', '.join(KINDS)}")
    return value


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
last_seq = number(least=0)


def has(check: Check, **default: Any) -> Any:
    return field(metadata={"check": check}, **default)


# --- Requests -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    op: ClassVar[str]
    ref: Ref

    @property
    def cost(self) -> int:
        """Drops of the leaky buckets."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Post(Request):
    op = "post"
    room: str = has(room_name)
    client_id: str = has(text(most=64))
    body: str = has(body)
    reply_to: str | None = has(event_id, default=None)


@dataclass(frozen=True, kw_only=True)
class Sync(Request):
    op = "sync"
    rooms: Mapping[str, int] = has(positions)
    limit: int = has(number(least=1), default=LARGEST)

    @property
    def cost(self) -> int:
        return max(1, -(-len(self.rooms) // 20))


@dataclass(frozen=True, kw_only=True)
class History(Request):
    op = "history"
    room: str = has(room_name)
    before: int = has(number(least=1))
    limit: int = has(number(least=1))


@dataclass(frozen=True, kw_only=True)
class Read(Request):
    op = "read"
    room: str = has(room_name)
    seq: int = has(last_seq)


@dataclass(frozen=True, kw_only=True)
class Typing(Request):
    op = "typing"
    room: str = has(room_name)


@dataclass(frozen=True, kw_only=True)
class Create(Request):
    op = "create"
    room: str = has(slug)
    name: str = has(title)
    kind: str = has(kind)
    members: tuple[str, ...] = has(usernames, default=())

    @property
    def cost(self) -> int:
        return 1 + len(self.members)


@dataclass(frozen=True, kw_only=True)
class Join(Request):
    op = "join"
    room: str = has(room_name)


@dataclass(frozen=True, kw_only=True)
class Leave(Request):
    op = "leave"
    room: str = has(room_name)


@dataclass(frozen=True, kw_only=True)
class Ping(Request):
    op = "ping"


REQUESTS: dict[str, type[Request]] = {
    kind_.op: kind_ for kind_ in (Post, Sync, History, Read, Typing, Create, Join, Leave, Ping)
}


class UnreadableError(Exception):
    """A frame that is no request: what to answer, and the `ref` if one could be read."""

    def __init__(self, ref: Ref | None, error: ChatError) -> None:
        super().__init__(str(error))
        self.ref = ref
        self.error = error


def parse(frame: Frame, *, codec: Codec, limits: Limits) -> Request:
    """The request in a frame; raises UnreadableError for everything else."""
    message = _decode(frame, codec)
    ref = _ref(message)
    try:
        return _request(message, ref, limits)
    except ChatError as error:
        raise UnreadableError(ref, error) from None


def _decode(frame: Frame, codec: Codec) -> Wire:
    try:
        message = codec.decode(frame)
    except ChatError as error:
        raise UnreadableError(None, error) from None
    # Besides ValueError, unpackers let slip whatever a hostile length or nesting provokes.
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        unlike = BadRequestError(f"This frame is not {codec.name.rsplit('.')[-1]}.")
        raise UnreadableError(None, unlike) from None
    if not isinstance(message, dict):
        raise UnreadableError(None, BadRequestError("Send one object in each frame."))
    return message


def _ref(message: Wire) -> Ref | None:
    ref = message.get("ref")
    if isinstance(ref, str):
        return ref if 1 <= len(ref) <= 64 and "\x00" not in ref else None
    return ref if type(ref) is int and abs(ref) <= LARGEST else None


def _request(message: Wire, ref: Ref | None, limits: Limits) -> Request:
    if ref is None:
        raise BadRequestError("“ref” must be a text of 1 to 64 characters or a whole number.")
    op = message.get("op")
    if not isinstance(op, str):
        raise BadRequestError("“op” must name an operation.")
    if op not in REQUESTS:
        raise UnknownOpError
    kind_ = REQUESTS[op]
    checks = {f.name: f for f in fields(kind_) if f.name != "ref"}
    if unknown := message.keys() - checks.keys() - {"op", "ref"}:
        raise BadRequestError(f"“{op}” has no field {min(map(repr, unknown))[:40]}.")
    given = {name: message[name] for name in checks if name in message}
    for name, f in checks.items():
        if name not in given and f.default is MISSING:
            raise BadRequestError(f"“{op}” needs the field “{name}”.")
    return kind_(ref=ref, **{name: _checked(checks[name], given[name], limits) for name in given})


def _checked(f: Any, value: Any, limits: Limits) -> Any:
    try:
        return f.metadata["check"](value, limits)
    except ChatError as error:
        raise type(error)(f"“{f.name}” {error}.") from None


# --- What the server sends ------------------------------------------------------------------


def success(ref: Ref, **result: Any) -> Wire:
    return {"ref": ref, "ok": True, **result}


def failure(ref: Ref | None, error: ChatError) -> Wire:
    detail: Wire = {"code": error.code, "detail": str(error)}
    if error.retry_after is not None:
        detail["retry_after"] = error.retry_after
    return {"ref": ref, "ok": False, "error": detail}


def push(ev: str, **values: Any) -> Wire:
    return {"ev": ev, **values}


def person(user_id: int, username: str, name: str) -> Wire:
    return {"id": user_id, "username": username, "name": name}


def moment(at: dt.datetime) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(frame: Frame) -> int:
    """Bytes on the wire."""
    return len(frame) if isinstance(frame, bytes) else len(frame.encode(errors="surrogatepass"))
