"""Which pages an endpoint serves."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

URLCONFS = {"main": "project.urls", "enrol": "project.urls_enrol", "public": "project.urls_public"}


class EndpointMiddleware:
    """Chooses the URLs by what the connection's endpoint serves; an unknown endpoint has none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        scope = getattr(request, "scope", {})
        connection = scope.get("extensions", {}).get("signet.connection")
        request.urlconf = URLCONFS[connection.serves] if connection else "project.urls_nothing"
        return self.get_response(request)
