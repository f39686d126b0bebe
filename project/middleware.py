"""Which pages an endpoint serves, and whom the console shows on a connection."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

NOTHING = "project.urls_nothing"
URLCONFS = {
    "main": "project.urls",
    "chat": "project.urls_chat",
    "console": "project.urls_console",
    "enrol": "project.urls_enrol",
    "public": "project.urls_public",
}


class EndpointMiddleware:
    """Chooses the URLs by what the connection's endpoint serves; an unknown endpoint has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        scope = getattr(request, "scope", {})
        connection = scope.get("extensions", {}).get("signet.connection")
        serves = connection.serves if connection else ""
        request.urlconf = URLCONFS.get(serves, NOTHING)
        request.serves = serves  # type: ignore[attr-defined]
        return self.get_response(request)


class NoteMiddleware:
    """Tells the connection whose it is; stands after the identity."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        scope = getattr(request, "scope", {})
        connection = scope.get("extensions", {}).get("signet.connection")
        identity = getattr(request, "identity", None)
        if connection is not None:
            connection.note.user_id = identity.user_id if identity else None
        return self.get_response(request)
