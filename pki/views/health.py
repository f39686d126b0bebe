"""Is the process alive, and could it serve a person right now?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from pki import crl, keys
from pki.errors import AuthorityError
from pki.requests import open_to_all

ANSWER_SECONDS = 2

logger = logging.getLogger("pki")


@open_to_all
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@open_to_all
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every part answers, else 503; `parts` says `ok` or `failing` for each.

    Everybody may ask, so the reason goes to the log alone.
    """
    parts = {name: _tried(name, check) for name, check in PARTS.items()}
    ready = all(answer == "ok" for answer in parts.values())
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


def _tried(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:  # a channel layer fails in ways of its own
        logger.error("not ready: %s: %s", name, str(error) or type(error).__name__)
        return "failing"
    return "ok"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@async_to_sync
async def _channel_layer() -> None:
    """A message to ourselves and back."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    async with asyncio.timeout(ANSWER_SECONDS):
        await layer.send(channel, {"type": "ready"})
        await layer.receive(channel)


def _ca_key() -> None:
    keys.require_master_key()


def _crl() -> None:
    now = timezone.now()
    for authority in crl.publishing(now):
        newest = crl.latest(authority)
        if newest is None or newest.is_stale_at(now) or crl.is_of_the_future(newest, at=now):
            raise AuthorityError(f"The CRL of {authority} is not fresh. Run: manage.py publish_crl")


PARTS: dict[str, Callable[[], None]] = {
    "database": _database,
    "channel_layer": _channel_layer,
    "ca_key": _ca_key,
    "crl": _crl,
}
