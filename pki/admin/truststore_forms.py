"""Forms about trust: what comes from elsewhere, in which form it leaves, and from when to when."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminTextInputWidget,
)

from pki import bundles
from pki.admin.forms import AnchorForm, PEMForm, PersonField, text
from pki.files import LARGEST_CRL
from pki.models import LONGEST_DEVICE, TrustStore, User


class ImportForm(AnchorForm):
    """A root of ours, or a file of another program. Nothing is trusted by handing it in."""

    password = forms.CharField(
        label="Password of the file",
        required=False,
        strip=False,
        max_length=256,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="For PKCS #12 files and Java key stores.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].help_text = (
            "PEM, DER, PKCS #7, PKCS #12, Java key store or .mobileconfig. You see what is in it "
            "before anything is trusted."
        )

    def content(self) -> bytes:
        file = self.cleaned_data.get("file")
        return bytes(file.read(bundles.LARGEST + 1)) if file else super().content()


class ConfirmForm(forms.Form):
    """Which of the certificates that were shown are meant; they come along as PEM."""

    certificates = forms.CharField(max_length=2 * bundles.LARGEST, widget=forms.HiddenInput)
    chosen = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_chosen(self) -> list[str]:
        assert isinstance(self.data, QueryDict)
        chosen = self.data.getlist("chosen")
        if not chosen:
            raise ValidationError("Choose at least one.")
        return [str(digest) for digest in chosen]


class CRLForm(forms.Form):
    file = forms.FileField(
        label="CRL", help_text="PEM or DER, complete.", widget=UnfoldAdminFileFieldWidget()
    )

    def content(self) -> bytes:
        return bytes(self.cleaned_data["file"].read(LARGEST_CRL + 1))


class AdoptForm(PEMForm):
    """Whose certificate it will be."""

    field_order = ("owner", "device", "file", "pasted")

    owner = PersonField(
        label="Person",
        queryset=User.objects.none(),
        widget=UnfoldAdminSelect2Widget(),
        empty_label="Choose a person",
    )
    device = forms.CharField(
        max_length=LONGEST_DEVICE, required=False, widget=text(), help_text="Such as: partner card."
    )

    def __init__(self, *args: Any, people: QuerySet[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = people  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("file")) == bool(cleaned.get("pasted", "").strip()):
            raise ValidationError("Give one certificate: a file, or pasted PEM.")
        return cleaned


class RecognitionForm(forms.Form):
    recognises = forms.ChoiceField(
        label="A certificate from elsewhere becomes a person",
        choices=TrustStore.Recognises.choices,
        widget=UnfoldAdminRadioSelectWidget(),
    )


class ExportForm(forms.Form):
    """The password of a file; written down before it is made."""

    password = forms.CharField(
        min_length=bundles.PASSWORD_MINIMUM,
        max_length=64,
        widget=text(autocomplete="off", spellcheck="false"),
        help_text="This one was made now, and is shown only here. You may choose another.",
    )


def _moment() -> forms.DateTimeField:
    widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    return forms.DateTimeField(required=False, widget=widget)


class DatesForm(forms.Form):
    """When an anchor counts, in UTC."""

    trusted_from = _moment()
    trusted_until = _moment()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, words in (("trusted_from", "Trusted from"), ("trusted_until", "Trusted until")):
            self.fields[name].label = f"{words} (UTC)"
            self.fields[name].help_text = "Empty for no limit."

    @staticmethod
    def initial_of(moment: dt.datetime | None) -> str:
        return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M") if moment else ""
