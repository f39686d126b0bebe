"""The public endpoint: CA certificates, CRLs and OCSP (RFC 5280, RFC 6960, RFC 9111)."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import logging
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from pki import addresses, ocsp
from pki.errors import PKIError
from pki.models import CertificateAuthority
from pki.requests import open_to_all

CA_MAX_AGE = dt.timedelta(hours=1)
CRL_MAX_AGE = dt.timedelta(minutes=1)

logger = logging.getLogger("pki")


@open_to_all
@require_safe
def ca_certificate(request: HttpRequest, slug: str) -> HttpResponse:
    authority = get_object_or_404(
        CertificateAuthority.objects.select_related("certificate"), slug=slug
    )
    response = HttpResponse(bytes(authority.certificate.der), content_type="application/pkix-cert")
    response["Content-Disposition"] = f'attachment; filename="{slug}.cer"'
    return _cached(response, max_age=CA_MAX_AGE)


@open_to_all
@require_safe
def revocation_list(request: HttpRequest, slug: str) -> HttpResponse:
    authority = get_object_or_404(CertificateAuthority, slug=slug)
    newest = authority.crls.first()
    if newest is None:
        return HttpResponseNotFound("This authority has published no CRL yet.\n")
    response = HttpResponse(bytes(newest.der), content_type="application/pkix-crl")
    response["Last-Modified"] = http_date(newest.this_update.timestamp())
    response["ETag"] = f'"{authority.slug}-{newest.number}"'
    return _cached(response, max_age=CRL_MAX_AGE)


@open_to_all
@csrf_exempt
@require_http_methods(["GET", "POST"])
def ocsp_responder(request: HttpRequest, slug: str, encoded: str = "") -> HttpResponse:
    """RFC 6960, appendix A.1: POST carries DER, GET carries base64 in the path."""
    authority = get_object_or_404(
        CertificateAuthority.objects.select_related("certificate__key"), slug=slug
    )
    try:
        answer = ocsp.respond(
            _ocsp_request(request, encoded), authority=authority, at=timezone.now()
        )
    except PKIError as error:
        logger.error("OCSP of %s: %s", slug, error)
        answer = ocsp.try_later()
    response = HttpResponse(answer, content_type="application/ocsp-response")
    response["Cache-Control"] = "no-cache"
    return response


@open_to_all
def to_main(request: HttpRequest) -> HttpResponse:
    return redirect(addresses.url("main", request.get_full_path()))


def _ocsp_request(request: HttpRequest, encoded: str) -> bytes:
    """The DER of the request; what cannot be decoded is empty, and so malformed."""
    if request.method == "POST":
        return request.read(ocsp.LONGEST_REQUEST + 1)
    try:
        return base64.b64decode(unquote(encoded)[: ocsp.LONGEST_REQUEST * 2], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _cached(response: HttpResponse, *, max_age: dt.timedelta) -> HttpResponse:
    response["Cache-Control"] = f"public, max-age={int(max_age.total_seconds())}"
    return response
