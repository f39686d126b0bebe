"""The console's page of a person, with the button that takes out what they did in the chat."""

from __future__ import annotations

from functools import partial

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from pki.admin.base import button
from pki.admin.people import PersonAdmin
from pki.models import User
from project import exports
from project.admin.exports import ExportButton, export_page

admin.site.unregister(User)


@admin.register(User)
class ExportedPersonAdmin(ExportButton, PersonAdmin):
    actions_detail = (*PersonAdmin.actions_detail, "export")

    @button("Export", icon="archive")
    def export(self, request: HttpRequest, object_id: str) -> HttpResponse:
        subject = self.managed(request, object_id)
        return export_page(
            self,
            request,
            subject,
            begin=partial(exports.begin_person, subject=subject),
            subject=subject.username,
            what="What this person wrote and did in the chat, and what was done to them, goes with "
            "their rooms, reports, certificates and files",
        )
