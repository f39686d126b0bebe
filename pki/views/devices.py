"""`/devices/`: a person's own certificates, links and requests."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from pki import addresses, certification, enrolment, revocation
from pki.errors import PKIError
from pki.forms import LinkForm, RequestForm, RevokeForm
from pki.models import Certificate, Invitation, RevocationReason
from pki.requests import PersonRequest

REQUESTS_SHOWN = 50


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def devices(request: PersonRequest) -> HttpResponse:
    """GET lists; POST makes an enrolment link for one more device and shows it this once.

    The same page sent again shows the same link: a reload makes no other.
    """
    form = LinkForm(request.POST or None)
    link = None
    if form.is_valid():
        try:
            invitation, token = enrolment.invite(
                asked_with=request.identity.certificate_id,
                actor=request.identity.username,
                user=request.user,
                device=form.cleaned_data["device"],
                once=form.cleaned_data["once"],
                at=timezone.now(),
            )
            link = {"url": addresses.enrolment_link(token), "invitation": invitation}
            form = LinkForm()
        except PKIError as error:
            form.add_error("device", str(error))
    return show(request, form=form, link=link)


def show(
    request: PersonRequest,
    *,
    form: LinkForm | None = None,
    request_form: RequestForm | None = None,
    link: dict[str, object] | None = None,
) -> HttpResponse:
    """The page with everything of this person; one of its forms may have errors."""
    now = timezone.now()
    form, request_form = form or LinkForm(), request_form or RequestForm()
    certificates = list(Certificate.objects.filter(owner=request.user))
    for certificate in certificates:
        certificate.is_this = certificate.pk == request.identity.certificate_id  # type: ignore[attr-defined]
    return render(
        request,
        "pki/devices.html",
        {
            "certificates": certificates,
            "form": form,
            "request_form": request_form,
            "link": link,
            "links": Invitation.objects.open(now).filter(user=request.user),
            "requests": certification.requests_of(request.user)[:REQUESTS_SHOWN],
        },
        status=400 if form.errors or request_form.errors else 200,
    )


@never_cache
@require_POST
def withdraw_link(request: PersonRequest, pk: int) -> HttpResponse:
    """End one of the person's own open links."""
    invitation = get_object_or_404(Invitation, user=request.user, pk=pk)
    try:
        enrolment.withdraw_link(
            actor=request.identity.username, invitation=invitation, at=timezone.now()
        )
        messages.success(request, f"The link for {invitation.device} no longer works.")
    except PKIError as error:
        messages.error(request, str(error))
    return redirect("devices")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_device(request: PersonRequest, pk: int) -> HttpResponse:
    """Ask for the reason, then revoke one of the person's own certificates."""
    certificate = get_object_or_404(Certificate, owner=request.user, pk=pk)
    certificate.is_this = certificate.pk == request.identity.certificate_id  # type: ignore[attr-defined]
    form = RevokeForm(request.POST or None)
    if form.is_valid():
        try:
            revocation.revoke(
                actor=request.identity.username,
                certificate=certificate,
                reason=RevocationReason(form.cleaned_data["reason"]),
                at=timezone.now(),
            )
            messages.success(request, f"The certificate of {certificate.device} is revoked.")
        except PKIError as error:
            messages.error(request, str(error))
        return redirect("devices")
    return render(request, "pki/device_revoke.html", {"certificate": certificate, "form": form})
