"""What everybody may install: the roots that this organisation's servers and people hang below."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from pki import bundles, truststore
from pki.bundles import Bundle, Format
from pki.errors import RequestError
from pki.requests import open_to_all

# Programs that ask for a password of public certificates get the one that Java's own store has.
PASSWORD = "changeit"  # noqa: S105 (it keeps nothing secret)
LABELS = {
    Format.PEM: "PEM, for OpenSSL, curl and Linux",
    Format.DER: "DER, for Windows and Android",
    Format.P7B: "PKCS #7, for Windows",
    Format.MOBILECONFIG: "Profile for iPhone, iPad and Mac",
    Format.JAVA: "Java key store",
    Format.PKCS12: "PKCS #12",
    Format.HASHED_DIR: "Hashed names, for OpenSSL directories",
    Format.NSS: "NSS database, for Firefox and Chromium on Linux",
}


class Offer(TypedDict):
    url: str
    label: str
    password: str


def offered(*, at: dt.datetime) -> list[Offer]:
    """The formats that there are, for a page; none without a root."""
    roots = truststore.public_roots(at=at)
    return [
        Offer(
            url=reverse("truststore_download", args=[format.value]),
            label=label,
            password=PASSWORD if format.has_password else "",
        )
        for format, label in LABELS.items()
        if roots and bundles.is_available(format) and not _is_too_small(format, len(roots))
    ]


@open_to_all
@require_safe
def download(request: HttpRequest, format: str) -> HttpResponse:
    roots = truststore.public_roots(at=timezone.now())
    if format not in list(Format) or not roots:
        raise Http404
    try:
        ders = tuple(root.public_bytes(Encoding.DER) for root in roots)
        bundle = _pack(ders, Format(format))
    except RequestError:  # several in DER, or a program that this machine lacks
        raise Http404 from None
    response = HttpResponse(bundle.content, content_type=bundle.media_type)
    response["Content-Disposition"] = f'attachment; filename="{bundle.filename}"'
    return response


def _is_too_small(format: Format, count: int) -> bool:
    return format is Format.DER and count > 1


@lru_cache(maxsize=2 * len(Format))
def _pack(ders: tuple[bytes, ...], format: Format) -> Bundle:
    """Once for the same roots: anybody may ask, and some formats start a program."""
    return bundles.pack(
        [x509.load_der_x509_certificate(der) for der in ders],
        format=format,
        name=truststore.PUBLIC_NAME,
        password=PASSWORD,
    )
