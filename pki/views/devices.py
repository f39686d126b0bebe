"""`/devices/`: a person's own certificates – list, add, revoke."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from pki import addresses, enrolment, revocation
from pki.errors import PKIError, RequestError
from pki.forms import DeviceForm, RevokeForm
from pki.models import Certificate, RevocationReason
from pki.requests import PersonRequest


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def devices(request: PersonRequest) -> HttpResponse:
    """GET lists; POST makes an enrolment link for one more device and shows it this once."""
    form = DeviceForm(request.POST or None)
    link = None
    if form.is_valid():
        try:
            invitation, token = enrolment.invite(
                asked_with=request.identity.certificate_id,
                actor=request.identity.username,
                user=request.user,
                device=form.cleaned_data["device"],
                at=timezone.now(),
            )
            link = {"url": addresses.enrolment_link(token), "invitation": invitation}
            form = DeviceForm()
        except RequestError as error:
            form.add_error("device", str(error))
    certificates = list(Certificate.objects.filter(owner=request.user))
    for certificate in certificates:
        certificate.is_this = certificate.pk == request.identity.certificate_id  # type: ignore[attr-defined]
    return render(
        request,
        "pki/devices.html",
        {"certificates": certificates, "form": form, "link": link},
        status=400 if form.errors else 200,
    )


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
