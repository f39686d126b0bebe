"""What a proxy that ends TLS says of its client in HTTP headers. Pure.

What always holds:
  1. these headers never reach the application, whoever sent them: `strip` takes them away;
  2. they are read on endpoints for such a proxy alone, whose connections come from listed proxies;
  3. one certificate or none: `Client-Cert` twice, or in another form than RFC 9440 has, is refused.

That the client holds the private key is the proxy's word; who the certificate belongs to, and
whether it is revoked, is judged here, for every request.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from cryptography import x509

from pki.description import UNREADABLE
from project.tls.proxy import plain

CLIENT_CERT, FORWARDED_FOR = b"client-cert", b"x-forwarded-for"
NAMES = {CLIENT_CERT, b"client-cert-chain", b"forwarded", b"x-real-ip", b"x-client-cert"}
PREFIXES = (b"x-forwarded-", b"x-ssl-", b"ssl-client-")
HTTPS = 443

REPLACE_IT = "The proxy has to replace this header, also where its client sent one."

Headers = Iterable[tuple[bytes, bytes]]


class ForwardedError(Exception):
    """The proxy's headers contradict themselves; str() is the sentence for the answer."""


def strip(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers without those that only a proxy has a reason to send. Names are in lower case."""
    return [
        (name, value)
        for name, value in headers
        if name not in NAMES and not name.startswith(PREFIXES)
    ]


def certificate(headers: Headers) -> bytes | None:
    """The client's certificate, DER, or None where the proxy names none. Raises ForwardedError for
    anything but one byte sequence (RFC 8941, 3.3.5) with one certificate in it."""
    values = [value.strip(b" \t") for name, value in headers if name == CLIENT_CERT]
    if not values:
        return None
    if len(values) != 1:
        raise ForwardedError("Client-Cert came more than once.")
    value = values[0]
    if len(value) < 3 or value[:1] != b":" or value[-1:] != b":":
        raise ForwardedError("Client-Cert is not a byte sequence between colons (RFC 9440).")
    try:
        der = base64.b64decode(value[1:-1], validate=True)
        leaf = x509.load_der_x509_certificate(der)
        leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()  # names are read late
    except (binascii.Error, *UNREADABLE):
        raise ForwardedError("Client-Cert does not hold a certificate (RFC 9440).") from None
    return der


def client(headers: Headers) -> str | None:
    """The address that the proxy saw: the last one in X-Forwarded-For, for those before it may be
    the client's own words. None where it is no address."""
    values = [value for name, value in headers if name == FORWARDED_FOR]
    if not values:
        return None
    last = values[-1].rpartition(b",")[2].strip(b" \t")
    try:
        return plain(str(ipaddress.ip_address(last.decode("ascii"))))
    except ValueError:
        return None


def port(headers: Headers) -> int:
    """The port that the client connected to: the one in Host, or that of https."""
    hosts = [value for name, value in headers if name == b"host"]
    _, colon, digits = hosts[0].rpartition(b":") if len(hosts) == 1 else (b"", b"", b"")
    if colon and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535:
        return int(digits)
    return HTTPS


def refusal(status: int, sentence: str) -> Callable[..., Awaitable[None]]:
    """An ASGI application that says no to a request or a WebSocket handshake."""
    body = f"{sentence}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        kind = "websocket.http" if scope["type"] == "websocket" else "http"
        await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
        await send({"type": f"{kind}.response.body", "body": body})

    return answer
