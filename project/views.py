"""What the site answers when a request cannot be trusted, what every page may link to, and what
monitoring reads."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from prometheus_client import CONTENT_TYPE_LATEST

from pki import addresses
from pki.console import may_enter
from pki.requests import open_to_all
from project.live import metrics as live_metrics


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """400 and not Django's 403, which makes Safari show its certificate picker."""
    return render(request, "csrf.html", status=400)


def links(_: HttpRequest) -> dict[str, object]:
    """Context processor: where help with certificates is, looked up if a page says it."""
    return {"enrol_url": SimpleLazyObject(lambda: addresses.url("enrol"))}


@open_to_all
def metrics(request: HttpRequest) -> HttpResponse:
    """For people of the console, and for the networks of SIGNET_METRICS_FROM; for everybody else
    there is no such page."""
    if not (may_enter(request) or _is_monitoring(request)):
        raise Http404
    response = HttpResponse(live_metrics.text(at=timezone.now()), content_type=CONTENT_TYPE_LATEST)
    response["Cache-Control"] = "no-store"
    return response


def _is_monitoring(request: HttpRequest) -> bool:
    try:
        peer = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in network for network in settings.SIGNET_METRICS_FROM)
