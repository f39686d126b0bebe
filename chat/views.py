"""The page around the chat: a shell that the chat client fills."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.models import Room
from chat.protocol import person
from pki.identity import Identity

SOCKET = "/ws/chat/"


@never_cache
@require_safe
def chat(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    identity: Identity = request.identity  # type: ignore[attr-defined]
    if slug is not None and not _is_visible(identity, slug):
        raise Http404("There is no such room.")
    user = person(identity.user_id, identity.username, identity.name)
    page = {"socket": SOCKET, "user": user, "room": slug}
    return render(request, "chat/chat.html", {"page": page})


def _is_visible(identity: Identity, slug: str) -> bool:
    return Room.objects.visible_to(identity.user_id).filter(slug=slug).exists()
