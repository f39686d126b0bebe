"""Forms of the console about rooms."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from chat import oversight
from chat.errors import ChatError
from chat.fields import SLOWEST, is_plain
from chat.models import Room


class RoomForm(forms.ModelForm):
    """The settings of a room; `wishes` are those that were changed."""

    archived = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="It can be read, but nobody writes there or comes in.",
    )
    new_owner = forms.CharField(
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text="The username of a member. Only where no owner's account is open any more.",
    )

    class Meta:
        model = Room
        fields = ("name",)
        labels = {"slow_seconds": "Seconds between messages"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["archived"].initial = self.instance.archived_at is not None
        if self.instance.kind == Room.Kind.DIRECT:
            del self.fields["archived"], self.fields["new_owner"]

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if not is_plain(name):
            raise forms.ValidationError("A name must not contain invisible characters.")
        return name

    def clean_description(self) -> str:
        """On one line, as everywhere else."""
        return " ".join(str(self.cleaned_data["description"]).split())

    def clean_slow_seconds(self) -> int:
        seconds = int(self.cleaned_data["slow_seconds"])
        if seconds > SLOWEST:
            raise forms.ValidationError(f"At most {SLOWEST} seconds.")
        return seconds

    def clean_retention_days(self) -> int | None:
        days: int | None = self.cleaned_data["retention_days"]
        if days == 0:
            raise forms.ValidationError("At least one day. Leave it empty to keep messages.")
        return days

    def clean_new_owner(self) -> str:
        username = str(self.cleaned_data["new_owner"])
        if username:
            try:
                oversight.check_appointment(room=self.instance, user=username)
            except ChatError as error:
                raise forms.ValidationError(str(error)) from None
        return username

    @property
    def wishes(self) -> dict[str, Any]:
        changed = [name for name in self.changed_data if name != "new_owner"]
        return {name: self.cleaned_data[name] for name in changed}
