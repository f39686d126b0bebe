"""`/whoami`: what this very connection is, and who is at its other end."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse

from pki.description import describe
from pki.requests import AnyRequest, client_chain, open_to_all


@open_to_all
def whoami(request: AnyRequest) -> JsonResponse:
    error = request.identity_error
    answer = {
        "tls": _tls(request),
        "client": (request.scope.get("client") or [None])[0],
        "via": _via(request),
        "certificate": {
            "authorized": error is None,
            "authorization_error": error and error.code,
            "detail": error and str(error),
            **_certificate(request),
        },
        "user": _user(request),
    }
    response = JsonResponse(answer, json_dumps_params={"indent": 2})
    response["Cache-Control"] = "no-store"
    return response


def _tls(request: AnyRequest) -> dict[str, Any] | None:
    connection = request.scope["extensions"]["signet.connection"]
    if connection.tls is None:
        return None
    tls = connection.tls
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "resumed": tls.resumed,
    }


def _via(request: AnyRequest) -> dict[str, str] | None:
    """The proxy that the connection came through, and whether it ended TLS."""
    connection = request.scope["extensions"]["signet.connection"]
    proxy, address = getattr(connection, "proxy", "none"), getattr(connection, "via", None)
    return {"proxy": address, "mode": proxy} if address else None


def _certificate(request: AnyRequest) -> dict[str, Any]:
    chain = client_chain(request.scope)
    if not chain:
        empty = dict.fromkeys(("subject", "issuer", "serial", "sha256", "not_before", "not_after"))
        return {"presented": False, **empty}
    return {"presented": True, **describe(chain[0])}


def _user(request: AnyRequest) -> dict[str, Any] | None:
    identity = request.identity
    if identity is None:
        return None
    return {"id": identity.user_id, "username": identity.username, "name": identity.name}
