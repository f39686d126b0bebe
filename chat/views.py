"""The page around the chat: a person's rooms and the frame of one, which the chat client takes over."""

from __future__ import annotations

from csp.decorators import csp_update
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.models import Room
from chat.protocol import person
from chat.shell import kind_words, sections, shell
from pki.identity import Identity

SOCKET = "/ws/chat/"
PAPER, VERDIGRIS = "#f3f1eb", "#0b6557"


@csp_update({"img-src": ["blob:"]})  # type: ignore[untyped-decorator]  # of files to be uploaded
@never_cache
@require_safe
def chat(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    identity: Identity = request.identity  # type: ignore[attr-defined]
    if slug is not None and not _is_visible(identity, slug):
        raise Http404("There is no such room.")
    user = person(identity.user_id, identity.username, identity.name)
    page = {"socket": SOCKET, "user": user, "room": slug}
    known = shell(actor=identity, room=slug)
    opened = next((room for room in known["rooms"] if room["room"] == slug), None)
    context = {
        "page": page,
        "shell": known,
        "sections": sections(known["rooms"]),
        "opened": opened,
        "opened_words": kind_words(opened) if opened else "",
    }
    return render(request, "chat/chat.html", context)


def _is_visible(identity: Identity, slug: str) -> bool:
    return Room.objects.visible_to(identity.user_id).filter(slug=slug).exists()


@require_safe
def manifest(request: HttpRequest) -> JsonResponse:
    """What a browser needs to install the chat as an application. Its browsers come with a certificate."""
    icons = [
        {"src": static(f"site/icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png"}
        for size in (192, 512)
    ]
    maskable = {**icons[-1], "src": static("site/icon-maskable-512.png"), "purpose": "maskable"}
    drawn = {"src": static("site/signet.svg"), "sizes": "any", "type": "image/svg+xml"}
    about = {
        "id": "/",
        "name": "Signet",
        "short_name": "Signet",
        "description": "The chat of your organisation, for people with a certificate.",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": PAPER,
        "theme_color": VERDIGRIS,
        "icons": [*icons, maskable, drawn],
    }
    return JsonResponse(about, content_type="application/manifest+json")
