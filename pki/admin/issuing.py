"""Making certificates for people: a link, a file with its password, or a request certified."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from pki import addresses, certification, enrolment, files, handout, names, permissions, profiles
from pki.admin.base import ReadOnlyAdmin, actor, certificate_id, person, posted, refusals_of
from pki.admin.columns import admin_url, attachment
from pki.admin.forms import CSR, LINK, IssueForm, PasswordForm
from pki.handout import Format
from pki.models import CertificationRequest, User

ONCE_KEY = "issue-once"


class IssuingAdmin(ReadOnlyAdmin):
    """The page behind "add": nothing of what it hands out stays here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.may_issue(person(request))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """For whom and how; a PKCS #12 file takes a second step that shows its password first."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = IssueForm(
            posted(request),
            request.FILES or None,
            people=permissions.people_to_issue_for(person(request)).defer("password"),
            initial={"owner": request.GET.get("owner")},
        )
        if form.is_valid():
            with refusals_of(form):
                return self._handed_out(request, form)
        return self.page(request, "pki/console_issue.html", title="New certificate", form=form)

    def _handed_out(self, request: HttpRequest, form: IssueForm) -> HttpResponse:
        way, owner = form.cleaned_data["way"], form.cleaned_data["owner"]
        device = names.clean_device(form.cleaned_data["device"])
        if way == LINK:
            return self._link(request, owner, device, form.cleaned_data["link_once"])
        if way == CSR:
            return self._request(request, owner, device, form.content())
        return self._file_with_password(request, form, owner, device, Format(way))

    def _request(
        self, request: HttpRequest, owner: User, device: str, content: bytes
    ) -> HttpResponse:
        """To the page of the request, which has the certificate or says that it waits."""
        asked = certification.submit(
            actor=actor(request),
            requester=person(request),
            profile=profiles.PERSON.name,
            csr=files.read_csr(content),
            owner=owner,
            device=device,
            asked_with=certificate_id(request),
            at=timezone.now(),
        )
        return told(request, asked)

    def _link(self, request: HttpRequest, owner: User, device: str, once: str) -> HttpResponse:
        """The page sent again shows the same link: a reload makes no other."""
        invitation, token = enrolment.invite(
            asked_with=certificate_id(request),
            actor=actor(request),
            user=owner,
            device=device,
            once=once,
            at=timezone.now(),
        )
        return self.page(
            request,
            "pki/console_link.html",
            title="One-time link",
            invitation=invitation,
            link=addresses.enrolment_link(token),
        )

    def _file_with_password(
        self, request: HttpRequest, form: IssueForm, owner: User, device: str, format: Format
    ) -> HttpResponse:
        """First the password, then the file; the second step works once."""
        step = PasswordForm(request.POST) if "once" in request.POST else None
        if step and step.is_valid() and _take_once(request, step.cleaned_data["once"]):
            enrolled = enrolment.hand_out(
                actor=actor(request),
                user=owner,
                device=device,
                format=format,
                password=step.cleaned_data["password"],
                at=timezone.now(),
            )
            messages.success(request, f"The file for {owner} on {device} was made.")
            return _attached(enrolled)
        request.session[ONCE_KEY] = secrets.token_urlsafe(16)
        return self.page(
            request,
            "pki/console_password.html",
            title="PKCS #12 file",
            owner=owner,
            device=device,
            way=format.value,
            password=handout.make_password(),
            once=request.session[ONCE_KEY],
            again=step is not None,
        )


def _take_once(request: HttpRequest, once: str) -> bool:
    """Whether this is the answer to the page shown last, for the first time.

    A session is written when its request ends, so of two answers at once both find the page there.
    The cache, which all processes share, lets one of them through.
    """
    shown = request.session.pop(ONCE_KEY, None)
    if shown is None or not secrets.compare_digest(str(shown).encode(), once.encode()):
        return False
    return cache.add(f"{ONCE_KEY}:{shown}", True, settings.SESSION_COOKIE_AGE)


def told(request: HttpRequest, asked: CertificationRequest) -> HttpResponse:
    """To the page of a request, with a word on how it stands."""
    if asked.certificate_id:
        messages.success(request, "The certificate is issued. Its PEM chain is here to download.")
    else:
        given, needed = (
            len(certification.approvals_that_count(asked)),
            max(1, asked.profile.approvals),
        )
        messages.success(request, f"The request waits: {given} of {needed} approvals.")
    return redirect(admin_url(asked))


def _attached(enrolled: enrolment.Enrolled) -> HttpResponse:
    handed = enrolled.handout
    return attachment(handed.content, filename=handed.filename, media_type=handed.media_type)
