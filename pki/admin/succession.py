"""Buttons about what becomes of a CA: renew, roll over, retire, restore; and taking one over."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from pki import outside, succession
from pki.admin.authority_forms import (
    DaysForm,
    ImportForm,
    RequestForm,
    RetireForm,
    RollOverForm,
)
from pki.admin.base import DANGER, ReadOnlyAdmin, actor, button, person, posted, refusals_of
from pki.admin.columns import admin_url, day
from pki.models import CertificateAuthority


class SuccessionAdmin(ReadOnlyAdmin):
    """The part of a CA's page that founds nothing by itself."""

    def _founded(self, request: HttpRequest, object_id: str) -> CertificateAuthority:
        """The CA behind a button, for whoever may found CAs."""
        self._require_founder(request)
        found: CertificateAuthority = self.found(request, object_id)
        return found

    def _require_founder(self, request: HttpRequest) -> None:
        if not person(request).has_perm("pki.add_certificateauthority"):
            raise PermissionDenied

    def _hidden(self, request: HttpRequest, authority: CertificateAuthority) -> list[str]:
        """Buttons that make no sense for this CA or person."""
        everything = ["renew", "roll_over", "retire", "restore"]
        is_here = authority.certificate.key_id is not None
        if not is_here or not person(request).has_perm("pki.add_certificateauthority"):
            return everything
        hidden = ["renew"] if authority.certificate.revoked_at else []
        if authority.retired_at is None:
            return [*hidden, "restore"]
        is_planned = authority.retired_at > timezone.now()
        return [*hidden, "roll_over"] if is_planned else [*hidden, "roll_over", "retire"]

    @button("Renew", icon="autorenew")
    def renew(self, request: HttpRequest, object_id: str) -> HttpResponse:
        authority = self._founded(request, object_id)
        if outside.is_signed_elsewhere(authority):
            return self._renew_elsewhere(request, authority)
        form = DaysForm(posted(request))
        if form.is_valid():
            with refusals_of(form):
                renewed = succession.renew_authority(
                    actor=actor(request),
                    authority=authority,
                    validity=form.validity,
                    at=timezone.now(),
                )
                messages.success(
                    request, f"{authority} is renewed: valid until {day(renewed.not_after)}."
                )
                return redirect(self.url_of(authority))
        return self._asked(
            request, authority, form, title="Renew the certificate", button_text="Renew",
            intro="Same name and same key, new validity. The certificate before stays valid, and "
            "nothing has to be handed out anew while it is. A root's new certificate becomes an "
            "anchor where the old one is; give it to other systems before the old one expires.",
        )  # fmt: skip

    def _renew_elsewhere(
        self, request: HttpRequest, authority: CertificateAuthority
    ) -> HttpResponse:
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                made = outside.request_renewal(
                    actor=actor(request), authority=authority, at=timezone.now()
                )
                return redirect(admin_url(made))
        return self._asked(
            request, authority, form, title="Request a new certificate",
            button_text="Make the request",
            intro=f"{authority} was signed by {authority.parent}, whose key is elsewhere. The CSR "
            "for the same name and key goes out, and the signed certificate comes back.",
        )  # fmt: skip

    @button("Roll over", icon="key")
    def roll_over(self, request: HttpRequest, object_id: str) -> HttpResponse:
        authority = self._founded(request, object_id)
        key = authority.certificate.key
        initial = {
            "name": succession.next_name(authority.name),
            "algorithm": key.algorithm if key else "",
        }
        form = RollOverForm(posted(request), initial=initial)
        if form.is_valid():
            with refusals_of(form):
                made = succession.roll_over_authority(
                    actor=actor(request),
                    authority=authority,
                    name=form.cleaned_data["name"],
                    algorithm=form.cleaned_data["algorithm"],
                    validity=form.validity,
                    retire_at=form.retire_at(),
                    at=timezone.now(),
                )
                messages.success(request, f"{made} succeeds {authority}.")
                return redirect(self.url_of(made))
        return self._asked(
            request, authority, form, title="Roll over to a new key", button_text="Roll over",
            intro="Founds the CA that succeeds this one, with a new key. This one issues nothing "
            "more, but its CRLs and OCSP answers go on until it expires.",
        )  # fmt: skip

    @button("Retire", icon="bedtime", variant=DANGER)
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        authority = self._founded(request, object_id)
        form, now = RetireForm(posted(request)), timezone.now()
        if form.is_valid():
            with refusals_of(form):
                retired = succession.retire_authority(
                    actor=actor(request),
                    authority=authority,
                    on=form.retire_at(now),
                    is_last_one_too=form.cleaned_data["is_last_one_too"],
                    at=now,
                )
                messages.success(request, f"{authority} {_retirement(retired, at=now)}.")
                return redirect(self.url_of(authority))
        return self._asked(
            request, authority, form, title=f"Retire {authority}?", button_text="Retire", danger=True,
            intro=f"{authority} issues nothing more. What it signed stays valid, and its CRLs and "
            "OCSP answers go on. It can be restored. A retirement that was planned before is replaced "
            "by this one.",
        )  # fmt: skip

    @button("Restore", icon="undo")
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        authority = self._founded(request, object_id)
        form = forms.Form(posted(request))
        if form.is_valid():
            with refusals_of(form):
                succession.restore_authority(
                    actor=actor(request), authority=authority, at=timezone.now()
                )
                messages.success(request, f"{authority} issues again.")
                return redirect(self.url_of(authority))
        return self._asked(
            request, authority, form, title=f"Restore {authority}?", button_text="Restore",
            intro=f"{authority} issues certificates again.",
        )  # fmt: skip

    @button("Import a CA", icon="upload")
    def take_over(self, request: HttpRequest) -> HttpResponse:
        self._require_founder(request)
        form = ImportForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form):
                made = outside.import_authority(
                    actor=actor(request),
                    data=form.content("file"),
                    password=form.cleaned_data["password"] or None,
                    chain=form.content("chain"),
                    name=form.cleaned_data["name"],
                    last_crl_number=form.cleaned_data["last_crl_number"],
                    last_crl=form.former_crl(),
                    discard_revocations=form.cleaned_data["discard_revocations"],
                    at=timezone.now(),
                )
                messages.success(request, f"{made} is here, with its key.")
                return redirect(self.url_of(made))
        return self._asked(
            request, None, form, title="Import a CA", button_text="Import", multipart=True,
            intro="Takes over a CA from elsewhere with its key, which is kept wrapped under the "
            "master key. Remove the file afterwards: whoever has it is this CA.",
        )  # fmt: skip

    @button("Request a CA", icon="outgoing_mail")
    def ask(self, request: HttpRequest) -> HttpResponse:
        self._require_founder(request)
        form = RequestForm(posted(request))
        if form.is_valid():
            with refusals_of(form):
                made = outside.request_authority(
                    actor=actor(request), at=timezone.now(), **form.cleaned_data
                )
                return redirect(admin_url(made))
        return self._asked(
            request, None, form, title="Request a CA", button_text="Make the request",
            intro="For a CA that another organisation's CA signs. Its key is made and stays here; "
            "the CSR goes out, and the signed certificate comes back.",
        )  # fmt: skip

    def _asked(
        self,
        request: HttpRequest,
        authority: CertificateAuthority | None,
        form: forms.Form,
        **context: Any,
    ) -> HttpResponse:
        return self.page(request, "pki/console_form.html", obj=authority, form=form, **context)


def _retirement(authority: CertificateAuthority, *, at: dt.datetime) -> str:
    is_planned = authority.retired_at is not None and authority.retired_at > at
    return f"retires on {day(authority.retired_at)}" if is_planned else "is retired"
