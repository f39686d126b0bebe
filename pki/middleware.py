"""From the verified certificate of a connection to the person: for requests and for sockets.

What always holds:
  1. identity is read from the ASGI `tls` extension of this very connection, and from nothing that
     a client can write;
  2. it is judged anew for every request, so a kept-alive connection does not outlive a revocation;
  3. a page is for people with an identity unless its view says `open_to_all`; where certificates
     are required and a proxy ended TLS, so that no handshake could refuse, no page is open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from pki.identity import Identity
from pki.models import User
from pki.requests import Scope, View, demands_identity, identity_of
from pki.views.refused import refused

Application = Callable[[Scope, Any, Any], Awaitable[None]]


class IdentityMiddleware(AuthenticationMiddleware):
    """Sets `request.identity`, `request.identity_error` (one of them is None) and `request.user`.

    The session has no say in who somebody is; it only remembers that the console was unlocked
    with a password (`pki.console`).
    """

    def process_request(self, request: HttpRequest) -> None:
        verdict = identity_of(getattr(request, "scope", {}))
        identity = verdict if isinstance(verdict, Identity) else None
        request.identity = identity  # type: ignore[attr-defined]
        request.identity_error = None if identity else verdict  # type: ignore[attr-defined]
        request.user = (
            SimpleLazyObject(lambda: User.objects.get(pk=identity.user_id))  # type: ignore[assignment]
            if identity
            else AnonymousUser()
        )

    def process_view(
        self, request: HttpRequest, view: View, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        is_open = getattr(view, "open_to_all", False) and not demands_identity(request)
        if request.identity_error is None or is_open:  # type: ignore[attr-defined]
            return None
        return refused(request)


class WebSocketIdentityMiddleware:
    """Puts an Identity, or the IdentityError that says why there is none, into the scope.

    The consumer accepts and then closes with the error's code, so that a browser learns why.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        identity = await database_sync_to_async(identity_of)(scope)
        await self.application({**scope, "identity": identity}, receive, send)
