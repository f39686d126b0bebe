"""What a request's head may not say, read more strictly than Twisted and Daphne do. Pure.

A head that two programs read differently lets one request hide inside another; such a head is
refused, also where an RFC would let us guess.
"""

from __future__ import annotations

import re

from twisted.web.http_headers import Headers

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def fault(*, target: bytes, version: bytes, headers: Headers) -> str | None:
    """Why the request is a bad one, whatever it asks for; None where nothing is wrong."""
    hosts = _values(headers, b"host")
    if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
        return "A request has exactly one Host header."  # RFC 9112, 3.2
    if not target.startswith(b"/"):
        return "The request target begins with a slash."
    codings = _values(headers, b"transfer-encoding")
    if codings and (version == b"HTTP/1.0" or [c.lower() for c in codings] != [b"chunked"]):
        return "The only transfer coding here is chunked, in HTTP/1.1."  # RFC 9112, 6.1
    return None


def asks_for_websocket(headers: Headers) -> bool:
    """Whether one of the protocols in Upgrade is WebSocket (RFC 6455, 4.2.1)."""
    return any(offer.lower() == b"websocket" for offer in _listed(headers, b"upgrade"))


def websocket_fault(*, has_body: bool, headers: Headers) -> str | None:
    """Why a request that asks for a WebSocket is a bad one, besides what autobahn finds."""
    if has_body:
        return "A WebSocket handshake has no body."
    if not all(TOKEN.fullmatch(name) for name in _listed(headers, b"sec-websocket-protocol")):
        return "Sec-WebSocket-Protocol lists something that is no token."
    return None


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return list(headers.getRawHeaders(name) or ())


def _listed(headers: Headers, name: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in b",".join(_values(headers, name)).split(b",") if part]
