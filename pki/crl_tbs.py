"""What stands in a CRL: contents in, unsigned CRL out, and back. No database, no key, no clock."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509

from pki import tbs

UNSPECIFIED = "unspecified"
REMOVED = "removeFromCRL"
ENTRIES_KEPT = 2**15


class Entry(NamedTuple):
    """One line of a CRL. `at` is in whole seconds; `reason` is its name in RFC 5280, 5.3.1."""

    serial: int
    at: dt.datetime
    reason: str


@dataclass(frozen=True)
class Contents:
    """All that one CRL says. `base_number` makes it a delta CRL, `points` one of a partition."""

    issuer: x509.Certificate
    number: int
    this_update: dt.datetime
    next_update: dt.datetime
    entries: list[Entry] = field(repr=False)
    base_number: int | None = None
    points: tuple[str, ...] = ()
    freshest: str = ""


def build(contents: Contents, entries: Iterable[Entry]) -> x509.CertificateRevocationListBuilder:
    """The CRL that is to be signed, with these entries.

    All of them at once, by the constructor: adding them one by one takes quadratic time.
    """
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=[_line(*e) for e in entries])
        .issuer_name(contents.issuer.subject)
        .last_update(contents.this_update)
        .next_update(contents.next_update)
    )
    for extension, is_critical in extensions(contents):
        builder = builder.add_extension(extension, critical=is_critical)
    return builder


def extensions(contents: Contents) -> list[tuple[x509.ExtensionType, bool]]:
    """Extensions and whether each is critical, as RFC 5280, 5.2 wants them."""
    key_id = tbs.key_identifier(contents.issuer)
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), False),
        (x509.CRLNumber(contents.number), False),
    ]
    if contents.base_number is not None:
        found.append((x509.DeltaCRLIndicator(contents.base_number), True))
    if contents.points:
        found.append((partition_extension(contents.points), True))
    if contents.freshest:
        point = x509.DistributionPoint([_uri(contents.freshest)], None, None, None)
        found.append((x509.FreshestCRL([point]), False))
    return found


def read(der: bytes) -> dict[int, Entry]:
    """The entries of a CRL of ours, by serial number."""
    crl = x509.load_der_x509_crl(der)
    return {
        line.serial_number: Entry(line.serial_number, line.revocation_date_utc, _reason(line))
        for line in crl
    }


def points(der: bytes) -> tuple[str, ...]:
    """The addresses in the issuing distribution point of a CRL of ours."""
    found = x509.load_der_x509_crl(der).extensions
    value = found.get_extension_for_class(x509.IssuingDistributionPoint).value
    return tuple(name.value for name in value.full_name or [])


def partition_in(certificate: bytes, slug: str) -> int:
    """Which partition of the CA's CRLs a certificate names; 0 for the CRL of everything."""
    found = x509.load_der_x509_certificate(certificate).extensions
    try:
        value = found.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return 0
    urls = [str(name.value) for point in value for name in point.full_name or []]
    numbers = [re.search(rf"/crl/{re.escape(slug)}-([1-9][0-9]*)\.crl\Z", url) for url in urls]
    return next((int(number[1]) for number in numbers if number), 0)


def changes(
    *,
    base: Mapping[int, Entry],
    before: Mapping[int, Entry],
    now: Mapping[int, Entry],
    since: dt.datetime,
    at: dt.datetime,
) -> list[Entry]:
    """The entries of a delta CRL: what turns `base`, or any full CRL since, into `now`.

    `before` is the delta CRL before this one. What it lists and is gone now was on some full CRL
    after the base, so it is removed as well (RFC 5280, 5.2.4); a removal older than the base is
    forgotten, because no full CRL `since` lists it. A removal is dated when it was first shown.
    """
    added = [entry for serial, entry in now.items() if base.get(serial) != entry]
    gone = [serial for serial in {**base, **before} if serial not in now]
    removed = [_removal(before.get(serial), serial, at) for serial in gone]
    return added + [one for one in removed if one.serial in base or one.at >= since]


def _removal(known: Entry | None, serial: int, at: dt.datetime) -> Entry:
    return known if known and known.reason == REMOVED else Entry(serial, at, REMOVED)


@lru_cache(maxsize=ENTRIES_KEPT)
def _line(serial: int, at: dt.datetime, reason: str) -> x509.RevokedCertificate:
    """RFC 5280, 5.3.1: no reason is not written as a reason. Kept, because the next CRL says it
    again, and making twenty thousand takes longer than signing them."""
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
    if reason != UNSPECIFIED:
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), critical=False)
    return builder.build()


def _reason(line: x509.RevokedCertificate) -> str:
    for extension in line.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return extension.value.reason.value
    return UNSPECIFIED


def partition_extension(urls: Iterable[str]) -> x509.IssuingDistributionPoint:
    """RFC 5280, 5.2.5: which certificates it speaks of, by the address they name."""
    return x509.IssuingDistributionPoint(
        full_name=[_uri(url) for url in urls],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)
