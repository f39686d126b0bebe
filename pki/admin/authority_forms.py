"""Forms about CAs: founding, taking over, requesting, renewing and succeeding one."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from pki import authorities
from pki.admin.forms import ALGORITHMS, text
from pki.algorithms import DEFAULT, GENERATORS
from pki.errors import PKIError
from pki.files import LARGEST, LARGEST_CRL
from pki.keys import DATABASE
from pki.models import CertificateAuthority, PrivateKey
from pki.profiles import LONGEST_CA

KINDS = [(name, ALGORITHMS.get(name, name)) for name in GENERATORS]
BACKENDS = [
    (PrivateKey.Backend.DATABASE.value, "In the database, encrypted under the master key"),
    (PrivateKey.Backend.PKCS11.value, "On the token (SIGNET_PKCS11_MODULE)"),
]
LONGEST_DAYS = LONGEST_CA // dt.timedelta(days=1)


class DaysForm(forms.Form):
    days = forms.IntegerField(
        label="Valid for (days)",
        required=False,
        min_value=1,
        max_value=LONGEST_DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: as long as the profile says. Never longer than the CA above.",
    )

    @property
    def validity(self) -> dt.timedelta | None:
        days = self.cleaned_data["days"]
        return dt.timedelta(days=days) if days else None


class KeyForm(forms.Form):
    algorithm = forms.ChoiceField(
        label="Key", choices=KINDS, initial=DEFAULT, widget=UnfoldAdminSelectWidget()
    )
    backend = forms.ChoiceField(
        label="Where the key is kept",
        choices=BACKENDS,
        initial=DATABASE,
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    path_length = forms.IntegerField(
        label="CAs below it (path length)",
        required=False,
        min_value=0,
        max_value=4,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="How many may stand below one another. Empty: as the profile says.",
    )

    def clean_backend(self) -> str:
        return self.cleaned_data["backend"] or DATABASE


class NameForm(forms.Form):
    name = forms.CharField(
        max_length=64,
        widget=text(autocomplete="off"),
        help_text="Written into every certificate of it. It cannot be changed.",
    )


class FoundingForm(DaysForm, KeyForm, NameForm):
    """A new CA of ours; the verb checks the name."""

    field_order = ("name", "parent", "algorithm", "backend", "path_length", "days", "permit")

    parent = forms.ModelChoiceField(
        label="Signed by",
        required=False,
        queryset=CertificateAuthority.objects.filter(certificate__key__isnull=False),
        widget=UnfoldAdminSelectWidget(),
        empty_label="Itself: a new root",
    )
    permit = forms.CharField(
        label="Only these names",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Name constraints: example.org, @example.org or 10.0.0.0/8, one a line.",
    )
    exclude = forms.CharField(
        label="None of these names",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            cleaned["name_constraints"] = authorities.name_constraints(
                permit=cleaned.get("permit", "").split(), exclude=cleaned.get("exclude", "").split()
            )
        except PKIError as error:
            self.add_error("permit", str(error))
        return cleaned

    def arguments(self) -> dict[str, Any]:
        """What the verb is called with."""
        names = ("name", "parent", "algorithm", "backend", "path_length", "name_constraints")
        return {"validity": self.validity} | {name: self.cleaned_data[name] for name in names}


class RequestForm(KeyForm, NameForm):
    field_order = ("name", "algorithm", "backend", "path_length")

    def clean_path_length(self) -> int:
        return self.cleaned_data["path_length"] or 0


class ChainForm(forms.Form):
    chain = forms.FileField(
        label="CAs above it",
        required=False,
        widget=UnfoldAdminFileFieldWidget(),
        help_text="PEM. Not needed where they are known here.",
    )

    def content(self, name: str) -> bytes:
        file = self.cleaned_data.get(name)
        return file.read(LARGEST + 1) if file else b""


class IdentityForm(ChainForm):
    """A certificate with its key, and the CAs above it where the file does not have them."""

    file = forms.FileField(
        label="Key and certificate",
        widget=UnfoldAdminFileFieldWidget(),
        help_text="PKCS #12 (.p12, .pfx), or PEM with both.",
    )
    password = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"})
    )


class ImportForm(IdentityForm):
    field_order = (
        *("file", "password", "chain", "name", "last_crl_number"),
        *("crl", "discard_revocations"),
    )

    name = forms.CharField(
        max_length=64,
        required=False,
        widget=text(autocomplete="off"),
        help_text="Empty: what the CA calls itself.",
    )
    last_crl_number = forms.IntegerField(
        label="Number of its newest CRL so far",
        required=False,
        min_value=0,
        max_value=10**18 - 1,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    crl = forms.FileField(
        label="Newest CRL of the old system",
        required=False,
        widget=UnfoldAdminFileFieldWidget(),
        help_text="Its successor published here lists certificates that are known here alone.",
    )
    discard_revocations = forms.BooleanField(
        label="What the old system revoked may be good again",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Only where it revoked nothing that has not expired, or without its CRL.",
    )

    def former_crl(self) -> bytes:
        file = self.cleaned_data["crl"]
        return file.read(LARGEST_CRL + 1) if file else b""

    def clean_last_crl_number(self) -> int:
        return self.cleaned_data["last_crl_number"] or 0


class CompleteForm(ChainForm):
    field_order = ("file", "chain")

    file = forms.FileField(label="Signed certificate", widget=UnfoldAdminFileFieldWidget())


class RollOverForm(DaysForm):
    field_order = ("name", "algorithm", "days", "in_days")

    name = forms.CharField(max_length=64, widget=text(autocomplete="off"))
    algorithm = forms.ChoiceField(label="Key", choices=KINDS, widget=UnfoldAdminSelectWidget())
    in_days = forms.IntegerField(
        label="Retire this one in (days)",
        initial=0,
        min_value=0,
        max_value=LONGEST_DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="0: at once. Until then it goes on issuing.",
    )

    def retire_at(self) -> dt.datetime:
        return timezone.now() + dt.timedelta(days=self.cleaned_data["in_days"])


class RetireForm(forms.Form):
    in_days = forms.IntegerField(
        label="Retire it in (days)",
        initial=0,
        required=False,
        min_value=0,
        max_value=LONGEST_DAYS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="0: at once. Until then it goes on issuing.",
    )
    is_last_one_too = forms.BooleanField(
        label="Even if no other CA issues",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Then nobody gets or renews a certificate until one is restored or founded.",
    )

    def retire_at(self, at: dt.datetime) -> dt.datetime:
        return at + dt.timedelta(days=self.cleaned_data["in_days"] or 0)
