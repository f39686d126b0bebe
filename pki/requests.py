"""Who made a request: the facts on its connection, and the request as our views see it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from pki.errors import IdentityError
from pki.identity import Identity, identify
from pki.models import User

Scope = MutableMapping[str, Any]
View = Callable[..., HttpResponse]


class PersonRequest(HttpRequest):
    """A request of somebody with an identity: what every view not marked `open_to_all` gets."""

    scope: Scope
    identity: Identity
    identity_error: None
    user: User


class AnyRequest(HttpRequest):
    """A request of anybody."""

    scope: Scope
    identity: Identity | None
    identity_error: IdentityError | None


def open_to_all(view: View) -> View:
    """Mark a view as answering people without an identity too."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def client_chain(scope: Mapping[str, Any]) -> list[bytes]:
    """The DER certificates the peer sent, leaf first; empty without one."""
    tls = scope.get("extensions", {}).get("tls", {})
    return [ssl.PEM_cert_to_DER_cert(pem) for pem in tls.get("client_cert_chain", [])]


def demands_identity(request: HttpRequest) -> bool:
    """Whether the endpoint requires a certificate that no handshake of ours has asked for."""
    scope = getattr(request, "scope", {})
    connection = scope.get("extensions", {}).get("signet.connection")
    return (
        getattr(connection, "proxy", "none") == "header"
        and connection.client_certificate == "required"
    )


def identity_of(scope: Mapping[str, Any]) -> Identity | IdentityError:
    """Who is at the other end of this connection now, or why nobody is."""
    connection = scope.get("extensions", {}).get("signet.connection")
    endpoint = connection.endpoint if connection else None
    try:
        return identify(chain=client_chain(scope), at=timezone.now(), endpoint=endpoint)
    except IdentityError as error:
        return error
