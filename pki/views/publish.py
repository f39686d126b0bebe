"""The public endpoint: CA certificates and CRLs (RFC 5280, RFC 9111). OCSP is next door."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from django.views.decorators.http import require_safe

from pki import addresses, crl
from pki.models import CertificateAuthority, RevocationList
from pki.requests import open_to_all

CA_MAX_AGE = dt.timedelta(hours=1)
CRL_MAX_AGE = dt.timedelta(minutes=1)
PARTITION = re.compile(r"[1-9][0-9]{0,2}\Z")


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
def revocation_list(request: HttpRequest, name: str) -> HttpResponse:
    """The newest CRL of a CA: `name` is its slug, with "-delta" or the number of a partition."""
    authority, scope = _named(name)
    newest = crl.latest(authority, scope)
    if newest is None:
        return HttpResponseNotFound("This authority has published no such CRL yet.\n")
    unchanged = get_conditional_response(request, **_validators(newest))
    if unchanged is not None:
        return _fresh(unchanged, newest)
    # Once more, with its DER: by now it may have been replaced, and the DER of old ones is dropped.
    newest = crl.latest(authority, scope, with_der=True) or newest
    response = HttpResponse(bytes(newest.der), content_type="application/pkix-crl")
    return _fresh(response, newest)


@open_to_all
def to_main(request: HttpRequest) -> HttpResponse:
    return redirect(addresses.url("main", request.get_full_path()))


def _cached(response: HttpResponse, *, max_age: dt.timedelta) -> HttpResponse:
    response["Cache-Control"] = f"public, max-age={int(max_age.total_seconds())}"
    return response


def _named(name: str) -> tuple[CertificateAuthority, crl.Scope]:
    """A CA's own slug goes first: one may be called "issuing-2"."""
    authorities = CertificateAuthority.objects.all()
    authority = authorities.filter(slug=name).first()
    if authority is not None:
        return authority, crl.EVERYTHING
    slug, _, last = name.rpartition("-")
    if last == "delta":
        return get_object_or_404(authorities, slug=slug), crl.CHANGES
    if not PARTITION.match(last):
        raise Http404
    return get_object_or_404(authorities, slug=slug), crl.Scope(partition=int(last))


def _validators(newest: RevocationList) -> dict[str, Any]:
    name = crl.file_name(newest.authority, crl.Scope(newest.kind, newest.partition))
    return {
        "etag": f'"{name.removesuffix(".crl")}-{newest.number}"',
        "last_modified": int(newest.this_update.timestamp()),
    }


def _fresh(response: HttpResponse, newest: RevocationList) -> HttpResponse:
    """May be kept for a minute, but not beyond the moment its successor was promised for."""
    validators = _validators(newest)
    response["ETag"] = validators["etag"]
    response["Last-Modified"] = http_date(validators["last_modified"])
    left = max(newest.next_update - timezone.now(), dt.timedelta(0))
    return _cached(response, max_age=min(CRL_MAX_AGE, left))
