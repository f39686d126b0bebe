"""The forms of a profile. The verb refuses what contradicts itself; here is only how it is typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from pki.algorithms import KEY_TYPES
from pki.forms import ShownForm
from pki.models import CertificateProfile
from pki.profiles import CA_USAGES, EXTENDED_KEY_USAGES, KEY_USAGES

USAGE_WORDS = {usage: usage.replace("_", " ") for usage in KEY_USAGES} | {
    "key_cert_sign": "sign certificates",
    "crl_sign": "sign CRLs",
}
PURPOSE_WORDS = {
    "clientAuth": "sign people in (clientAuth)",
    "serverAuth": "servers (serverAuth)",
    "emailProtection": "e-mail (emailProtection)",
    "codeSigning": "sign code (codeSigning)",
    "OCSPSigning": "answer OCSP (OCSPSigning)",
}


class Words(forms.TypedMultipleChoiceField):
    """Some words of a list, in the order of the list."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def clean(self, value: Any) -> list[str]:
        chosen = set(super().clean(value))
        words = cast("Iterable[tuple[str, str]]", self.choices)
        return [word for word, _ in words if word in chosen]


class ProfileForm(ShownForm):
    """What may change about a profile: everything but its name and what it is for."""

    key_types = Words(label="Kinds of key", choices=list(KEY_TYPES.items()))
    key_usage = Words(
        label="Key usage",
        choices=[
            (usage, f"{USAGE_WORDS[usage]}{' (CAs)' if usage in CA_USAGES else ''}")
            for usage in KEY_USAGES
        ],
        help_text="What a kind of key is not able to is left out of its certificates.",
    )
    extended_key_usage = Words(
        label="Purposes",
        choices=[(name, PURPOSE_WORDS[name]) for name in EXTENDED_KEY_USAGES],
        required=False,
        help_text="The extended key usage (EKU). CAs have none.",
    )

    class Meta:
        model = CertificateProfile
        fields: tuple[str, ...] = (
            "label",
            "validity_days",
            "key_types",
            "key_usage",
            "extended_key_usage",
            "names",
            "path_length",
            "excess",
            "approvals",
            "per_person",
        )
        labels = {
            "label": "Name",
            "validity_days": "Valid for (days)",
            "names": "Alternative names (SAN)",
            "path_length": "CAs below it (path length)",
            "excess": "What a request asks beyond this",
            "approvals": "Approvals",
            "per_person": "Certificates of one person",
        }
        help_texts = {
            "path_length": "For CAs alone: how many may stand below one another.",
            "per_person": "How many valid ones somebody may have at once; empty for no limit.",
        }
        widgets = {
            "label": UnfoldAdminTextInputWidget(),
            "validity_days": UnfoldAdminIntegerFieldWidget(),
            "names": UnfoldAdminSelectWidget(),
            "path_length": UnfoldAdminIntegerFieldWidget(),
            "excess": UnfoldAdminRadioSelectWidget(),
            "approvals": UnfoldAdminIntegerFieldWidget(),
            "per_person": UnfoldAdminIntegerFieldWidget(),
        }


class NewProfileForm(ProfileForm):
    class Meta(ProfileForm.Meta):
        fields = ("label", "name", "purpose", *ProfileForm.Meta.fields[1:])
        labels = {**ProfileForm.Meta.labels, "name": "Short name", "purpose": "For"}
        help_texts = {
            **ProfileForm.Meta.help_texts,
            "name": "Small letters, digits and dashes; it stays.",
        }
        widgets = {
            **ProfileForm.Meta.widgets,
            "name": UnfoldAdminTextInputWidget(attrs={"autocapitalize": "none"}),
            "purpose": UnfoldAdminSelectWidget(),
        }
