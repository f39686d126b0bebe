"""Forms: what people type, checked before a verb is called."""

from __future__ import annotations

from typing import Any

from django import forms

from pki.enrolment import needs_console_password
from pki.handout import PASSWORD_MINIMUM, Format
from pki.models import LONGEST_DEVICE, RevocationReason, User

FORMATS = [
    (Format.P12.value, "Modern: for Windows 10 and 11, Linux, and Firefox"),
    (
        Format.P12_COMPAT.value,
        "Compatible: for iPhone, iPad, Mac, Android, and older Windows (weaker encryption)",
    ),
]


class EnrolForm(forms.Form):
    """The enrolment page: how to pack the file, and an admin's console password."""

    format = forms.ChoiceField(
        label="File format",
        choices=FORMATS,
        initial=Format.P12.value,
        widget=forms.RadioSelect,
    )
    password = forms.CharField(min_length=PASSWORD_MINIMUM, max_length=64, widget=forms.HiddenInput)
    console_password1 = forms.CharField(
        label="Console password",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="You will be asked for it, besides your certificate, to open the console.",
    )
    console_password2 = forms.CharField(
        label="Console password, again",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not needs_console_password(user):
            del self.fields["console_password1"], self.fields["console_password2"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("console_password1") != cleaned.get("console_password2"):
            self.add_error("console_password2", "The two console passwords differ.")
        return cleaned


class DeviceForm(forms.Form):
    """A new device of one's own."""

    device = forms.CharField(
        label="Name of the device",
        max_length=LONGEST_DEVICE,
        help_text="For example: phone, office laptop.",
    )


class RevokeForm(forms.Form):
    """Why a certificate is revoked."""

    reason = forms.ChoiceField(
        label="Reason",
        choices=RevocationReason.for_leaves(),
        initial=RevocationReason.UNSPECIFIED.value,
    )
