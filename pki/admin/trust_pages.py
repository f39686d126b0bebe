"""Pages of a trust store through which something comes from elsewhere, or leaves."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from pki import adoption, bundles, files, handout, imports, permissions, truststore
from pki.admin.base import (
    PRIMARY,
    ReadOnlyAdmin,
    actor,
    button,
    person,
    posted,
    refusals_of,
)
from pki.admin.columns import attachment, day_with_distance
from pki.admin.truststore_forms import AdoptForm, ConfirmForm, CRLForm, ExportForm, ImportForm
from pki.bundles import Format
from pki.description import colons
from pki.imports import Fate, Found
from pki.models import TrustStore

BELOW = (
    "Endpoints that use this store then finish the handshake with every certificate below this "
    "root, whoever asked for it. Of the root of a public CA that is the whole world. Nobody signs "
    "in by that alone: people are known by certificates that were issued or adopted here, unless "
    "the store recognises them by a name."
)
FATES = {
    Fate.ANCHOR: "will be trusted as a root",
    Fate.INTERMEDIATE: "will be known as a CA below a root",
    Fate.KNOWN: "is here already",
    Fate.REFUSED: "cannot be trusted",
}
FORMATS = {
    Format.PEM: "PEM (OpenSSL, curl, Linux)",
    Format.DER: "DER (one root)",
    Format.P7B: "PKCS #7 (Windows)",
    Format.PKCS12: "PKCS #12 (Windows, OpenSSL)",
    Format.JAVA: "Java (keytool)",
    Format.HASHED_DIR: "Hashed names (.tar.gz)",
    Format.NSS: "NSS database (.zip)",
    Format.MOBILECONFIG: "Apple profile",
}


class TrustPages(ReadOnlyAdmin):
    """`_changeable` and `_receiving` find the store, for whoever may change what it trusts."""

    def has_trust_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("pki.change_truststore")

    def has_recognition_permission(self, request: HttpRequest) -> bool:
        """Who says which certificates from elsewhere sign in does as much as issue them."""
        return self.has_trust_permission(request) and permissions.may_issue(person(request))

    def _changeable(self, request: HttpRequest, object_id: str) -> TrustStore:
        store: TrustStore = self.found(request, object_id)
        if not self.has_trust_permission(request):
            raise PermissionDenied
        return store

    def _receiving(self, request: HttpRequest, object_id: str) -> TrustStore:
        """A root in a store that recognises people makes people."""
        store = self._changeable(request, object_id)
        nobody = store.recognises == TrustStore.Recognises.NOBODY
        if not nobody and not self.has_recognition_permission(request):
            raise PermissionDenied
        return store

    # --- In ---

    @button("Add anchor", icon="add_moderator", variant=PRIMARY)
    def add_anchor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store = self._receiving(request, object_id)
        if "certificates" in request.POST:
            return self._import(request, store)
        form = ImportForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form):
                authority = form.cleaned_data["authority"]
                if authority is None:
                    return self._ask(request, store, _found(form, store))
                anchor = truststore.add_anchor(
                    actor=actor(request), truststore=store, authority=authority, at=timezone.now()
                )
                messages.success(request, f"{store} trusts {anchor} now.")
                return redirect(self.url_of(store))
        return self._form(request, store, form, "Add a trust anchor", "Go on", intro=BELOW)

    def _ask(self, request: HttpRequest, store: TrustStore, found: list[Found]) -> HttpResponse:
        form = ConfirmForm(initial={"certificates": _pem(found)})
        return self._confirmation(request, store, form, found)

    def _import(self, request: HttpRequest, store: TrustStore) -> HttpResponse:
        form, found = ConfirmForm(request.POST), []
        with refusals_of(form):
            certificates = bundles.read(request.POST["certificates"].encode())
            found = imports.look_through(certificates, store=store, at=timezone.now())
            if form.is_valid():
                chosen = set(form.cleaned_data["chosen"])
                done = imports.import_anchors(
                    actor=actor(request),
                    truststore=store,
                    certificates=[one.certificate for one in found if one.sha256 in chosen],
                    at=timezone.now(),
                )
                for anchor in done.anchors:
                    messages.success(request, f"{store} trusts {anchor} now.")
                for authority in done.intermediates:
                    messages.success(request, f"{authority} is known as a CA below.")
                return redirect(self.url_of(store))
        return self._confirmation(request, store, form, found)

    def _confirmation(
        self, request: HttpRequest, store: TrustStore, form: ConfirmForm, found: list[Found]
    ) -> HttpResponse:
        return self.page(
            request,
            "pki/console_import.html",
            title="Trust these?",
            obj=store,
            form=form,
            rows=[_row(one) for one in found],
            may_go_on=any(one.fate in (Fate.ANCHOR, Fate.INTERMEDIATE) for one in found),
            button_text="Trust what is marked",
            intro=BELOW,
        )

    @button("Import CRL", icon="playlist_add")
    def import_crl(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store = self._changeable(request, object_id)
        form = CRLForm(posted(request), request.FILES or None)
        if form.is_valid():
            with refusals_of(form, "file"):
                crl = files.read_revocation_list(form.content())
                done = imports.import_crl(actor=actor(request), crl=crl, at=timezone.now())
                messages.success(request, f"{done.crl} is here, with {done.crl.entries} entries.")
                for certificate in done.revoked:
                    messages.warning(request, f"{certificate} is revoked now.")
                return redirect(self.url_of(store))
        intro = (
            "Of a CA from elsewhere. It counts in every store that trusts the root above that CA, "
            "until a newer one is imported; fetch it again before it runs out."
        )
        return self._form(request, store, form, "Import a CRL", "Import", intro=intro)

    @button("Adopt certificate", icon="person_add")
    def adopt(self, request: HttpRequest, object_id: str) -> HttpResponse:
        store: TrustStore = self.found(request, object_id)
        if not permissions.may_issue(person(request)):
            raise PermissionDenied
        people = permissions.people_to_issue_for(person(request))
        form = AdoptForm(posted(request), request.FILES or None, people=people)
        if form.is_valid():
            with refusals_of(form):
                chain = files.read_certificates(form.content())
                adopted = adoption.adopt(
                    actor=actor(request),
                    chain=[one.public_bytes(Encoding.DER) for one in chain],
                    user=form.cleaned_data["owner"],
                    truststore=store,
                    device=form.cleaned_data["device"],
                    at=timezone.now(),
                )
                messages.success(request, f"{adopted.owner} signs in with {adopted} now.")
                return redirect(self.url_of(adopted))
        intro = (
            "A person then signs in with this very certificate of a CA that the store trusts, "
            "with all the rights of the person, until it is revoked here or in a CRL of that CA."
        )
        return self._form(request, store, form, "Adopt a certificate", "Adopt", intro=intro)

    def _form(
        self,
        request: HttpRequest,
        store: TrustStore,
        form: forms.Form,
        title: str,
        button_text: str,
        **context: Any,
    ) -> HttpResponse:
        return self.page(
            request,
            "pki/console_form.html",
            title=title,
            obj=store,
            form=form,
            multipart=True,
            button_text=button_text,
            **context,
        )

    # --- Out ---

    def export(self, request: HttpRequest, object_id: int, format: str) -> HttpResponse:
        """At once, or behind a page that shows the password first."""
        store: TrustStore = self.found(request, str(object_id))
        if format not in list(Format):
            raise Http404
        wanted = Format(format)
        initial = {"password": handout.make_password()}
        form = (
            ExportForm(posted(request), initial=initial) if wanted.has_password else forms.Form({})
        )
        if form.is_valid():
            with refusals_of(form):
                bundle = truststore.export(
                    store,
                    format=wanted,
                    at=timezone.now(),
                    password=form.cleaned_data.get("password"),
                )
                return attachment(
                    bundle.content, filename=bundle.filename, media_type=bundle.media_type
                )
        intro = "" if form.errors else "Write the password down: the file does not open without it."
        return self._form(
            request, store, form, FORMATS[wanted], "Download", intro=intro, is_download=True
        )


def exports_of(store: TrustStore) -> list[tuple[str, str]]:
    """The formats that this store and this machine can give, with their names on the page."""
    many = truststore.in_force(timezone.now()).filter(truststore=store).count() > 1
    return [
        (format.value, label)
        for format, label in FORMATS.items()
        if bundles.is_available(format) and not (many and format is Format.DER)
    ]


def _found(form: ImportForm, store: TrustStore) -> list[Found]:
    password = form.cleaned_data["password"] or None
    certificates = bundles.read(form.content(), password=password)
    return imports.look_through(certificates, store=store, at=timezone.now())


def _pem(found: list[Found]) -> str:
    return "".join(one.certificate.public_bytes(Encoding.PEM).decode() for one in found)


def _row(found: Found) -> dict[str, Any]:
    end = found.certificate.not_valid_after_utc
    return {
        "subject": found.subject,
        "sha256": found.sha256,
        "fingerprint": colons(found.sha256),
        "expires": day_with_distance(end, at=timezone.now()),
        "fate": FATES[found.fate],
        "reason": found.reason,
        "may_be_chosen": found.fate in (Fate.ANCHOR, Fate.INTERMEDIATE),
    }
