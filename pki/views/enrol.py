"""The enrol endpoint: one-time links, trust-store downloads, help."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from pki import addresses, enrolment, handout
from pki.errors import InvitationError, MasterKeyError, RequestError
from pki.forms import EnrolForm
from pki.handout import Format, Handout
from pki.models import CertificateAuthority
from pki.requests import open_to_all


@open_to_all
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(
        request, "pki/enrol_home.html", {"anchors": _roots(), "main_url": addresses.url("main")}
    )


@open_to_all
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows the page and uses nothing up; POST redeems the link and sends the file."""
    now = timezone.now()
    try:
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
            except (RequestError, MasterKeyError) as error:
                form.add_error(None, str(error))
    except InvitationError as error:
        return render(request, "pki/enrol_refused.html", {"error": error}, status=404)
    return render(
        request,
        "pki/enrol.html",
        {
            "invitation": invitation,
            "form": form,
            # Somebody who corrects the form may have written the first one down.
            "file_password": _posted_password(form) or handout.make_password(),
            "main_url": addresses.url("main"),
            "truststore_downloads": _roots(),
        },
        status=400 if form.errors else 200,
    )


def download(handed: Handout) -> HttpResponse:
    """A private key on its way to its owner: an attachment that nobody keeps."""
    response = HttpResponse(handed.content, content_type=handed.media_type)
    response["Content-Disposition"] = f'attachment; filename="{handed.filename}"'
    response["Cache-Control"] = "no-store"
    return response


def _posted_password(form: EnrolForm) -> str | None:
    return form.cleaned_data.get("password") if form.is_bound else None


def _roots() -> list[dict[str, object]]:
    """Our roots, with fingerprints to compare: who trusts them believes this server."""
    roots = CertificateAuthority.objects.filter(parent=None).select_related("certificate")
    return [
        {
            "name": root.name,
            "sha256": root.certificate.fingerprint,
            "url": f"/ca/{root.slug}.cer",
            "not_after": root.certificate.not_after,
        }
        for root in roots
    ]
