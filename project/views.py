"""What the site answers when a request cannot be trusted, and what every page may link to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject

from pki import addresses


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """400 and not Django's 403, which makes Safari show its certificate picker."""
    return render(request, "csrf.html", status=400)


def links(_: HttpRequest) -> dict[str, object]:
    """Context processor: where help with certificates is, looked up if a page says it."""
    return {"enrol_url": SimpleLazyObject(lambda: addresses.url("enrol"))}
