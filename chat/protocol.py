"""The chat socket, version 1: what goes over the wire. No I/O, no state; protocol.js mirrors it.

Here are the limits, the close codes, the two codecs and what the server sends; what a client may
ask for is in requests.py.
"""

from __future__ import annotations

import datetime as dt
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, NoReturn

import msgpack
import orjson

from chat.errors import BadRequestError, ChatError

Frame = str | bytes
Ref = str | int
Wire = dict[str, Any]

LARGEST = 2**53 - 1  # the last integer that every client can count to


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


SERVER = person(0, "", "Signet")  # who did what no person did


def moment(at: dt.datetime) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(frame: Frame) -> int:
    """Bytes on the wire."""
    return len(frame) if isinstance(frame, bytes) else len(frame.encode(errors="surrogatepass"))
