"""The console's page of an endpoint, with the one button that needs a client: to try it out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from pki.admin.base import actor, button, column, person, posted, refusals_of, without
from pki.admin.columns import badge
from pki.admin.endpoints import EndpointAdmin
from pki.models import AuditEntry, Endpoint
from pki.permissions import may_issue
from project.endpoint_test import NobodyThereError, test_endpoint
from project.live import processes
from project.tls import context

STARTING = dt.timedelta(seconds=8)  # processes say every few seconds where they listen
NOT_HAD = "is not served by every process; its port or its key cannot be had, see the log"

admin.site.unregister(Endpoint)


@admin.register(Endpoint)
class ServedEndpointAdmin(EndpointAdmin):
    actions_detail = (*EndpointAdmin.actions_detail, "try_out")
    change_form_outer_after_template = "project/_policies.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        """With the answers to whether a serving process does not listen there, and whether that
        may be because the row has only just been changed."""
        served = processes.served_by_all()
        is_served = Q(name__in=served) if served else Q(pk__isnull=served is not None)
        just_changed = AuditEntry.objects.filter(
            action__in=["endpoint.created", "endpoint.changed"],
            target=OuterRef("name"),
            at__gt=timezone.now() - STARTING,
        )
        rows: QuerySet[Endpoint] = super().get_queryset(request)
        return rows.annotate(
            is_starting=~is_served & Exists(just_changed),
            is_missed=~is_served & ~Exists(just_changed),
        )

    @column("State", ordering="enabled")
    def state(self, obj: Endpoint) -> SafeString:
        if obj.enabled and getattr(obj, "is_starting", False):
            return badge("starting", "warn")
        return super().state(obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        policies = [(policy, context.admitted(policy.value)) for policy in Endpoint.Policy]
        extra = {"policies": policies, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, extra)

    def troubles_of(self, obj: Endpoint) -> dict[str, str]:
        """Besides: nobody listens, because a port could not be had or a key not be opened."""
        missed = {"not served": NOT_HAD} if getattr(obj, "is_missed", False) else {}
        return missed | super().troubles_of(obj)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        return without(actions, *([] if self.may_try_out(request) else ["try_out"]))

    def may_try_out(self, request: HttpRequest) -> bool:
        """Certificates are issued and revoked for it."""
        user = person(request)
        return may_issue(user) and user.has_perm("pki.revoke_certificate")

    @button("Test this endpoint", icon="network_check", url_path="test")
    def try_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Endpoint = self.found(request, object_id)
        if not self.may_try_out(request):
            raise PermissionDenied
        form, results = forms.Form(posted(request)), []
        if form.is_valid():
            with refusals_of(form):
                try:
                    results = list(test_endpoint(actor=actor(request), endpoint=row))
                except NobodyThereError as error:
                    form.add_error(None, str(error))
        return self.page(
            request,
            "project/endpoint_test.html",
            title=f"Test of {row.name}",
            obj=row,
            form=form,
            results=results,
            wrong=sum(not result.is_right for result in results),
            button_text="Test again" if results else "Test",
            back_text="Back",
            intro="The server connects to this endpoint as everybody who might: without a "
            "certificate, with a good, an expired, a revoked, a foreign and a server's one. The "
            "certificates for it last minutes, are nobody's and are revoked at the end. It takes "
            "about five seconds, and its failures stand under Handshakes, marked as such.",
        )
