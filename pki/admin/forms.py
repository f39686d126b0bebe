"""Forms of the console: what admins type, checked before a verb is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from pki.certification import LONGEST_REASON
from pki.console import LARGEST_KEY, is_number
from pki.enrolment import new_once
from pki.files import LARGEST
from pki.forms import ShownForm
from pki.handout import PASSWORD_MINIMUM, Format
from pki.models import (
    LONGEST_DEVICE,
    CertificateAuthority,
    CertificateProfile,
    RevocationReason,
    User,
)
from pki.permissions import profiles_for_csrs
from pki.profiles import SERVER

LINK, CSR = "link", "csr"
WAYS = [
    (LINK, "One-time link: the person fetches the file (recommended)"),
    (Format.P12.value, "PKCS #12 file, modern: Windows 10 and 11, Linux, Firefox"),
    (
        Format.P12_COMPAT.value,
        "PKCS #12 file, compatible: iPhone, iPad, Mac, Android, older Windows",
    ),
    (CSR, "PEM certificate for a certificate request (CSR)"),
]
ALGORITHMS = {
    "p256": "ECDSA P-256 (recommended)",
    "p384": "ECDSA P-384",
    "ed25519": "Ed25519 (not for browsers)",
    "rsa3072": "RSA 3072",
    "rsa4096": "RSA 4096",
}


def kind_words(algorithm: str) -> str:
    """The kind of a key, without the advice that goes with a choice."""
    return ALGORITHMS.get(algorithm, algorithm).partition(" (")[0]


def text(**attrs: Any) -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget(attrs=attrs)


class PersonForm(forms.Form):
    """A new person; the verb checks the username."""

    username = forms.CharField(
        max_length=64,
        widget=text(autocapitalize="none", spellcheck="false", autocomplete="off"),
        help_text="Small letters, digits, dots, dashes and underscores. "
        "It becomes part of the certificate and stays.",
    )
    name = forms.CharField(
        max_length=100, required=False, widget=text(), help_text="As others see it."
    )
    email = forms.EmailField(
        label="E-mail",
        required=False,
        widget=UnfoldAdminEmailInputWidget(),
        help_text="Written into the certificate, so that mail programs find it.",
    )
    admin = forms.BooleanField(
        label="Administrator",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="May use the whole console, with a certificate and a password.",
    )

    def __init__(self, *args: Any, may_make_admins: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_make_admins:
            del self.fields["admin"]


class PersonChangeForm(ShownForm):
    """What may change about a person. Accounts are opened and closed by verbs."""

    class Meta:
        model = User
        fields: Sequence[str] = ["name", "email", "is_staff", "is_superuser", "groups"]
        widgets = {"groups": UnfoldAdminCheckboxSelectMultipleWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {
            "is_staff": ("Console", "May open the console, and see there what their groups may."),
            "is_superuser": ("Administrator", "May do everything there."),
            "groups": ("Groups", "What somebody may do there who is no administrator."),
            "email": ("E-mail", "Written into certificates issued from now on."),
        }
        for name, (label, help_text) in labels.items():
            if name in self.fields:
                self.fields[name].label, self.fields[name].help_text = label, help_text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("is_superuser") and not cleaned.get("is_staff"):
            self.add_error("is_staff", "An administrator needs the console.")
        return cleaned


class GroupForm(ShownForm):
    """What the people of a group may do in the console."""

    class Meta:
        model = Group
        fields: Sequence[str] = ["name", "permissions"]
        widgets = {"permissions": UnfoldAdminCheckboxSelectMultipleWidget()}


class DeviceForm(forms.Form):
    """The device that a certificate is for."""

    device = forms.CharField(
        label="Name of the device",
        max_length=LONGEST_DEVICE,
        widget=text(autocomplete="off"),
        help_text="For example: phone, office laptop. The person tells their certificates "
        "apart by it.",
    )


class LinkForm(DeviceForm):
    """A link for a device; `link_once` is the same when the same page is sent again."""

    link_once = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["link_once"].initial = new_once()


class PEMForm(forms.Form):
    """A file, or its text pasted."""

    file = forms.FileField(
        label="File", required=False, help_text="PEM or DER.", widget=UnfoldAdminFileFieldWidget()
    )
    pasted = forms.CharField(
        label="or paste PEM",
        required=False,
        strip=False,
        max_length=LARGEST,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 6, "spellcheck": "false", "class": "sg-mono"}
        ),
    )

    def content(self) -> bytes:
        """What was handed in; empty when nothing was."""
        file = self.cleaned_data.get("file")
        if file is None:
            return bytes(self.cleaned_data.get("pasted", "").encode())
        return bytes(file.read(LARGEST + 1))


class PersonField(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} ({obj.username})" if obj.name else str(obj.username)


class IssueForm(LinkForm, PEMForm):
    """For whom, for which device, and how it is handed over."""

    field_order = ("owner", "device", "way", "file", "pasted")

    owner = PersonField(
        label="Person",
        queryset=User.objects.none(),
        widget=UnfoldAdminSelect2Widget(),
        empty_label="Choose a person",
    )
    way = forms.ChoiceField(
        label="How",
        choices=WAYS,
        initial=LINK,
        widget=UnfoldAdminRadioSelectWidget(),
    )

    def __init__(self, *args: Any, people: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner = self.fields["owner"]
        assert isinstance(owner, forms.ModelChoiceField)
        owner.queryset = people

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        has_csr = bool(cleaned.get("file") or cleaned.get("pasted", "").strip())
        if cleaned.get("way") == CSR and not has_csr:
            self.add_error("file", "Choose the certificate request, or paste it.")
        return cleaned


class ServerRequestForm(PEMForm):
    """A CSR made elsewhere, for a server or for a person; the verb says what does not fit."""

    field_order = ("profile", "hosts", "owner", "device", "file", "pasted")

    profile = forms.ModelChoiceField(
        queryset=CertificateProfile.objects.none(),
        to_field_name="name",
        initial=SERVER.name,
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
    )
    hosts = forms.CharField(
        label="Host names and addresses",
        required=False,
        max_length=2000,
        widget=text(spellcheck="false", autocomplete="off"),
        help_text="For a server: separated by commas; the first is the certificate's subject.",
    )
    owner = PersonField(
        label="Person",
        required=False,
        queryset=User.objects.none(),
        widget=UnfoldAdminSelect2Widget(),
        empty_label="Nobody: it is for a server",
    )
    device = forms.CharField(
        label="Name of the device",
        required=False,
        max_length=LONGEST_DEVICE,
        widget=text(autocomplete="off"),
        help_text="For a person.",
    )

    def __init__(self, *args: Any, people: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner, profile = self.fields["owner"], self.fields["profile"]
        assert isinstance(owner, forms.ModelChoiceField)
        assert isinstance(profile, forms.ModelChoiceField)
        owner.queryset, profile.queryset = people, profiles_for_csrs()

    def clean_hosts(self) -> list[str]:
        hosts = [part.strip().lower() for part in self.cleaned_data["hosts"].split(",")]
        return list(dict.fromkeys(host for host in hosts if host))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        profile = cleaned.get("profile")
        if profile is not None and profile.purpose == "server" and not cleaned.get("hosts"):
            self.add_error("hosts", "Name at least one host.")
        if profile is not None and profile.purpose != "server" and not cleaned.get("owner"):
            self.add_error("owner", "Choose the person it is for.")
        if not cleaned.get("file") and not cleaned.get("pasted", "").strip():
            self.add_error("file", "Choose the certificate request, or paste it.")
        return cleaned


class RejectionForm(forms.Form):
    """Why a request is rejected."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=text(autocomplete="off"),
        help_text="Whoever asked reads it.",
    )


