"""The console's first page: what the CA shows there, and how many reports wait for somebody."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chat.models import Report
from pki import dashboard
from pki.admin.columns import list_url
from pki.dashboard import Number


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what this person may see; called by the theme for the index page."""
    filled = dashboard.fill(request, context)
    if admin.site.get_model_admin(Report).has_view_permission(request):
        filled["numbers"] = [open_reports(), *filled["numbers"]]
    return filled


def open_reports() -> Number:
    count = Report.objects.filter(state=Report.State.OPEN).count()
    url = list_url(Report, state__exact=Report.State.OPEN.value)
    return Number("Open reports", count, url, "flag", "warn" if count else "")
