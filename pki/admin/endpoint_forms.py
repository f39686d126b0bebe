"""Forms of endpoints and their server certificates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from pki import endpoints
from pki.admin.authority_forms import IdentityForm
from pki.admin.forms import ALGORITHMS, text
from pki.algorithms import DEFAULT
from pki.forms import ShownForm
from pki.lockouts import Change, Visitor
from pki.models import Certificate, Endpoint

BESIDE = (
    "Then it is for its own host names, or another kind of key for the same ones. Otherwise it "
    "takes the place of the one that is served now."
)


class HostsForm(forms.Form):
    """The names of a server's new certificate."""

    hosts = forms.CharField(
        label="Host names and addresses",
        max_length=500,
        widget=text(spellcheck="false", autocomplete="off"),
        help_text="Separated by commas; the first is the certificate's subject.",
    )
    algorithm = forms.ChoiceField(
        label="Key",
        choices=list(ALGORITHMS.items()),
        initial=DEFAULT,
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="RSA only beside another one, for clients that know nothing else.",
    )
    beside = forms.BooleanField(
        label="Beside the certificate that is served now",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=BESIDE,
    )

    def clean_algorithm(self) -> str:
        return str(self.cleaned_data["algorithm"] or DEFAULT)

    def clean_hosts(self) -> list[str]:
        hosts = [part.strip().lower() for part in self.cleaned_data["hosts"].split(",")]
        return list(dict.fromkeys(host for host in hosts if host))


class ServerCertificateForm(IdentityForm):
    """A server's; the root is asked for too, because every CA here hangs below one."""

    field_order = ("file", "password", "chain", "beside")

    beside = forms.BooleanField(
        label="Beside the certificate that is served now",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=BESIDE,
    )


class EndpointForm(ShownForm):
    """An endpoint that the server can open; sentences instead of broken constraints.

    `visitor` is who fills it in: nobody may lock themselves out.
    """

    visitor: Visitor | None = None

    class Meta:
        model = Endpoint
        fields: Sequence[str] = [
            *("name", "serves", "address", "port", "enabled"),
            *("tls", "certificate", "further_certificates", "policy", "plain_anyway"),
            *("client_certificate", "truststore"),
            *("max_connections", "max_per_address", "handshake_seconds"),
            *("proxy", "proxy_addresses"),
        ]
        labels = {"truststore": "Trust store"}
        help_texts: Mapping[str, str] = {
            "enabled": "To delete an endpoint, switch it off first and save; then Delete appears.",
            "max_connections": f"At least {endpoints.LEAST_CONNECTIONS}, in each process.",
            "max_per_address": f"At least {endpoints.LEAST_PER_ADDRESS}.",
        }
        widgets = {
            "further_certificates": UnfoldAdminCheckboxSelectMultipleWidget(),
            "proxy_addresses": UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            for field, sentence in endpoints.objections(
                self._change(cleaned), visitor=self.visitor, probe=True
            ):
                self.add_error(field, sentence)
        return cleaned

    def _change(self, cleaned: dict[str, Any]) -> Change:
        before = Endpoint.objects.filter(pk=self.instance.pk).first()
        after = copy.copy(before or Endpoint())
        for name in cleaned.keys() & endpoints.COLUMNS:
            setattr(after, name, cleaned[name])
        return Change(before, after, self._new(before, cleaned), timezone.now())

    def _new(self, before: Endpoint | None, cleaned: dict[str, Any]) -> list[Certificate]:
        old = set(before.further_certificates.all()) if before else set()
        return [one for one in cleaned.get(endpoints.FURTHER, ()) if one not in old]
