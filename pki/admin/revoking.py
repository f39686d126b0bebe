"""Revoking from the console: one or many, on hold and back, now or later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from pki import audit, enrolment, operations, revocation
from pki.admin.base import DANGER, actor, button, person, posted, refusals_of, without
from pki.admin.columns import admin_url, minute
from pki.admin.forms import RevocationForm
from pki.admin.issuing import IssuingAdmin
from pki.errors import PKIError, StateError
from pki.models import (
    Certificate,
    CertificateAuthority,
    Endpoint,
    Invitation,
    PlannedRevocation,
    RevocationReason,
    User,
)
from pki.permissions import may_issue, may_manage
from pki.progress import Progress
from pki.querysets import CertificateQuerySet

DIRECTLY = 200  # certificates that are revoked while the admin waits, and that a page lists
CHUNK = 500
NOT_FINAL = Q(revoked_at__isnull=True) | Q(revocation_reason=RevocationReason.HOLD)
REVOCABLE = NOT_FINAL & (Q(authority__isnull=False) | Q(is_outside=True))
BUTTONS = ("hold", "release", "plan_revocation", "cancel_plan", "revoke")


class PlanForm(forms.Form):
    """When a certificate is to be revoked, and why."""

    at_time = forms.DateTimeField(
        label="Revoke at",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text="UTC. Before the certificate expires.",
    )
    reason = forms.ChoiceField(
        label="Reason",
        choices=RevocationReason.choices,
        initial=RevocationReason.CESSATION.value,
        widget=UnfoldAdminRadioSelectWidget(),
    )


class WhyForm(RevocationForm):
    """Why certificates are revoked, and whether whoever holds them may still enrol by a link."""

    end_links = forms.BooleanField(required=False, initial=True, widget=UnfoldBooleanSwitchWidget())


class RevokingAdmin(IssuingAdmin):
    """The buttons of a certificate's page, and the action of the list."""

    def get_urls(self) -> list[URLPattern]:
        confirm = self.admin_site.admin_view(self.revoke_confirmed)
        own = path("revoke/", confirm, name="pki_certificate_revoke_confirmed")
        return [own, *super().get_urls()]

    # --- Who may do what ---

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.revoke_certificate")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        found = self.get_object(request, str(object_id))
        offered = self._offered(found) if found and self.has_revoke_permission(request) else set()
        return without(actions, *(set(BUTTONS) - offered))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if not self.has_revoke_permission(request):
            actions.pop("revoke_selected", None)
        return actions

    def _offered(self, found: Certificate) -> set[str]:
        is_held = found.revocation_reason == RevocationReason.HOLD
        is_final = found.revoked_at is not None and not is_held
        if is_final or not (found.authority_id or found.is_outside):
            return set()
        is_planned = PlannedRevocation.objects.filter(certificate=found).exists()
        return {
            "revoke",
            "release" if is_held else "hold",
            "cancel_plan" if is_planned else "plan_revocation",
        }

    # --- Revoke, one or many ---

    @admin.action(description="Revoke …")
    def revoke_selected(
        self, request: HttpRequest, queryset: CertificateQuerySet
    ) -> HttpResponse | None:
        return self._ask_for_reason(request, list(queryset.values_list("pk", flat=True)))

    @button("Revoke", icon="block", variant=DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask_for_reason(request, [self.found(request, object_id).pk])

    @button("Put on hold", icon="pause")
    def hold(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self.found(request, object_id)
        return self._ask_for_reason(request, [found.pk], reason=RevocationReason.HOLD)

    def _ask_for_reason(
        self,
        request: HttpRequest,
        keys: list[int],
        form: WhyForm | None = None,
        reason: RevocationReason = RevocationReason.UNSPECIFIED,
    ) -> HttpResponse:
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        owners = dict(self._chosen(request, keys, REVOCABLE))
        form = form or _reason_form(owners, reason)
        ending, staying = _open_links(person(request), owners)
        form.fields["end_links"].label = "End it too" if len(ending) == 1 else "End them too"
        shown = self.get_queryset(request).defer("der").filter(pk__in=list(owners)[:DIRECTLY])
        return self.page(
            request,
            "pki/console_revoke.html",
            title="Put on hold" if reason is RevocationReason.HOLD else "Revoke",
            obj=self.get_queryset(request).get(pk=keys[0]) if len(keys) == 1 else None,
            form=form,
            ending=_said_of(ending),
            staying=_said_of(staying),
            number=len(owners),
            certificates=list(shown),
            is_hold=reason is RevocationReason.HOLD,
            left_out=len(keys) - len(owners),
            not_shown=max(0, len(owners) - DIRECTLY),
            has_own=request.identity.certificate_id in owners,  # type: ignore[attr-defined]
            endpoints=[e for e in Endpoint.objects.all() if e.certificate_id in owners],
            authorities=[
                ca for ca in CertificateAuthority.objects.all() if ca.certificate_id in owners
            ],
            now=timezone.now(),
        )

    def revoke_confirmed(self, request: HttpRequest) -> HttpResponse:
        """Revoke exactly what the page before had chosen; many of them beside the console."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        form = WhyForm(request.POST)
        form.is_valid()
        keys = list(dict.fromkeys(form.cleaned_data.get("certificates", [])))
        if not keys or len(list(self._chosen(request, keys))) < len(keys):
            messages.error(request, "There is no such certificate. Select the certificates again.")
            return redirect(self.url_of())
        if form.errors:
            return self._ask_for_reason(request, keys, form)
        reason, ending = RevocationReason(form.cleaned_data["reason"]), list[Invitation]()
        if form.cleaned_data["end_links"]:
            ending, _ = _open_links(person(request), dict(self._chosen(request, keys)))
        if len(keys) > DIRECTLY:
            return redirect(admin_url(_revoke_beside(actor(request), keys, reason, ending)))
        revoke = self._revoke_one if len(keys) == 1 else self._revoke_few
        done = revoke(request, keys, reason)
        if sentence := _end_links(actor(request), ending):
            messages.success(request, sentence)
        return done

    def _chosen(
        self, request: HttpRequest, keys: list[int], condition: Q | None = None
    ) -> Iterator[tuple[int, int | None]]:
        """Keys of certificates that this person may see, and of their owners."""
        rows = self.get_queryset(request).filter(condition or Q()).order_by("pk")
        for start in range(0, len(keys), CHUNK):
            yield from rows.filter(pk__in=keys[start : start + CHUNK]).values_list("pk", "owner")

    def _revoke_one(
        self, request: HttpRequest, keys: list[int], reason: RevocationReason
    ) -> HttpResponse:
        chosen = self.get_queryset(request).get(pk=keys[0])
        try:
            revocation.revoke(
                actor=actor(request), certificate=chosen, reason=reason, at=timezone.now()
            )
            messages.success(request, _sentence(1, reason))
        except PKIError as error:
            messages.error(request, str(error))
        return redirect(self.url_of(chosen))

    def _revoke_few(
        self, request: HttpRequest, keys: list[int], reason: RevocationReason
    ) -> HttpResponse:
        try:
            done = revocation.revoke_many(
                actor=actor(request), certificates=keys, reason=reason, at=timezone.now()
            )
            messages.success(request, _sentence(done.revoked, reason))
            if done.left:
                messages.warning(request, _left(done.left))
        except PKIError as error:
            messages.error(request, str(error))
        return redirect(self.url_of())

    # --- One, step by step ---

    @button("Release", icon="play_arrow")
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._confirm(
            request,
            object_id,
            title="Release from hold",
            intro="The certificate is valid again: it leaves the CRL, and its holder signs in with it.",
            button_text="Release",
            verb=lambda found, _: revocation.release(
                actor=actor(request), certificate=found, at=timezone.now()
            ),
            done="The certificate is released, and the CRL is published.",
        )

    @button("Plan revocation", icon="event", url_path="plan-revocation")
    def plan_revocation(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._confirm(
            request,
            object_id,
            form=PlanForm(posted(request)),
            title="Plan the revocation",
            intro="It is carried out by itself when its time comes, and can be cancelled until then.",
            button_text="Plan the revocation",
            verb=lambda found, form: revocation.plan(
                actor=actor(request),
                certificate=found,
                reason=form.cleaned_data["reason"],
                at_time=form.cleaned_data["at_time"],
                at=timezone.now(),
            ),
            done="The revocation is planned.",
        )

    @button("Cancel plan", icon="event_busy", url_path="cancel-plan")
    def cancel_plan(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._confirm(
            request,
            object_id,
            title="Cancel the planned revocation",
            intro="The certificate stays valid until it expires.",
            button_text="Cancel the plan",
            back_text="Keep the plan",
            verb=lambda found, _: revocation.cancel_plan(
                actor=actor(request), certificate=found, at=timezone.now()
            ),
            done="The plan is cancelled.",
        )

    def _confirm(
        self,
        request: HttpRequest,
        object_id: str,
        *,
        verb: Callable[[Certificate, Any], object],
        done: str,
        form: forms.Form | None = None,
        **texts: Any,
    ) -> HttpResponse:
        found = self.found(request, object_id)
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        form = form or forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                verb(found, form)
                messages.success(request, done)
                return redirect(self.url_of(found))
        return self.page(request, "pki/console_form.html", obj=found, form=form, **texts)


def planned_text(found: Certificate) -> str:
    planned = PlannedRevocation.objects.filter(certificate=found).first()
    if planned is None:
        return "–"
    return f"{minute(planned.at)}, by {planned.planned_by}: {planned.get_reason_display()}"


def _open_links(
    user: User, owners: dict[int, int | None]
) -> tuple[list[Invitation], list[Invitation]]:
    """Links that outlive these certificates, for the same people: those that `user` may end, and the
    others. What was asked for with one of these certificates ends by itself."""
    people, found = sorted({owner for owner in owners.values() if owner}), list[Invitation]()
    for start in range(0, len(people), CHUNK):
        rows = Invitation.objects.open(timezone.now()).filter(
            user__in=people[start : start + CHUNK]
        )
        found += rows.select_related("user").order_by("user__username", "device")
    ending, staying = list[Invitation](), list[Invitation]()
    for link in found:
        if link.asked_with_id not in owners:
            may_end = may_issue(user) and may_manage(user, link.user)
            (ending if may_end else staying).append(link)
    return ending, staying


def _said_of(links: list[Invitation]) -> str:
    """Whose they are and how many, as the beginning of a sentence."""
    people = {link.user_id: link.user for link in links}
    if len(people) > 1:
        return f"{len(people)} of these people have {len(links)} open enrolment links"
    devices = ", ".join(link.device for link in links)
    noun = "link" if len(links) == 1 else "links"
    return "".join(
        f"{user} has {len(links)} open enrolment {noun} ({devices})" for user in people.values()
    )


def _end_links(actor: str, links: Iterable[Invitation]) -> str:
    """Each in a transaction of its own, not the revocation's: links are locked before the trail."""
    ended, used, said = 0, 0, []
    for link in links:
        try:
            enrolment.withdraw_link(actor=actor, invitation=link, at=timezone.now())
            ended += 1
        except StateError as error:
            audit.record_refusal(error)
            used += 1
    if ended:
        said.append(f"{ended} enrolment {'link has' if ended == 1 else 'links have'} ended.")
    if used:
        said.append(
            f"{used} had been used or had ended before: look at these people's certificates."
        )
    return " ".join(said)


def _revoke_beside(
    actor: str, keys: list[int], reason: RevocationReason, links: list[Invitation]
) -> Any:
    at = timezone.now()

    def work(progress: Progress) -> str:
        ended = _end_links(
            actor, links
        )  # first: whoever stops the rest is not asked about them again
        done = revocation.revoke_many(
            actor=actor, certificates=keys, reason=reason, at=at, progress=progress
        )
        left = _left(done.left) if done.left else ""
        return " ".join(filter(None, [_sentence(done.revoked, reason), left, ended]))

    return operations.start(actor=actor, title=f"Revoke {len(keys)} certificates", work=work, at=at)


def _sentence(number: int, reason: RevocationReason) -> str:
    state = "on hold" if reason is RevocationReason.HOLD else "revoked"
    noun = "certificate is" if number == 1 else "certificates are"
    return f"{number} {noun} {state}, and the CRL is published."


def _left(number: int) -> str:
    return f"Left as they are, because revoked already or self-signed: {number}."


def _reason_form(owners: dict[int, int | None], reason: RevocationReason) -> WhyForm:
    chosen = ",".join(str(key) for key in owners)
    form = WhyForm(initial={"certificates": chosen, "reason": reason.value})
    if reason is RevocationReason.HOLD:
        form.fields["reason"].widget = forms.HiddenInput()
    elif None not in owners.values():
        form.fields["reason"].choices = RevocationReason.for_leaves()  # type: ignore[attr-defined]
    return form
