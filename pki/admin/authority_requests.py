"""CAs to be: the CSR goes out, the certificate that another organisation signed comes in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from pki import outside
from pki.admin.authority_forms import CompleteForm
from pki.admin.base import (
    DANGER,
    PRIMARY,
    ReadOnlyAdmin,
    actor,
    button,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import admin_url, attachment, minute
from pki.admin.forms import kind_words
from pki.models import AuthorityRequest

NEXT = (
    "Download the CSR and have it signed by the other CA. Then choose “Complete” and hand in the "
    "certificate that came back."
)
NEW = "Removes the request and its key for good. A certificate signed for it is then of no use."
RENEWAL = "The CA stays as it is, with its key and the certificate it has."


@admin.register(AuthorityRequest)
class AuthorityRequestAdmin(ReadOnlyAdmin):
    begun_at = "“Request a CA”, on the page of authorities, makes one."  # said where there are none
    list_display = ("name", "kind", "made", "by")
    actions_detail = ("complete", "download_csr", "withdraw")
    fields = ("name", "kind", "made", "by")
    readonly_fields = ("kind", "made", "by")
    change_form_outer_before_template = "pki/_console_next.html"

    def audit_words(self, obj: AuthorityRequest) -> str:
        return obj.slug

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[object]:
        actions = list(super().get_actions_detail(request, object_id))
        return actions if _may(request) else without(actions, "complete", "withdraw")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        return super().changeform_view(
            request, object_id, form_url, {"next": NEXT, **(extra_context or {})}
        )

    @column("Key")
    def kind(self, obj: AuthorityRequest) -> str:
        return f"{kind_words(obj.key.algorithm)}, {obj.key.get_backend_display()}"

    @column("Made", ordering="created_at")
    def made(self, obj: AuthorityRequest) -> str:
        return minute(obj.created_at)

    @column("Made by", ordering="created_by")
    def by(self, obj: AuthorityRequest) -> str:
        return obj.created_by

    @button("CSR", icon="download", url_path="csr")
    def download_csr(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: AuthorityRequest = self.found(request, object_id)
        return attachment(
            outside.request_pem(found),
            filename=f"{found.slug}.csr",
            media_type="application/pkcs10",
        )

    @button("Complete", icon="task_alt", variant=PRIMARY)
    def complete(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: AuthorityRequest = self._decided(request, object_id)
        form = CompleteForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form):
                made = outside.complete_authority(
                    actor=actor(request),
                    request=found,
                    certificate=form.content("file"),
                    chain=form.content("chain"),
                    at=timezone.now(),
                )
                messages.success(request, f"{made} is in force, and its CRL is published.")
                return redirect(admin_url(made))
        return self.page(
            request,
            "pki/console_form.html",
            title="Complete the request",
            obj=found,
            form=form,
            multipart=True,
            button_text="Put in force",
            intro="Hand in the certificate that was signed for this CSR.",
        )

    @button("Withdraw", icon="delete", variant=DANGER)
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found: AuthorityRequest = self._decided(request, object_id)
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                outside.withdraw_request(actor=actor(request), request=found, at=timezone.now())
                messages.success(request, f"The request for {found} is withdrawn.")
                return redirect(self.url_of())
        return self.page(
            request,
            "pki/console_form.html",
            title="Withdraw the request",
            obj=found,
            form=form,
            danger=True,
            button_text="Withdraw",
            intro=RENEWAL if found.key.certificates.exists() else NEW,
        )

    def _decided(self, request: HttpRequest, object_id: str) -> AuthorityRequest:
        if not _may(request):
            raise PermissionDenied
        found: AuthorityRequest = self.found(request, object_id)
        return found


def _may(request: HttpRequest) -> bool:
    return person(request).has_perm("pki.add_certificateauthority")
