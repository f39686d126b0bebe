"""The console's sidebar: which page stands in which group, and who sees it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

GROUPS: dict[str, list[tuple[str, str, str]]] = {
    "Certificates": [
        ("pki.Certificate", "Certificates", "badge"),
        ("pki.CertificationRequest", "Requests", "inbox"),
        ("pki.CertificateAuthority", "Authorities", "account_tree"),
        ("pki.AuthorityRequest", "Requested CAs", "outgoing_mail"),
        ("pki.RevocationList", "CRLs", "playlist_remove"),
        ("pki.CertificateProfile", "Profiles", "fact_check"),
    ],
    "People": [
        ("pki.User", "People", "group"),
        ("pki.Invitation", "Invitations", "mail"),
        ("auth.Group", "Groups", "assignment_ind"),
    ],
    "Trust": [("pki.TrustStore", "Trust stores", "verified_user")],
    "System": [
        ("pki.Endpoint", "Endpoints", "lan"),
        ("project.LiveConnection", "Connections", "cable"),
        ("project.HandshakeFailure", "Handshakes", "handshake"),
        ("pki.AuditEntry", "Audit trail", "history_edu"),
        ("pki.Operation", "Operations", "pending_actions"),
    ],
    "Chat": [
        ("chat.Room", "Rooms", "forum"),
        ("chat.Membership", "Members", "groups"),
        ("chat.Ban", "Bans", "block"),
        ("chat.Event", "Events", "chat"),
        ("chat.Report", "Reports", "flag"),
        ("project.Export", "Exports", "archive"),
    ],
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups of links for the theme; a page that is not registered or not allowed is left out."""
    overview = {"title": "Overview", "icon": "space_dashboard", "link": reverse("admin:index")}
    groups = [{"title": "", "items": [overview]}]
    for title, pages in GROUPS.items():
        items = [item for page in pages if (item := _item(request, *page))]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def _item(request: HttpRequest, label: str, title: str, icon: str) -> dict[str, Any] | None:
    model = apps.get_model(label)
    if not admin.site.is_registered(model):
        return None
    page = admin.site.get_model_admin(model)
    if not page.has_view_permission(request):
        return None
    name = label.lower().replace(".", "_")
    return {"title": title, "icon": icon, "link": reverse(f"admin:{name}_changelist")}
