"""Who signs: whether a CA may, with which key, and what its certificates say about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from cryptography import x509

from pki import addresses, tbs
from pki.crl_publication import Scope, file_name
from pki.description import partition_of
from pki.errors import AuthorityError, ProfileError
from pki.models import Certificate, CertificateAuthority, PrivateKey
from pki.profiles import Profile
from pki.querysets import moment, rows_of

Standing = tuple[str, Certificate.Status, dt.datetime | None]
# Asked whenever something is signed, so written out (`querysets.rows_of`).
STANDING = f"""
    SELECT a.id, a.name, a.retired_at, c.revoked_at, c.not_before, c.not_after
    FROM {CertificateAuthority._meta.db_table} a
    JOIN {Certificate._meta.db_table} c ON c.id = a.certificate_id WHERE a.id IN ({{}})
"""  # noqa: S608 (names of tables are constants)


class Signatory:
    """A CA at one moment, or nobody, where roots sign themselves.

    The database is asked once, when something is first wanted of it: what changes after that is
    seen by a Signatory made later.
    """

    def __init__(self, authority: CertificateAuthority | None, *, at: dt.datetime) -> None:
        self.authority, self.at = authority, at
        self.parents = _parents(authority) if authority else []

    def require(self, *, is_for_responder: bool = False) -> None:
        """Refuse (AuthorityError) a CA that is retired, revoked or expired, or stands below one
        that is revoked or expired.

        A retired CA still certifies its OCSP responder: what it signed before is asked about.
        """
        if self.authority is None:
            return
        for level in (self.authority, *self.parents):
            name, status, _ = self._standing[level.pk]
            if status is not Certificate.Status.VALID:
                raise AuthorityError(f"{name} cannot sign: its certificate is {status.value}.")
        retired_at = self._standing[self.authority.pk][2]
        if retired_at is not None and retired_at <= self.at and not is_for_responder:
            raise AuthorityError(f"{self.authority} is retired: it issues nothing more.")

    def key_for(self, kind: Profile, own: PrivateKey | None) -> PrivateKey:
        """The key that signs a certificate of this kind; `own` is that of a root to be.

        Refuses what `require` refuses, a CA whose key is elsewhere (AuthorityError), and a root
        without a key (ProfileError).
        """
        if self.authority is None:
            if own is None:
                raise ProfileError("A root needs a key that is kept here.")
            return own
        self.require(is_for_responder=kind.is_for_responders)
        if self.authority.certificate.key is None:
            raise AuthorityError(f"{self.authority} cannot sign: its key is not kept here.")
        return self.authority.certificate.key

    def issuer(self, serial: int) -> tbs.Issuer | None:
        """What the certificate with this serial number says of the CA; None for a root."""
        if self.authority is None or self.certificate is None:
            return None
        scope = Scope(partition=partition_of(serial, self.authority.crl_partitions))
        return tbs.Issuer(
            certificate=self.certificate,
            crl_url=f"{self._public}/crl/{file_name(self.authority, scope)}",
            ocsp_url=f"{self._public}/ocsp/{self.authority.slug}/",
            certificate_url=f"{self._public}/ca/{self.authority.slug}.cer",
        )

    @cached_property
    def certificate(self) -> x509.Certificate | None:
        return read(bytes(self.authority.certificate.der)) if self.authority else None

    @cached_property
    def above(self) -> tuple[x509.Certificate, ...]:
        """The certificates of the CAs above the one that signs."""
        return tuple(read(bytes(parent.certificate.der)) for parent in self.parents)

    @cached_property
    def _public(self) -> str:
        return addresses.url("public", "")

    @cached_property
    def _standing(self) -> dict[int, Standing]:
        """Name, status and retirement of this CA and those above, as they are in the database."""
        levels = [level.pk for level in (self.authority, *self.parents) if level]
        found = rows_of(STANDING.format(", ".join(["%s"] * len(levels))), *levels)
        return {
            pk: (name, _status(times, self.at), moment(retired))
            for pk, name, retired, *times in found
        }


@lru_cache(maxsize=256)
def read(der: bytes) -> x509.Certificate:
    """The few certificates of CAs are read again and again."""
    return x509.load_der_x509_certificate(der)


def _parents(authority: CertificateAuthority) -> list[CertificateAuthority]:
    above, level = [], authority.parent
    while level is not None:
        above.append(level)
        level = level.parent
    return above


def _status(times: Sequence[Any], at: dt.datetime) -> Certificate.Status:
    fields = zip(("revoked_at", "not_before", "not_after"), map(moment, times), strict=True)
    return Certificate(**dict(fields)).status_at(at)