class PasswordForm(forms.Form):
    """The second step of a PKCS #12 file: the password was shown, the file is asked for."""

    password = forms.CharField(min_length=PASSWORD_MINIMUM, max_length=64, widget=forms.HiddenInput)
    once = forms.CharField(max_length=64, widget=forms.HiddenInput)


class RevocationForm(forms.Form):
    """Why certificates are revoked, and which: by number, as they were shown."""

    reason = forms.ChoiceField(
        label="Reason",
        choices=RevocationReason.choices,
        initial=RevocationReason.UNSPECIFIED.value,
        widget=UnfoldAdminRadioSelectWidget(),
    )
    certificates = forms.CharField(widget=forms.HiddenInput)

    def clean_certificates(self) -> list[int]:
        parts = self.cleaned_data["certificates"].split(",")
        if not all(is_number(part, range(1, LARGEST_KEY + 1)) for part in parts):
            raise ValidationError("Select the certificates again.")
        return [int(part) for part in parts]


class AnchorForm(PEMForm):
    """A root to trust: one of ours, or a certificate from elsewhere."""

    field_order = ("authority", "file", "pasted")

    authority = forms.ModelChoiceField(
        label="A root of ours",
        required=False,
        queryset=CertificateAuthority.objects.filter(parent__isnull=True).exclude(
            certificate__is_outside=True, certificate__key__isnull=True
        ),
        widget=UnfoldAdminSelectWidget(),
        empty_label="None; the certificate below",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        given = [
            bool(cleaned.get("authority")),
            bool(cleaned.get("file")),
            bool(cleaned.get("pasted", "").strip()),
        ]
        if sum(given) != 1:
            raise ValidationError("Give one root: one of ours, a file, or pasted PEM.")
        return cleaned


class TrustStoreForm(forms.Form):
    name = forms.SlugField(
        max_length=64, widget=text(autocomplete="off"), help_text="Letters, digits and dashes."
    )
    description = forms.CharField(max_length=200, required=False, widget=text())
