"""Forms: what people type, checked before a verb is called."""

from __future__ import annotations

from typing import Any

from django import forms

from pki import people
from pki.enrolment import needs_console_password, new_once
from pki.files import LARGEST
from pki.handout import PASSWORD_MINIMUM, Format
from pki.models import LONGEST_DEVICE, CertificateProfile, RevocationReason, User
from pki.permissions import profiles_to_ask_for
from pki.profiles import PERSON

FORMATS = [
    (Format.P12.value, "Modern: for Windows 10 and 11, Linux, and Firefox"),
    (
        Format.P12_COMPAT.value,
        "Compatible: for iPhone, iPad, Mac, Android, and older Windows (weaker encryption)",
    ),
]


class ConsolePasswordForm(forms.Form):
    """An admin's console password, where they have none yet."""

    console_password1 = forms.CharField(
        label="Console password",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least {} characters. You will be asked for it, besides your certificate, to "
        "open the console.",
    )
    console_password2 = forms.CharField(
        label="Console password, again",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user
        if needs_console_password(user):
            first = self.fields["console_password1"]
            first.help_text = first.help_text.format(people.shortest_console_password())
        else:
            del self.fields["console_password1"], self.fields["console_password2"]

    def clean_console_password1(self) -> str:
        password = str(self.cleaned_data["console_password1"])
        people.check_console_password(user=self._user, password=password)
        return password

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, again = cleaned.get("console_password1"), cleaned.get("console_password2")
        if "console_password1" not in self.errors and first != again:
            self.add_error("console_password2", "The two console passwords differ.")
        return cleaned


class EnrolForm(ConsolePasswordForm):
    """The enrolment page where the key is made on the server: how to pack the file."""

    field_order = ("format", "password", "console_password1", "console_password2")

    format = forms.ChoiceField(
        label="File format",
        choices=FORMATS,
        initial=Format.P12.value,
        widget=forms.RadioSelect,
    )
    password = forms.CharField(min_length=PASSWORD_MINIMUM, max_length=64, widget=forms.HiddenInput)


class EnrolRequestForm(ConsolePasswordForm):
    """The enrolment page where the browser makes the key: its request."""

    csr = forms.CharField(label="Certificate request", max_length=LARGEST, strip=False)


class DeviceForm(forms.Form):
    """A new device of one's own."""

    device = forms.CharField(
        label="Name of the device",
        max_length=LONGEST_DEVICE,
        help_text="For example: phone, office laptop.",
    )


class LinkForm(DeviceForm):
    """A link for a new device; `once` is the same when the same page is sent again."""

    once = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"initial": {"once": new_once()}, **kwargs})


class RequestForm(DeviceForm):
    """A certificate for a key made elsewhere: the request as a file, or pasted."""

    field_order = ("profile", "device", "file", "pasted")
    use_required_attribute = False

    profile = forms.ModelChoiceField(
        label="What for",
        queryset=CertificateProfile.objects.none(),
        to_field_name="name",
        empty_label=None,
        initial=PERSON.name,
    )
    file = forms.FileField(label="Certificate request", required=False, help_text="PEM or DER.")
    pasted = forms.CharField(
        label="or paste it as PEM",
        required=False,
        strip=False,
        max_length=LARGEST,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "id_request_%s", **kwargs})
        profile = self.fields["profile"]
        assert isinstance(profile, forms.ModelChoiceField)
        profile.queryset = profiles_to_ask_for()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("file") and not cleaned.get("pasted", "").strip():
            self.add_error("file", "Choose the certificate request, or paste it.")
        return cleaned

    def content(self) -> bytes:
        """What was handed in."""
        file = self.cleaned_data.get("file")
        return bytes(file.read(LARGEST + 1)) if file else self.cleaned_data["pasted"].encode()


class RevokeForm(forms.Form):
    """Why a person revokes a certificate of theirs; a hold they could not release themselves."""

    reason = forms.ChoiceField(
        label="Reason",
        choices=[one for one in RevocationReason.for_leaves() if one[0] != RevocationReason.HOLD],
        initial=RevocationReason.UNSPECIFIED.value,
    )


class ShownForm(forms.ModelForm):
    """A form about a row that remembers what it showed.

    `changed_data` is what this person changed, whatever became of the row while the form was open:
    so a verb is told of nothing that somebody else did. Sent without what was shown, as by a
    program, it is compared with the row as it is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = self.add_initial_prefix("")
        is_known = not self.is_bound or any(name.startswith(shown) for name in self.data)
        for field in self.fields.values():
            field.show_hidden_initial = is_known
