"""The enrol endpoint: one-time links, trust-store downloads, help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pki import addresses, enrolment, files, handout, truststore
from pki.errors import (
    AuditError,
    ClockError,
    InvitationError,
    KeyBackendError,
    KeyReuseError,
    MasterKeyError,
    PKIError,
    RequestError,
    StateError,
)
from pki.forms import EnrolForm, EnrolRequestForm
from pki.handout import Format, Handout
from pki.models import CertificateAuthority, CertificationRequest
from pki.requests import open_to_all
from pki.views import truststores

State = CertificationRequest.State
# What whoever enrols is told; nothing was issued, and they may try again.
TOLD = (RequestError, MasterKeyError, KeyBackendError, ClockError, AuditError)
DETAILS = {
    State.WAITING: "An administrator has yet to approve this. Keep this page, or come back to it.",
    State.REJECTED: "An administrator rejected this: {}",
    State.WITHDRAWN: "This request was withdrawn.",
}


@open_to_all
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "pki/enrol_home.html",
        {
            "anchors": _roots(),
            "bundles": truststores.offered(at=timezone.now()),
            "main_url": addresses.url("main"),
        },
    )


@open_to_all
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows the page and uses nothing up; POST redeems the link and sends the file.

    A link that was redeemed with a CSR goes on telling how that stands.
    """
    now = timezone.now()
    try:
        asked = enrolment.request_behind(token=token, at=now)
        if asked is not None and request.method != "POST":
            return _request_page(request, token, asked)
        invitation = enrolment.find(token=token, at=now)
        form = EnrolForm(request.POST or None, user=invitation.user)
        if form.is_valid():
            try:
                enrolled = enrolment.redeem(
                    token=token,
                    format=Format(form.cleaned_data["format"]),
                    file_password=form.cleaned_data["password"],
                    console_password=form.cleaned_data.get("console_password1"),
                    at=now,
                )
                return download(enrolled.handout)
            except InvitationError:
                raise
            except TOLD as error:
                enrolment.record_refusal(token=token, error=error)
                form.add_error(None, str(error))
    except InvitationError as error:
        if request.method == "POST":
            enrolment.record_refusal(token=token, error=error)
        return render(request, "pki/enrol_refused.html", {"error": error}, status=404)
    return render(
        request,
        "pki/enrol.html",
        {
            "invitation": invitation,
            "form": form,
            "needs_approval": enrolment.needs_approval(),
            "csr_url": reverse("enrol_csr", args=[token]),
            "status_url": reverse("enrol_status", args=[token]),
            # Somebody who corrects the form may have written the first one down.
            "file_password": _posted_password(form) or handout.make_password(),
            "main_url": addresses.url("main"),
            "truststore_downloads": _roots(),
        },
        status=400 if form.errors else 200,
    )


@open_to_all
@never_cache
@require_POST
def enrol_csr(request: HttpRequest, token: str) -> HttpResponse:
    """The browser made the key: its CSR becomes a certificate now, or after approval."""
    now = timezone.now()
    try:
        # Whoever asks again after a lost answer has no password to choose any more.
        known = enrolment.request_behind(token=token, at=now)
        user = known.owner if known else enrolment.find(token=token, at=now).user
        assert user is not None
        form = EnrolRequestForm(request.POST, user=user)
        if known:
            form.fields.pop("console_password1", None)
            form.fields.pop("console_password2", None)
        if not form.is_valid():
            return _refusal("Please correct what is marked.", 400, fields=form.errors)
        asked = enrolment.redeem_with_csr(
            token=token,
            csr=files.read_csr(form.cleaned_data["csr"].encode()),
            console_password=form.cleaned_data.get("console_password1"),
            at=now,
        )
    except TOLD as error:
        enrolment.record_refusal(token=token, error=error)
        return _refusal(str(error), _status_of(error))
    return _answer(token, asked)


def _status_of(error: PKIError) -> int:
    if isinstance(error, InvitationError):
        return 404
    return 409 if isinstance(error, KeyReuseError | StateError) else 400


@open_to_all
@never_cache
@require_safe
def enrol_status(request: HttpRequest, token: str) -> HttpResponse:
    """How the request behind a link stands, for a page that waits."""
    try:
        asked = enrolment.request_behind(token=token, at=timezone.now())
    except InvitationError as error:
        return _refusal(str(error), 404)
    if asked is None:
        return JsonResponse({"state": "open", "detail": "This link has not been used yet."})
    return _answer(token, asked)


def _answer(token: str, asked: CertificationRequest) -> JsonResponse:
    """202 while somebody has yet to approve, 200 once it is decided."""
    answer = _state(asked) | {"status_url": reverse("enrol_status", args=[token])}
    return JsonResponse(answer, status=202 if asked.state == State.WAITING else 200)


def _state(asked: CertificationRequest) -> dict[str, object]:
    if asked.certificate is not None:
        return {
            "state": "issued",
            "certificates": handout.pem_chain(asked.certificate),
            "filename": f"{handout.file_stem(asked.certificate)}.p12",
            "notes": asked.differences,
        }
    return {"state": str(asked.state), "detail": DETAILS[State(asked.state)].format(asked.reason)}


def _request_page(request: HttpRequest, token: str, asked: CertificationRequest) -> HttpResponse:
    return render(
        request,
        "pki/request_status.html",
        {
            "asked": asked,
            "answer": _state(asked),
            "status_url": reverse("enrol_status", args=[token]),
            "main_url": addresses.url("main"),
            "truststore_downloads": _roots(),
        },
    )


def _refusal(
    detail: str, status: int, fields: Mapping[str, Sequence[object]] | None = None
) -> JsonResponse:
    marked = {name: [str(error) for error in errors] for name, errors in (fields or {}).items()}
    return JsonResponse({"error": {"detail": detail, "fields": marked}}, status=status)


def download(handed: Handout) -> HttpResponse:
    """A private key on its way to its owner: an attachment that nobody keeps."""
    response = HttpResponse(handed.content, content_type=handed.media_type)
    response["Content-Disposition"] = f'attachment; filename="{handed.filename}"'
    response["Cache-Control"] = "no-store"
    return response


def _posted_password(form: EnrolForm) -> str | None:
    return form.cleaned_data.get("password") if form.is_bound else None


def _roots() -> list[dict[str, object]]:
    """What is trusted here, with fingerprints to compare: who trusts it believes this server."""
    trusted = [
        root.fingerprint(SHA256()).hex() for root in truststore.public_roots(at=timezone.now())
    ]
    roots = CertificateAuthority.objects.filter(certificate__sha256__in=trusted)
    return [
        {
            "name": root.name,
            "sha256": root.certificate.fingerprint,
            "url": f"/ca/{root.slug}.cer",
            "not_after": root.certificate.not_after,
        }
        for root in roots.select_related("certificate")
    ]
