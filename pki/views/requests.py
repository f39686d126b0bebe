"""A person's own requests for certificates whose keys are made elsewhere."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pki import audit, certification, files, handout
from pki.errors import PKIError
from pki.forms import RequestForm
from pki.handout import Handout
from pki.models import CertificationRequest
from pki.requests import PersonRequest
from pki.views import devices
from pki.views.enrol import download as attached


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: PersonRequest) -> HttpResponse:
    """A CSR, uploaded or pasted, for one more device of one's own."""
    if request.method != "POST":
        return redirect("devices")
    form = RequestForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            asked = certification.submit(
                actor=request.identity.username,
                requester=request.user,
                profile=form.cleaned_data["profile"].name,
                csr=files.read_csr(form.content()),
                owner=request.user,
                device=form.cleaned_data["device"],
                asked_with=request.identity.certificate_id,
                at=timezone.now(),
            )
            messages.success(request, _news(asked))
            return redirect("devices")
        except PKIError as error:
            # A file that cannot be read never came as far as the verb.
            audit.record_refusal(error, actor=request.identity.username, action="request.submit")
            form.add_error(None, str(error))
    return devices.show(request, request_form=form)


@never_cache
@require_POST
def withdraw(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _own(request, pk)
    try:
        certification.withdraw(
            actor=request.identity.username,
            requester=request.user,
            request=asked,
            at=timezone.now(),
        )
        messages.success(request, f"The request for {asked.device} is withdrawn.")
    except PKIError as error:
        messages.error(request, str(error))
    return redirect("devices")


@never_cache
@require_POST
def ask_again(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _own(request, pk)
    try:
        certification.submit_again(
            actor=request.identity.username,
            requester=request.user,
            request=asked,
            asked_with=request.identity.certificate_id,
            at=timezone.now(),
        )
        messages.success(request, _news(asked))
    except PKIError as error:
        messages.error(request, str(error))
    return redirect("devices")


@never_cache
@require_safe
def download(request: PersonRequest, pk: int) -> HttpResponse:
    """The certificate with its chain; the key is where the CSR was made."""
    certificate = _own(request, pk).certificate
    if certificate is None:
        raise Http404
    content = handout.pem_file(certificate).encode()
    name = f"{handout.file_stem(certificate)}.pem"
    return attached(Handout(name, "application/x-pem-file", content))


def _own(request: PersonRequest, pk: int) -> CertificationRequest:
    return get_object_or_404(certification.requests_of(request.user), pk=pk)


def _news(asked: CertificationRequest) -> str:
    if asked.certificate is None:
        return f"Your request for {asked.device} waits for approval."
    return f"The certificate of {asked.device} is issued. Download it below."
