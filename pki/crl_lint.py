"""A CRL that is about to be signed, looked at once more before it is.

The twin is the same CRL signed by a key that is thrown away. Of a long one it carries one entry of
each shape, because pkilint takes a third of a millisecond an entry; our own rules look at every
entry. Each rule yields what is wrong; its name is the name of the finding.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import compliance, crl_tbs, lint, tbs
from pki.crl_tbs import REMOVED, Contents, Entry
from pki.errors import LintError

FEW = 20  # entries that are all shown to pkilint
LONGEST_LIFE = dt.timedelta(days=10)
CLOCK_TOLERANCE = dt.timedelta(minutes=5)
OCTETS = 20
REASONS = {flag.value for flag in x509.ReasonFlags} - {"aACompromise"}


@dataclass(frozen=True)
class Candidate:
    """A twin, what it is to say, and what the CRL before it said."""

    twin: x509.CertificateRevocationList
    contents: Contents
    is_partition: bool
    at: dt.datetime
    last_number: int = 0
    last_update: dt.datetime | None = None

    def extension(self, kind: type[x509.ExtensionType]) -> x509.Extension | None:
        try:
            return self.twin.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            return None


EntryRule = Callable[[Contents], Iterator[str]]
Rule = Callable[[Candidate], Iterator[str]]


def sign_twin(contents: Contents, *, algorithm: str) -> x509.CertificateRevocationList:
    """The CRL with a sample of its entries, signed by a throw-away key of the same kind."""
    builder = crl_tbs.build(contents, _sample(contents.entries))
    signed = cast(Any, lint.sign_twin)(builder, algorithm=algorithm)
    return cast(x509.CertificateRevocationList, signed)


def lint_entries(contents: Contents) -> None:
    """Refuse (LintError) a list of entries that could not even be written as a CRL."""
    _refuse([f"{rule.__name__}: {fault}" for rule in ENTRY_RULES for fault in rule(contents)])


def lint_crl(candidate: Candidate) -> None:
    """Refuse (LintError, every finding named) what breaks a rule."""
    _refuse([f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(candidate)])


# --- Rules over all entries -----------------------------------------------------------------


def crl_serials(contents: Contents) -> Iterator[str]:
    """RFC 5280, 4.1.2.2; each at most once."""
    serials = [entry.serial for entry in contents.entries]
    if len(set(serials)) != len(serials):
        yield "one is listed twice"
    if any(not 0 < serial < 2 ** (8 * OCTETS - 1) for serial in serials):
        yield f"must be positive and fit into {OCTETS} octets"


def crl_revocation_dates(contents: Contents) -> Iterator[str]:
    last = contents.this_update
    late = sum(entry.at > last for entry in contents.entries)
    if late:
        yield f"{late} after thisUpdate"


def crl_reasons(contents: Contents) -> Iterator[str]:
    """RFC 5280, 5.3.1: removeFromCRL stands in delta CRLs alone."""
    found = {entry.reason for entry in contents.entries}
    for reason in sorted(found - REASONS):
        yield f"{reason!r} is none"
    if REMOVED in found and contents.base_number is None:
        yield f"{REMOVED} has no place in a full CRL"


ENTRY_RULES: tuple[EntryRule, ...] = (crl_serials, crl_revocation_dates, crl_reasons)


# --- Rules over the twin --------------------------------------------------------------------


def crl_issuer(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.1.2.3 and 5.2.1."""
    issuer = candidate.contents.issuer
    if candidate.twin.issuer.public_bytes() != issuer.subject.public_bytes():
        yield "is not the name of the CA"
    extension = candidate.extension(x509.AuthorityKeyIdentifier)
    if extension is None or extension.critical:
        yield "its key identifier must be present and not critical"
    elif extension.value.key_identifier != tbs.key_identifier(issuer).digest:
        yield "its key identifier does not belong to the CA"


def crl_number(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.2.3: rises, and fits into 20 octets."""
    extension = candidate.extension(x509.CRLNumber)
    if extension is None or extension.critical:
        yield "must be present and not critical"
        return
    number = extension.value.crl_number
    if number <= candidate.last_number:
        yield f"{number} is not above the last, {candidate.last_number}"
    if not 0 < number < 2 ** (8 * OCTETS - 1):
        yield f"must be positive and fit into {OCTETS} octets"


def crl_dates(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.1.2.4 and 5.1.2.5. Times never run backwards, but from a last CRL that was signed
    while the clock was wrong."""
    begins, ends = candidate.twin.last_update_utc, candidate.twin.next_update_utc
    if ends is None or ends <= begins:
        yield "nextUpdate is not after thisUpdate"
    elif ends - begins > LONGEST_LIFE:
        yield f"is valid for more than {LONGEST_LIFE.days} days"
    last, soon = candidate.last_update, candidate.at + CLOCK_TOLERANCE
    if last and begins < last <= soon:
        yield "thisUpdate is before that of the last CRL"
    if begins > soon:
        yield "thisUpdate is in the future"


def crl_delta_indicator(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.2.4: critical, and after the CRL it builds upon."""
    extension, base = candidate.extension(x509.DeltaCRLIndicator), candidate.contents.base_number
    if base is None:
        if extension is not None:
            yield "has no place in a full CRL"
        return
    if extension is None or not extension.critical or extension.value.crl_number != base:
        yield "must be present, critical and name the base"
    if not 0 < base < candidate.contents.number:
        yield f"base {base} is not before it"


def crl_distribution_point(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.2.5: critical, by address alone, and in partitions alone."""
    extension = candidate.extension(x509.IssuingDistributionPoint)
    if not candidate.is_partition:
        if extension is not None:
            yield "has no place in the CRL of everything"
        return
    if extension is None or not extension.critical:
        yield "must be present and critical"
        return
    if extension.value != crl_tbs.partition_extension(candidate.contents.points):
        yield "must name the addresses of the partition and narrow nothing else"


def crl_freshest(candidate: Candidate) -> Iterator[str]:
    """RFC 5280, 5.2.6."""
    extension = candidate.extension(x509.FreshestCRL)
    if extension is not None and (extension.critical or candidate.contents.base_number is not None):
        yield "must not be critical, nor stand in a delta CRL"


def crl_extensions(candidate: Candidate) -> Iterator[str]:
    expected = {extension.oid for extension, _ in crl_tbs.extensions(candidate.contents)}
    for extension in candidate.twin.extensions:
        if extension.oid not in expected:
            yield f"{extension.oid.dotted_string} has no place here"


def crl_pkilint(candidate: Candidate) -> Iterator[str]:
    """Errors that pkilint finds; its own code names each."""
    yield from compliance.crl_findings(candidate.twin.public_bytes(Encoding.DER))


RULES: tuple[Rule, ...] = (
    crl_issuer,
    crl_number,
    crl_dates,
    crl_delta_indicator,
    crl_distribution_point,
    crl_freshest,
    crl_extensions,
    crl_pkilint,
)


def _refuse(findings: list[str]) -> None:
    if findings:
        raise LintError(findings)


def _sample(entries: list[Entry]) -> list[Entry]:
    """All of a few; of many, one for each reason and each way to write a date."""
    if len(entries) <= FEW:
        return entries
    return list({(entry.reason, entry.at.year < 2050): entry for entry in entries}.values())
