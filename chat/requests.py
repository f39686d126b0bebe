"""What a client may ask for, and a frame read as such a request. No I/O, no state.

A request is one object with `op`, `ref` and exactly the fields of its operation. Whatever else a
client sends is refused with one error, which carries `ref` wherever one could be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from chat.errors import BadRequestError, ChatError, UnknownOpError
from chat.fields import (
    SLOWEST,
    Check,
    body,
    boolean,
    emoji,
    event_id,
    event_ids,
    kind,
    last_seq,
    maybe_text,
    needed_sentence,
    number,
    one_of,
    positions,
    room_name,
    sentence,
    serials,
    slug,
    text,
    title,
    usernames,
    written,
)
from chat.protocol import LARGEST, Codec, Frame, Limits, Ref, Wire


def has(check: Check, **default: Any) -> Any:
    return field(metadata={"check": check}, **default)


@dataclass(frozen=True, kw_only=True)
class Request:
    """`weight` is what it costs in drops of the leaky buckets, where `cost` does not count them."""

    op: ClassVar[str]
    weight: ClassVar[int] = 1
    ref: Ref

    @property
    def cost(self) -> int:
        return self.weight


@dataclass(frozen=True, kw_only=True)
class InRoom(Request):
    room: str = has(room_name)


@dataclass(frozen=True, kw_only=True)
class OnMessage(InRoom):
    message: str = has(event_id)


@dataclass(frozen=True, kw_only=True)
class ToPerson(InRoom):
    weight = 3
    user: str = has(text(most=64))


# --- Messages -------------------------------------------------------------------------------

A_DROP = 4096  # characters that are read as Markdown


@dataclass(frozen=True, kw_only=True)
class Post(InRoom):
    op = "post"
    client_id: str = has(text(most=64))
    body: str = has(written)
    reply_to: str | None = has(event_id, default=None)
    thread: str | None = has(event_id, default=None)
    attachments: tuple[str, ...] = has(event_ids, default=())

    @property
    def cost(self) -> int:
        return 1 + len(self.body) // A_DROP


@dataclass(frozen=True, kw_only=True)
class Edit(OnMessage):
    op = "edit"
    body: str = has(body)

    @property
    def cost(self) -> int:
        return 1 + len(self.body) // A_DROP


@dataclass(frozen=True, kw_only=True)
class Delete(OnMessage):
    op = "delete"
    reason: str = has(sentence, default="")


@dataclass(frozen=True, kw_only=True)
class React(OnMessage):
    op = "react"
    emoji: str = has(emoji)


@dataclass(frozen=True, kw_only=True)
class Unreact(OnMessage):
    op = "unreact"
    emoji: str = has(emoji)


class Pin(OnMessage):
    op = "pin"


class Unpin(OnMessage):
    op = "unpin"


@dataclass(frozen=True, kw_only=True)
class Report(OnMessage):
    op = "report"
    weight = 10
    reason: str = has(needed_sentence)


# --- Reading --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sync(Request):
    op = "sync"
    rooms: Mapping[str, int] = has(positions)
    limit: int = has(number(least=1), default=LARGEST)

    @property
    def cost(self) -> int:
        return max(1, -(-len(self.rooms) // 20))


@dataclass(frozen=True, kw_only=True)
class History(InRoom):
    op = "history"
    weight = 2
    before: int = has(number(least=1))
    limit: int = has(number(least=1))


class Thread(OnMessage):
    """The messages under one, and that one itself."""

    op = "thread"
    weight = 2


class Pins(InRoom):
    op = "pins"
    weight = 2


@dataclass(frozen=True, kw_only=True)
class Search(Request):
    op = "search"
    weight = 5
    query: str = has(text(most=200))
    room: str | None = has(room_name, default=None)
    before: str | None = has(event_id, default=None)


@dataclass(frozen=True, kw_only=True)
class Read(InRoom):
    op = "read"
    seq: int = has(last_seq)


class Typing(InRoom):
    op = "typing"


@dataclass(frozen=True, kw_only=True)
class Presence(Request):
    """Whether somebody sits at this connection; `away` after minutes without a sign."""

    op = "presence"
    state: str = has(one_of("active", "away"))


# --- Rooms and people -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Create(Request):
    op = "create"
    room: str = has(slug)
    name: str = has(title)
    kind: str = has(kind)
    description: str = has(sentence, default="")
    members: tuple[str, ...] = has(usernames, default=())

    @property
    def cost(self) -> int:
        return 1 + len(self.members)


@dataclass(frozen=True, kw_only=True)
class Change(InRoom):
    """What is left out stays as it is; None is what was left out."""

    op = "change"
    weight = 5
    name: str | None = has(title, default=None)
    description: str | None = has(sentence, default=None)
    posting: str | None = has(one_of("members", "moderators"), default=None)
    slow_seconds: int | None = has(number(least=0, most=SLOWEST), default=None)
    archived: bool | None = has(boolean, default=None)


class Join(InRoom):
    op = "join"


class Leave(InRoom):
    op = "leave"


class Invite(ToPerson):
    op = "invite"


class Remove(ToPerson):
    op = "remove"


@dataclass(frozen=True, kw_only=True)
class Ban(ToPerson):
    op = "ban"
    reason: str = has(needed_sentence)


class Unban(ToPerson):
    op = "unban"


@dataclass(frozen=True, kw_only=True)
class Role(ToPerson):
    op = "role"
    role: str = has(one_of("owner", "moderator", "member"))


@dataclass(frozen=True, kw_only=True)
class Notify(InRoom):
    op = "notify"
    level: str = has(one_of("all", "mentions", "nothing"))


class Members(InRoom):
    op = "members"
    weight = 5


@dataclass(frozen=True, kw_only=True)
class Rooms(Request):
    """The public rooms whose name has the query in it; all of them without one."""

    op = "rooms"
    weight = 5
    query: str = has(maybe_text(most=80), default="")


@dataclass(frozen=True, kw_only=True)
class People(Request):
    """The people whose username, or words of whose name, begin with the query."""

    op = "people"
    weight = 2
    query: str = has(text(most=64))


@dataclass(frozen=True, kw_only=True)
class Certificates(Request):
    """What the certificates with these serials say, and how they stand now."""

    op = "certificates"
    serials: tuple[str, ...] = has(serials)

    @property
    def cost(self) -> int:
        return -(-len(self.serials) // 10)


class Ping(Request):
    op = "ping"


REQUESTS: dict[str, type[Request]] = {
    kind_.op: kind_
    for kind_ in (
        *(Post, Edit, Delete, React, Unreact, Pin, Unpin, Report),
        *(Sync, History, Thread, Pins, Search, Read, Typing, Presence),
        *(Create, Change, Join, Leave, Invite, Remove, Ban, Unban, Role, Notify),
        *(Members, Rooms, People, Certificates, Ping),
    )
}


# --- Parsing --------------------------------------------------------------------------------


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
