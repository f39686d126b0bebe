"""One connection to an endpoint, made as a client makes it, and what the client saw of it."""

from __future__ import annotations

import json
import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any

from pki.addresses import bracketed
from pki.probes import Probe

SECONDS = 15.0  # for each answer; the endpoint's own limit for a handshake is shorter
LARGEST = 64 * 1024
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_([A-Z_]+)")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where such an endpoint is found)


class NobodyThereError(Exception):
    """Nothing answers at the address of the endpoint."""


@dataclass(frozen=True)
class Place:
    """Where an endpoint is, what it is told before TLS begins, and whether it speaks lines."""

    address: str
    port: int
    host: str
    greeting: bytes = b""
    is_line: bool = False


@dataclass(frozen=True)
class Seen:
    """`alert` and `trouble` are empty for who was let in; `answer` is what `/whoami` said, where it
    is served, and `line` the first line where lines are spoken."""

    alert: str = ""
    trouble: str = ""
    answer: dict[str, Any] | None = None
    line: str | None = None


def knock(place: Place) -> None:
    """Connect and hang up, which leaves no trace. Raises NobodyThereError."""
    _connected(replace(place, greeting=b"")).close()


def visit(place: Place, *, version: str, probe: Probe | None = None) -> Seen:
    """Connect, ask who one is, and hang up; the server may be anybody. Raises NobodyThereError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if probe is not None:
        probe.load(context)
    with _connected(place) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=place.host) as tls:
                return Seen(line=_hear(tls)) if place.is_line else Seen(answer=_ask(tls, place))
        except ssl.SSLError as error:
            return Seen(alert=_words(error))
        except TimeoutError:
            return Seen(trouble=f"did not answer within {SECONDS:g} s")
        except OSError:
            return Seen(trouble="cut the connection without a word")


def server_certificate(place: Place, *, roots: tuple[bytes, ...], probe: Probe | None) -> bytes:
    """The endpoint's certificate (DER), for `place.host`; ssl.SSLCertVerificationError says why a
    client that trusts `roots`, beside what this machine trusts, would not take it."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=b"".join(roots))
    if probe is not None:
        probe.load(context)
    with _connected(place) as raw, context.wrap_socket(raw, server_hostname=place.host) as tls:
        return tls.getpeercert(binary_form=True) or b""


def _connected(place: Place) -> socket.socket:
    address = EVERYWHERE.get(place.address, place.address)
    try:
        raw = socket.create_connection((address, place.port), timeout=SECONDS)
        raw.sendall(place.greeting)
    except OSError as error:
        raise NobodyThereError(
            f"Nobody answers on {bracketed(address)} port {place.port} "
            f"({error.strerror or error}). Is the server running here? Start it: manage.py serve"
        ) from None
    return raw


def _ask(tls: ssl.SSLSocket, place: Place) -> dict[str, Any] | None:
    """In TLS 1.3 a client hears the verdict on its certificate with the first thing it reads."""
    head = f"GET /whoami HTTP/1.1\r\nHost: {bracketed(place.host)}:{place.port}\r\n"
    tls.sendall(head.encode() + b"Accept: application/json\r\nConnection: close\r\n\r\n")
    answer = tls.recv(LARGEST)
    if not answer:
        raise ConnectionResetError
    if not answer.startswith(b"HTTP/1.1 200"):
        return None
    while (part := tls.recv(LARGEST)) and len(answer) < LARGEST:
        answer += part
    try:
        found: dict[str, Any] = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    except ValueError:
        return None
    return found


def _hear(tls: ssl.SSLSocket) -> str:
    """The line that whoever comes is greeted or sent away with."""
    said = b""
    while b"\n" not in said and len(said) < LARGEST and (part := tls.recv(LARGEST)):
        said += part
    if not said:
        raise ConnectionResetError
    return said.partition(b"\n")[0].decode(errors="replace").strip()


def _words(error: ssl.SSLError) -> str:
    """The server's alert as RFC 8446, 6 calls it."""
    alert = ALERT.search(error.reason or "")
    return (alert[1] if alert else error.reason or "a TLS error").lower().replace("_", " ")
