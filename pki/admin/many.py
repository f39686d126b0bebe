"""Adding many people: a list is looked at, carried out beside the console, and its links fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
)

from pki import invitations
from pki.admin.base import ConsoleAdmin, actor, button, certificate_id, person, posted, refusals_of
from pki.admin.columns import admin_url, attachment, badge, minute
from pki.admin.forms import text
from pki.errors import BadFileError
from pki.invitations import Fate, Outlook
from pki.models import LONGEST_DEVICE, InvitationList
from pki.people_list import PeopleList, decoded, read_people
from pki.permissions import may_invite_many

FOR_THE_REST = 16 * 1024  # of a body: its other fields, and what parts them
FAULTS_SHOWN = 20
TONES = {Fate.NEW: "good", Fate.LINK: "good", Fate.AGAIN: "warn", Fate.FAULT: "bad"}
NOT_MADE = {Fate.FAULT: "fault", Fate.HAS: "has a certificate", Fate.OVER: "used or ended"}


def largest() -> int:
    """Bytes of a list: a larger body would be refused before anybody could say why."""
    return max(0, int(settings.SIGNET_BODY_BYTES) - FOR_THE_REST)


class ManyForm(forms.Form):
    """A list of people, uploaded or pasted, and what counts for all of them."""

    file = forms.FileField(label="CSV file", required=False, widget=UnfoldAdminFileFieldWidget())
    people = forms.CharField(
        label="or the list itself",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 10, "spellcheck": "false", "autocomplete": "off", "class": "sg-mono"}
        ),
        help_text="Typed, or pasted from a spreadsheet. A file that is chosen above takes its place.",
    )
    device = forms.CharField(
        label="Device, where the list names none",
        max_length=LONGEST_DEVICE,
        initial="computer",
        widget=text(autocomplete="off"),
        help_text="A person tells their certificates apart by it.",
    )
    days = forms.TypedChoiceField(
        label="The links work",
        coerce=int,
        choices=[(n, "24 hours" if n == 1 else f"{n} days") for n in invitations.DAYS],
        initial=min(invitations.DAYS),
        widget=UnfoldAdminRadioSelectWidget(),
        help_text="Whoever holds a link that is not used yet can enrol with it.",
    )
    seen = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        file = self.fields["file"]
        file.widget.attrs |= {"data-largest": largest(), "accept": ".csv,.tsv,.txt,text/csv"}
        file.help_text = f"At most {invitations.MOST_LINES} lines and {largest() // 1024} KiB."

    def read(self) -> PeopleList:
        """The list; what was uploaded stands where it would have been pasted from then on."""
        file = self.cleaned_data["file"]
        pasted = decoded(file.read()) if file else self.cleaned_data["people"]
        if len("\r\n".join(pasted.splitlines()).encode()) > largest():
            raise BadFileError(f"This list is larger than {largest() // 1024} KiB. Part it.")
        self.data = dict(self.data.items()) | {"people": pasted}
        return read_people(pasted, most=invitations.MOST_LINES)


@dataclass(frozen=True)
class Shown:
    """A line of the preview."""

    outlook: Outlook

    @property
    def badge(self) -> str:
        return badge(self.outlook.fate.value, TONES.get(self.outlook.fate, ""))


class ManyPeopleAdmin(ConsoleAdmin):
    """The pages behind "Add many people"."""

    actions_list = ("many",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("many/<int:pk>/", view(self.links_view), name="pki_user_many_links"),
            path("many/<int:pk>/go-on/", view(self.go_on_view), name="pki_user_many_go_on"),
            path("many/<int:pk>/file/", view(self.file_view), name="pki_user_many_file"),
            *super().get_urls(),
        ]

    def get_actions_list(self, request: HttpRequest) -> list[Any]:
        return list(super().get_actions_list(request)) if may_invite_many(person(request)) else []

    @button("Add many people", icon="groups")
    def many(self, request: HttpRequest) -> HttpResponse:
        """A list comes in, every line of it is shown with what would happen, and then it happens."""
        if not may_invite_many(person(request)):
            raise PermissionDenied
        form, found = ManyForm(posted(request), request.FILES or None), None
        if form.is_valid():
            with refusals_of(form):
                found = form.read()
        if found is not None and "go" in request.POST:
            with refusals_of(form):
                return self._begun(request, form, found)
        return self.page(
            request,
            "pki/console_many.html",
            title="Add many people",
            form=form,
            multipart=True,
            most=invitations.MOST_LINES,
            largest=largest() // 1024,
            lists=_lists_of(request),
            **(self._looked_at(request, form, found) if found else {}),
        )

    def _begun(self, request: HttpRequest, form: ManyForm, found: PeopleList) -> HttpResponse:
        started = invitations.begin(
            actor=actor(request),
            inviter=person(request),
            lines=found.lines,
            device=form.cleaned_data["device"],
            seen=form.cleaned_data["seen"],
            days=form.cleaned_data["days"],
            asked_with=certificate_id(request),
            parted_by=found.parted_by,
            at=timezone.now(),
        )
        assert started.operation is not None
        return redirect(admin_url(started.operation))

    def _looked_at(self, request: HttpRequest, form: ManyForm, found: PeopleList) -> dict[str, Any]:
        outlooks = invitations.check(
            inviter=person(request),
            lines=found.lines,
            device=form.cleaned_data["device"],
            at=timezone.now(),
        )
        form.data = dict(form.data.items()) | {"seen": invitations.digest(outlooks)}
        faults = [one for one in outlooks if one.fate is Fate.FAULT]
        if faults and not form.errors:
            noun = "1 line has a fault" if len(faults) == 1 else f"{len(faults)} lines have faults"
            form.add_error(None, f"{noun}, so nothing is created. Mend the list and look again.")
        return {
            "rows": [Shown(one) for one in outlooks],
            "faults": faults[:FAULTS_SHOWN],
            "more_faults": max(0, len(faults) - FAULTS_SHOWN),
            "unused": found.unused,
            "number": 0 if faults else sum(one.fate in invitations.IS_MADE for one in outlooks),
            "new": sum(one.fate is Fate.NEW for one in outlooks),
            "ending": sum(one.fate is Fate.AGAIN for one in outlooks),
            "having": sum(one.fate is Fate.HAS for one in outlooks),
        }

    # --- Afterwards ---

    def links_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How a list came out, and the one way to its links."""
        started, now = self._own_list(request, pk), timezone.now()
        if started is None:
            return _gone(request)
        outlooks = invitations.check(
            inviter=person(request),
            lines=invitations.lines_of(started),
            once=started.once,
            at=now,
        )
        return self.page(
            request,
            "pki/console_many_links.html",
            title=f"Links for {len(outlooks)} people",
            started=started,
            began=minute(started.created_at),
            is_running=invitations.is_running(started, at=now),
            operation_url=admin_url(started.operation) if started.operation else "",
            made=sum(one.fate is Fate.MADE for one in outlooks),
            missing=sum(one.fate in invitations.IS_MADE for one in outlooks),
            others=[Shown(one) for one in outlooks if one.fate in NOT_MADE],
            back_url=_many_url(),
        )

    def go_on_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        started = self._own_list(request, pk)
        if started is None:
            return _gone(request)
        invitations.go_on(
            actor=actor(request), inviter=person(request), started=started, at=timezone.now()
        )
        assert started.operation is not None
        return redirect(admin_url(started.operation))

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The links, once: the list is gone with this answer."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        started = self._own_list(request, pk)
        if started is None:
            return _gone(request)
        content = invitations.hand_out(actor=actor(request), started=started, at=timezone.now())
        return attachment(content, filename="enrolment-links.csv", media_type="text/csv")

    def _own_list(self, request: HttpRequest, pk: int) -> InvitationList | None:
        """One's own alone, whatever rights one has: what it leads to are other people's keys."""
        if not may_invite_many(person(request)):
            raise PermissionDenied
        found: InvitationList | None = _lists_of(request).filter(pk=pk).first()
        return found


def _lists_of(request: HttpRequest) -> Any:
    since = timezone.now() - invitations.KEPT
    rows = InvitationList.objects.filter(actor=actor(request), created_at__gt=since)
    return rows.select_related("operation")


def _gone(request: HttpRequest) -> HttpResponse:
    """The same for a list that never was, one that is gone, and one of somebody else."""
    messages.warning(
        request,
        "These links are handed out, or too old. If they are lost, add the same people again: they "
        "get new links, and the old ones end.",
    )
    return redirect(_many_url())


def _many_url() -> str:
    return reverse("admin:pki_user_many")
