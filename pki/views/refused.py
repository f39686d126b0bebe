"""The page that tells people why they are not signed in, and what to do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from pki import addresses
from pki.description import describe
from pki.models import Certificate, RevocationReason
from pki.requests import client_chain


def refused(request: HttpRequest) -> HttpResponse:
    """401 with the reason; JSON where the client asks for JSON.

    Not 403: Safari answers that with its certificate picker, again and again.
    """
    error = request.identity_error  # type: ignore[attr-defined]
    if request.accepts("application/json") and not request.accepts("text/html"):
        response: HttpResponse = JsonResponse(
            {"error": {"code": error.code, "detail": str(error)}}, status=401
        )
    else:
        response = render(request, "pki/refused.html", _context(request), status=401)
    response["WWW-Authenticate"] = 'ClientCertificate realm="Signet"'
    response["Cache-Control"] = "no-store"
    return response


def _context(request: HttpRequest) -> dict[str, object]:
    chain = client_chain(getattr(request, "scope", {}))
    certificate = describe(chain[0]) if chain else None
    row = Certificate.objects.filter(sha256=certificate["sha256"]).first() if certificate else None
    return {
        "error": request.identity_error,  # type: ignore[attr-defined]
        "certificate": certificate,
        "moment": row and (row.revoked_at or row.not_after),
        "reason": row.get_revocation_reason_display() if row and row.revoked_at else "",
        "is_on_hold": row is not None and row.revocation_reason == RevocationReason.HOLD,
        "enrol_url": addresses.url("enrol"),
        "main_url": addresses.url("main"),
    }
