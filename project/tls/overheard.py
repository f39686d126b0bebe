"""What a peer said in a handshake that then failed: version, server name, certificate.

Python tells nothing of a failed handshake but its error, so the messages are noted as they come:
the ClientHello and the client's Certificate. Nothing here is verified. `listen` uses a hook that
CPython has for debugging and does not document; where it is missing, less is known afterwards and
nothing else changes. The hook also hears the head of every later record, so `forget` takes it off
a connection when the handshake is complete.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OnCertificate = Callable[[ssl.SSLObject, bytes | None], None]
HOOK: Any = getattr(super(ssl.SSLContext, ssl.SSLContext), "_msg_callback", None)
NO_COMPRESSED_CERTIFICATES = 1 << 33  # SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
HANDSHAKE, CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 22, 1, 2, 11
SERVER_NAME, SUPPORTED_VERSIONS = 0, 43
LARGEST = 16 * 1024  # of a message that is kept
LONGEST_NAME = 255
VERSIONS = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}


@dataclass(frozen=True)
class Overheard:
    """`protocol` is the version that was agreed on or, before that, the newest that was offered.
    `certificate` is the client's, DER: presented, and not verified."""

    protocol: str = ""
    server_name: str = ""
    certificate: bytes | None = None


NOTHING = Overheard()


def listen(context: ssl.SSLContext, *, then: OnCertificate | None = None) -> None:
    """Have the handshakes that begin on this context noted, and the client's certificate told as
    it comes, before OpenSSL looks at it: DER, or None where there is none to be read."""

    def note_and_tell(tls: Any, direction: str, version: int, content: int, *rest: Any) -> None:
        _note(tls, direction, version, content, *rest)
        if content == HANDSHAKE and direction == "read" and rest[0] == CERTIFICATE and then:
            then(tls, _first_certificate(vars(tls).get("overheard", {})))

    if ssl.OPENSSL_VERSION_INFO >= (3, 2):
        context.options |= NO_COMPRESSED_CERTIFICATES  # which could not be read here
    if HOOK is not None:  # the property of Python itself makes enums of everything, 5 µs a record
        HOOK.__set__(context, note_and_tell if then else _note)


def forget(tls: ssl.SSLObject) -> None:
    """The handshake is complete: note nothing more, and keep nothing."""
    if vars(tls).pop("overheard", None) is not None:
        tls.context = _QUIET  # Python looks for the hook there; the connection stays as it is


def sent(tls: ssl.SSLObject) -> bytes | None:
    """The certificate of ours (DER) that was sent, before `forget`; None where none was noted."""
    return _first_certificate(vars(tls).get("overheard", {}), "sent")


def of(tls: ssl.SSLObject) -> Overheard:
    """What is known of a handshake that has not come to pass. Never raises."""
    kept: dict[str, Any] = vars(tls).get("overheard", {})
    try:
        offered, name = _client_hello(kept.get("hello", b""))
    except (IndexError, ValueError):
        offered, name = 0, ""
    return Overheard(
        protocol=VERSIONS.get(kept.get("version", offered), ""),
        server_name=name or _name(vars(tls).get("asked_for") or ""),
        certificate=_first_certificate(kept),
    )


_QUIET = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _note(
    tls: ssl.SSLObject, direction: str, version: int, content: int, message: int, data: bytes
) -> None:
    if content != HANDSHAKE:
        return
    if direction == "read" and message in (CLIENT_HELLO, CERTIFICATE) and len(data) <= LARGEST:
        name = "hello" if message == CLIENT_HELLO else "certificate"
        vars(tls).setdefault("overheard", {})[name] = data
    elif direction == "write" and message == SERVER_HELLO:
        vars(tls).setdefault("overheard", {})["version"] = version
    elif direction == "write" and message == CERTIFICATE:
        vars(tls).setdefault("overheard", {})["sent"] = data


def _first_certificate(kept: dict[str, Any], message: str = "certificate") -> bytes | None:
    """RFC 8446, 4.4.2 (a context comes first), and RFC 5246, 7.4.2."""
    data = kept.get(message, b"")[4:]
    if kept.get("version") == ssl.TLSVersion.TLSv1_3:
        data = data[1 + data[0] :] if data else b""
    length = int.from_bytes(data[3:6], "big")
    found: bytes = data[6 : 6 + length]
    return found if length and len(found) == length else None


def _client_hello(data: bytes) -> tuple[int, str]:
    """The newest version that is offered, and the server name (RFC 8446, 4.1.2). Raises IndexError
    and ValueError for what breaks off."""
    newest = int.from_bytes(data[4:6], "big")
    place = 4 + 2 + 32
    place += 1 + data[place]  # session
    place += 2 + int.from_bytes(data[place : place + 2], "big")  # cipher suites
    place += 1 + data[place]  # compression
    name = ""
    for kind, body in _extensions(data[place + 2 :]):
        if kind == SUPPORTED_VERSIONS:
            versions = [int.from_bytes(body[i : i + 2], "big") for i in range(1, len(body), 2)]
            newest = max((one for one in versions if one in VERSIONS), default=newest)
        elif kind == SERVER_NAME:
            name = body[5:].decode("ascii")
    return newest, _name(name)


def _name(text: str) -> str:
    """Empty for what is no name of a host, and might do harm where it is shown."""
    return text if text.isascii() and text.isprintable() and len(text) <= LONGEST_NAME else ""


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(data):
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield int.from_bytes(data[place : place + 2], "big"), data[place + 4 : place + 4 + length]
        place += 4 + length
