"""The queue of requests: who asks for what, and a yes or a no to it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from cryptography import x509
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pki import algorithms, certification, files, handout, permissions
from pki.admin import extensions
from pki.admin.base import (
    DANGER,
    PRIMARY,
    ReadOnlyAdmin,
    actor,
    button,
    certificate_id,
    column,
    person,
    posted,
    refusals_of,
    without,
)
from pki.admin.columns import attachment, badge, code, distance, link_to, minute
from pki.admin.forms import RejectionForm, ServerRequestForm
from pki.admin.issuing import told
from pki.errors import PKIError
from pki.models import CertificationRequest, User

State = CertificationRequest.State
TONES = {State.WAITING: "warn", State.ISSUED: "good", State.REJECTED: "bad", State.WITHDRAWN: ""}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label).capitalize()) for state in State]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(state=self.value()) if self.value() in State else queryset


@admin.register(CertificationRequest)
class RequestAdmin(ReadOnlyAdmin):
    rights = ("view", "decide")
    list_display = (
        "names",
        "state_now",
        "kind",
        "by",
        "waiting_since",
        "lint",
        "beyond",
    )
    list_display_links = ("names",)
    list_filter = (StateFilter, "profile")
    list_select_related = ("owner", "profile")
    search_fields = ("owner__username", "owner__name", "device", "requested_by", "spki_sha256")
    search_help_text = "Person, device, who asked, or key"
    ordering = (
        F("decided_at").desc(nulls_first=True),
        "requested_at",
        "pk",
    )  # waiting: oldest first
    actions_detail = ("approve", "reject", "download_chain", "download_csr")
    change_form_outer_before_template = "pki/_console_next.html"
    fieldsets = (
        (None, {"fields": (("state_now", "kind"), ("names", "device_name"), ("by", "asked"))}),
        (
            "Before it is issued",
            {"fields": ("lint_now", "will_be_signed", "differences_listed", "yes_so_far")},
        ),
        ("Decision", {"fields": (("decided", "why"), "certificate_link")}),
        ("Key", {"fields": (("key_kind", "key_sha256"),)}),
    )
    readonly_fields = (
        "state_now",
        "kind",
        "names",
        "device_name",
        "by",
        "asked",
        "lint_now",
        "will_be_signed",
        "differences_listed",
        "yes_so_far",
        "decided",
        "why",
        "certificate_link",
        "key_kind",
        "key_sha256",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CertificationRequest]:
        queryset: QuerySet[CertificationRequest] = super().get_queryset(request)
        return queryset.defer("owner__password")

    def audit_words(self, obj: CertificationRequest) -> str:
        return f"request {obj.pk}"

    # --- Who may do what ---

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The queue for those who decide; one's own request for whoever made it."""
        is_own = isinstance(obj, CertificationRequest) and obj.requester_id == person(request).pk
        return is_own or permissions.may_see_requests(person(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return permissions.may_see_requests(person(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.may_issue(person(request))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions = list(super().get_actions_detail(request, object_id))
        asked = self.get_object(request, str(object_id))
        if asked is None:
            return []
        hidden = [] if asked.certificate_id else ["download_chain"]
        if asked.state != State.WAITING or not permissions.may_decide(person(request), asked):
            hidden += ["approve", "reject"]
        return without(actions, *hidden)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        asked = self.get_object(request, object_id) if object_id else None
        context = {"next": _next(asked, person(request)) if asked else "", **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)

    # --- Columns ---

    @column("For")
    def names(self, obj: CertificationRequest) -> str:
        if obj.owner is None:
            return ", ".join(obj.hosts) or "this server"
        return f"{obj.owner} · {obj.device}"

    @column("State", ordering="state")
    def state_now(self, obj: CertificationRequest) -> SafeString:
        return badge(obj.get_state_display(), TONES[State(obj.state)])

    @column("Profile", ordering="profile")
    def kind(self, obj: CertificationRequest) -> str:
        return str(obj.profile)

    @column("Asked by", ordering="requested_by")
    def by(self, obj: CertificationRequest) -> str:
        return obj.requested_by

    @column("Asked on", ordering="requested_at")
    def asked(self, obj: CertificationRequest) -> str:
        return minute(obj.requested_at)

    @column("Waiting since", ordering="requested_at")
    def waiting_since(self, obj: CertificationRequest) -> str:
        if obj.state != State.WAITING:
            return "–"
        return distance(obj.requested_at, at=timezone.now())

    @column("Linter")
    def lint(self, obj: CertificationRequest) -> SafeString:
        """What it said when it was asked last: when this came in, or at the last try to issue."""
        found = len(obj.findings)
        return badge(f"{found} found", "bad") if found else badge("passed", "good")

    @column("Left out")
    def beyond(self, obj: CertificationRequest) -> SafeString | str:
        return badge(f"{len(obj.differences)} left out", "warn") if obj.differences else "nothing"

    @column("Device")
    def device_name(self, obj: CertificationRequest) -> str:
        return obj.device or "–"

    @column("Check")
    def lint_now(self, obj: CertificationRequest) -> SafeString | str:
        """What would be said if it were issued now."""
        if obj.state != State.WAITING:
            return "–"
        _, fault = _checked(obj, at=timezone.now())
        if fault is None:
            return format_html("{} It may be issued.", badge("passed", "good"))
        return format_html("{} {}", badge("refused", "bad"), fault)

    @column("What would be signed now")
    def will_be_signed(self, obj: CertificationRequest) -> SafeString | str:
        """The names come from our rows and the rest from the profile: the CSR gives its key."""
        facts, _ = _checked(obj, at=timezone.now()) if obj.state == State.WAITING else ([], "")
        fact = '<div class="sg-fact"><b>{}</b><span>{}</span></div>'
        return format_html_join("", fact, facts) or "–"

    @column("Left out of what it asks for")
    def differences_listed(self, obj: CertificationRequest) -> SafeString | str:
        return format_html_join("", "<p>{}</p>", ((s,) for s in obj.differences)) or "Nothing."

    @column("Approved by")
    def yes_so_far(self, obj: CertificationRequest) -> str:
        """Who said yes, and may still decide: the others count no more."""
        counted = certification.approvals_that_count(obj)
        given = [f"{yes.approver} ({minute(yes.at)})" for yes in counted]
        if obj.state != State.WAITING and not (given or obj.profile.approvals):
            return "nobody: its profile asks for no approval"
        needed = f"{len(given)} of {max(1, obj.profile.approvals)}"
        return f"{', '.join(given)} – {needed}" if given else f"nobody – {needed}"

    @column("Decided")
    def decided(self, obj: CertificationRequest) -> str:
        return minute(obj.decided_at)

    @column("Reason")
    def why(self, obj: CertificationRequest) -> str:
        return obj.reason or "–"

    @column("Certificate")
    def certificate_link(self, obj: CertificationRequest) -> SafeString | str:
        return link_to(obj.certificate)

    @column("Key")
    def key_kind(self, obj: CertificationRequest) -> str:
        return algorithms.describe(x509.load_der_x509_csr(bytes(obj.csr)).public_key())

    @column("SHA-256 of the key")
    def key_sha256(self, obj: CertificationRequest) -> SafeString:
        return code(obj.spki_sha256)

    # --- Pages ---

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A CSR made elsewhere, for a server or for a person."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ServerRequestForm(
            posted(request),
            request.FILES or None,
            people=permissions.people_to_issue_for(person(request)).defer("password"),
        )
        if form.is_valid():
            with refusals_of(form):
                asked = certification.submit(
                    actor=actor(request),
                    requester=person(request),
                    profile=form.cleaned_data["profile"].name,
                    csr=files.read_csr(form.content()),
                    owner=form.cleaned_data["owner"],
                    device=form.cleaned_data["device"],
                    hosts=form.cleaned_data["hosts"],
                    asked_with=certificate_id(request),
                    at=timezone.now(),
                )
                return told(request, asked)
        return self.page(
            request,
            "pki/console_form.html",
            title="New request",
            form=form,
            multipart=True,
            button_text="Submit",
            intro="Hand in a certificate request (CSR) that was made elsewhere. Only its key is "
            "used; names come from the fields below, or from the person.",
        )

    @button("Approve", icon="check", variant=PRIMARY)
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked = self._to_decide(request, object_id)
        form = RejectionForm(posted(request))
        del form.fields["reason"]
        if form.is_valid():
            with refusals_of(form):
                asked = certification.approve(
                    actor=actor(request),
                    approver=person(request),
                    request=asked,
                    at=timezone.now(),
                )
                return told(request, asked)
        return self._page(
            request,
            asked,
            form=form,
            title="Approve?",
            button_text="Approve",
            intro=_after_approval(asked),
        )

    @button("Reject", icon="close", variant=DANGER)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked = self._to_decide(request, object_id)
        form = RejectionForm(posted(request))
        if form.is_valid():
            with refusals_of(form):
                certification.reject(
                    actor=actor(request),
                    approver=person(request),
                    request=asked,
                    reason=form.cleaned_data["reason"],
                    at=timezone.now(),
                )
                messages.success(request, "Rejected. Whoever asked sees the reason.")
                return redirect(self.url_of(asked))
        return self._page(
            request,
            asked,
            form=form,
            title="Reject?",
            button_text="Reject",
            danger=True,
            intro="Nothing is issued. Whoever asked sees your reason, and may ask again.",
        )

    @button("PEM chain", icon="download", url_path="pem")
    def download_chain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        certificate = self.found(request, object_id).certificate
        if certificate is None:
            raise Http404
        return attachment(
            handout.pem_file(certificate).encode(),
            filename=f"{handout.file_stem(certificate)}.pem",
            media_type="application/x-pem-file",
        )

    @button("CSR", icon="download", url_path="csr")
    def download_csr(self, request: HttpRequest, object_id: str) -> HttpResponse:
        asked: CertificationRequest = self.found(request, object_id)
        return attachment(
            bytes(asked.csr), filename=f"request-{asked.pk}.csr", media_type="application/pkcs10"
        )

    def _to_decide(self, request: HttpRequest, object_id: str) -> CertificationRequest:
        asked: CertificationRequest = self.found(request, object_id)
        if not permissions.may_decide(person(request), asked):
            raise PermissionDenied
        return asked

    def _page(
        self, request: HttpRequest, asked: CertificationRequest, **context: Any
    ) -> HttpResponse:
        facts, fault = _checked(asked, at=timezone.now())
        return self.page(
            request,
            "pki/console_request.html",
            obj=asked,
            facts=facts,
            fault=fault,
            key=self.key_kind(asked),
            names=self.names(asked),
            needed=max(1, asked.profile.approvals),
            given=len(certification.approvals_that_count(asked)),
            **context,
        )


def _next(asked: CertificationRequest, user: User) -> str:
    """What happens next with a request, for whoever looks at it."""
    if asked.state == State.ISSUED:
        return "It is issued. Whoever asked finds the certificate under their devices."
    if asked.state != State.WAITING:
        return "It is over, and nothing was issued. Whoever asked may ask again."
    if asked.requester_id == user.pk:
        return "You asked for it, so somebody else decides."
    if not permissions.may_decide(user, asked):
        return "It waits for somebody who may decide about it."
    if any(yes.approver_id == user.pk for yes in certification.approvals_that_count(asked)):
        return "You approved it. It waits for one more person."
    return "It waits for your decision: approve or reject it."


def _after_approval(asked: CertificationRequest) -> str:
    missing = max(1, asked.profile.approvals) - len(certification.approvals_that_count(asked)) - 1
    if missing > 0:
        return "Your yes is recorded. The certificate is issued once one more person approves."
    return "The certificate is issued at once, and whoever asked can download it."


def _checked(
    asked: CertificationRequest, *, at: dt.datetime
) -> tuple[list[tuple[str, str]], str | None]:
    """What would be signed, and what would refuse it: one of them."""
    try:
        return extensions.to_be_signed(certification.check(request=asked, at=at)), None
    except PKIError as error:
        return [], str(error)
