"""OCSP over HTTP (RFC 6960, appendix A.1; caching as RFC 9919, 7)."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import logging
from urllib.parse import unquote

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from pki import ocsp
from pki.answers import Answer
from pki.errors import PKIError
from pki.models import CertificateAuthority
from pki.requests import open_to_all

MEDIA_TYPE = "application/ocsp-response"
# An answer is valid for an hour, but a cache between us and the reader asks again after a minute,
# or a revocation would reach its readers late.
MAX_AGE = 60
LONGEST_ENCODED = 4 * ((ocsp.LONGEST_REQUEST + 2) // 3)

logger = logging.getLogger("pki")


@open_to_all
@csrf_exempt
@require_http_methods(["GET", "POST"])
def ocsp_responder(request: HttpRequest, slug: str, encoded: str = "") -> HttpResponse:
    """POST carries DER, GET carries base64 in the path."""
    at = timezone.now()
    answer = _answer(request, slug, encoded, at)
    headers = http_headers(answer, at=at, is_get=request.method == "GET")
    response = HttpResponse(answer.der, headers=headers)
    if "ETag" not in headers:
        return response
    conditional = get_conditional_response(request, etag=headers["ETag"], response=response)
    return conditional or response


def decoded(encoded: str) -> bytes:
    """The DER in the path of a GET; what cannot be decoded is empty, and so malformed.

    Slashes in front are those of readers who add one to an address that ends in one. A proxy may
    have escaped what was escaped already.
    """
    text = unquote(encoded).lstrip("/")
    if len(text) > LONGEST_ENCODED:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def http_headers(answer: Answer, *, at: dt.datetime, is_get: bool) -> dict[str, str]:
    """An answer to a POST, one with a nonce, about an unknown serial, or an error, is kept by
    nobody. Any other is kept for a minute, and never beyond its own end."""
    headers = {"Content-Type": MEDIA_TYPE, "Date": http_date(at.timestamp())}
    if not is_get or answer.this_update is None or answer.next_update is None:
        return {**headers, "Cache-Control": "no-store"}
    age = min(MAX_AGE, int((answer.next_update - at).total_seconds()) - 1)
    if age <= 0:
        return {**headers, "Cache-Control": "no-store"}
    return {
        **headers,
        "Cache-Control": f"max-age={age}, public, no-transform, must-revalidate",
        "Expires": http_date(at.timestamp() + age),
        "Last-Modified": http_date(answer.this_update.timestamp()),
        "ETag": answer.entity_tag,
    }


def _answer(request: HttpRequest, slug: str, encoded: str, at: dt.datetime) -> Answer:
    """Nobody is told why a signature cannot be had; the log says it."""
    body = request.read(ocsp.LONGEST_REQUEST + 1) if request.method == "POST" else decoded(encoded)
    try:
        authority = get_object_or_404(
            CertificateAuthority.objects.select_related("certificate"), slug=slug
        )
        return ocsp.answer(body, authority=authority, at=at)
    except (PKIError, DatabaseError) as error:
        logger.error("OCSP of %s: %s", slug, error)
        return ocsp.try_later()
