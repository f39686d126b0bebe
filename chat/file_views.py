"""Files of the chat over HTTP: uploads in pieces, downloads, thumbnails."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson
from channels.db import database_sync_to_async
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from chat import attachments, fields, files
from chat.errors import BadRequestError, ChatError, NotFoundError, OffsetError, StorageFullError
from chat.models import Attachment
from chat.pictures import FORMATS
from chat.protocol import LARGEST, Limits, Wire
from pki.identity import Identity, IdentityError, recheck

View = Callable[..., HttpResponseBase]
# Not 403 for what is not allowed: Safari would show its certificate picker.
STATUSES = {
    "bad_request": 400,
    "not_allowed": 400,
    "not_found": 404,
    "offset": 409,
    "too_large": 413,
    "unavailable": 503,
}
STORAGE_FULL = 507
FIELDS = {
    "name": lambda value, _limits: isinstance(value, str) or _no_text(),
    "size": fields.number(least=0),
    "type": fields.maybe_text(most=200),
}
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
BLOCK = 64 * 1024
ASKED_AFTER = 1024 * 1024  # bytes of a download that may pass until it is asked again whose it is
HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def in_json(view: View) -> View:
    """Errors of the chat become their JSON, as on the socket."""

    @wraps(view)
    def answer(request: HttpRequest, *arguments: Any, **fields: Any) -> HttpResponseBase:
        try:
            return view(request, *arguments, **fields)
        except ChatError as error:
            return _refusal(error)

    return answer


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@in_json
def uploads(request: HttpRequest, slug: str) -> HttpResponseBase:
    if request.method != "POST":
        allowance = attachments.allowance(actor=_actor(request), room=slug)
        return JsonResponse({**allowance, "csrf": get_token(request)})
    wish = _wish(request)
    attachment = attachments.begin(
        actor=_actor(request),
        room=slug,
        name=wish["name"],
        size=wish["size"],
        media_type=wish["type"],
        at=timezone.now(),
    )
    begun = {"id": str(attachment.pk), "received": 0, "chunk_bytes": attachments.chunk_bytes()}
    return JsonResponse(begun, status=201)


@never_cache
@require_http_methods(["PUT", "DELETE"])
@in_json
def upload(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponseBase:
    if request.method == "DELETE":
        attachments.cancel(actor=_actor(request), room=slug, upload=key)
        return HttpResponse(status=204)
    attachment = attachments.receive(
        actor=_actor(request), room=slug, upload=key, offset=_offset(request), data=_piece(request)
    )
    state: Wire = {"received": attachment.received}
    if attachment.complete:
        state["attachment"] = attachments.wire(attachment)
    return JsonResponse(state)


@require_safe
def download(request: HttpRequest, slug: str, key: uuid.UUID, name: str) -> HttpResponseBase:
    """Under its own name, whatever the address says; a picture as what it was recognised as."""
    attachment = _found(request, slug, key)
    is_picture = attachment.has_thumbnail and attachment.media_type in FORMATS.values()
    media_type = attachment.media_type if is_picture else "application/octet-stream"
    may_see = partial(_may_see, request, slug, key)
    response = streamed(request, _opened(files.path(key)), media_type, may_go_on=may_see)
    named = content_disposition_header(as_attachment=True, filename=attachment.name)
    response["Content-Disposition"] = named or "attachment"
    return response


@require_safe
def thumbnail(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponseBase:
    attachment = _found(request, slug, key)
    if not attachment.has_thumbnail:
        raise Http404
    return streamed(request, _opened(files.path(key, files.THUMBNAIL)), "image/webp")


# --- Requests -------------------------------------------------------------------------------


def _actor(request: HttpRequest) -> Identity:
    actor: Identity = request.identity  # type: ignore[attr-defined]
    return actor


def _wish(request: HttpRequest) -> Wire:
    wish: Any = None
    with suppress(orjson.JSONDecodeError):
        wish = orjson.loads(request.body)
    if not isinstance(wish, dict) or set(wish) != set(FIELDS):
        raise BadRequestError("Send a JSON object with name, size and type.")
    for field, check in FIELDS.items():
        try:
            check(wish[field], Limits())
        except BadRequestError as error:
            raise BadRequestError(f"{field} {error}.") from None
    return wish


def _no_text() -> NoReturn:
    raise BadRequestError("must be a text")


def _offset(request: HttpRequest) -> int:
    said = request.GET.get("offset", "")
    if not (said.isascii() and said.isdigit() and len(said) < 17 and int(said) <= LARGEST):
        raise BadRequestError("offset must say where this piece begins.")
    return int(said)


def _piece(request: HttpRequest) -> bytes:
    data = request.body
    if request.META.get("CONTENT_LENGTH", str(len(data))) != str(len(data)):
        raise BadRequestError("The piece is not as long as its Content-Length.")
    if len(data) > attachments.chunk_bytes():
        raise BadRequestError(f"A piece may have at most {attachments.chunk_bytes()} bytes.")
    return data


def _may_see(request: HttpRequest, slug: str, key: uuid.UUID) -> bool:
    try:
        actor = recheck(_actor(request), at=timezone.now())
        attachments.find(actor=actor, room=slug, file=key)
    except (IdentityError, NotFoundError):
        return False
    return True


def _found(request: HttpRequest, slug: str, key: uuid.UUID) -> Attachment:
    try:
        return attachments.find(actor=_actor(request), room=slug, file=key)
    except NotFoundError as error:
        raise Http404(str(error)) from None


# --- Answers --------------------------------------------------------------------------------


def _refusal(error: ChatError) -> HttpResponse:
    told: Wire = {"error": {"code": error.code, "detail": str(error)}}
    if isinstance(error, OffsetError):
        told["received"] = error.received
    status = STORAGE_FULL if isinstance(error, StorageFullError) else STATUSES[error.code]
    return JsonResponse(told, status=status)


def _opened(place: Path) -> IO[bytes]:
    try:
        return place.open("rb")
    except FileNotFoundError:  # it has just been deleted
        raise Http404 from None


def streamed(
    request: HttpRequest,
    file: IO[bytes],
    media_type: str,
    *,
    may_go_on: Callable[[], bool] = lambda: True,
) -> HttpResponseBase:
    """The file, or the one range of it that is asked for (RFC 9110, 14.2). `may_go_on` is asked after
    each ASKED_AFTER bytes; where it says no, the answer is cut off."""
    size = file.seek(0, 2)
    part = _range(request, size)
    response: HttpResponseBase
    if part is not None and not part:
        file.close()
        response = HttpResponse(status=416, headers=HEADERS)
        response["Content-Range"] = f"bytes */{size}"
        return response
    span = part or range(size)
    if request.method == "HEAD":
        file.close()
        response = HttpResponse(headers=HEADERS)
    else:
        response = StreamingHttpResponse(_blocks(file, span, may_go_on), headers=HEADERS)
        response._resource_closers.append(file.close)  # type: ignore[attr-defined]
    if part:
        response.status_code = 206
        response["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{size}"
    response["Content-Type"] = media_type
    response["Content-Length"] = str(len(span))
    response["Accept-Ranges"] = "bytes"
    return response


def _range(request: HttpRequest, size: int) -> range | None:
    """What is asked for: None for all of it, an empty range for what cannot be had."""
    asked = RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None or "If-Range" in request.headers or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(size)[int(first) : int(last) + 1 if last else size]


async def _blocks(
    file: IO[bytes], span: range, may_go_on: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Read in threads, so that a slow disk holds nobody else up."""
    await asyncio.to_thread(file.seek, span.start)
    left, unasked = len(span), 0
    while left > 0 and (block := await asyncio.to_thread(file.read, min(BLOCK, left))):
        if unasked >= ASKED_AFTER:
            unasked = 0
            if not await database_sync_to_async(may_go_on)():
                return
        left -= len(block)
        unasked += len(block)
        yield block
