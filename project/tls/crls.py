"""CRLs at the handshake of `required` endpoints, at a cost that does not grow with them.

OpenSSL verifies the signature of a CRL, so reads all of it, at every handshake that may see it. So
that only those pay for it who are in it, a client's certificate is looked up first, as it arrives:

  1. a certificate that is certainly not revoked, by CRLs whose signatures were verified when they
     were read, goes on with a context that trusts the same CAs and has no CRLs;
  2. every other one, be it in a CRL or merely odd, goes on with one that has them all. OpenSSL
     judges as if the look-up did not exist, and sends its own alert;
  3. a connection that was not looked up trusts nobody.

The look-up needs the hook of `overheard`, and CRL checks in the store of a context instead of in
the flags of a connection, which are fixed before the client has said a word. Where Python does not
let us have both, `SCREENS` is False, and every handshake carries all CRLs.
"""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from pki.description import UNREADABLE
from project.tls import openssl, overheard

SCREENS = openssl.IS_IN_REACH and overheard.HOOK is not None
HARMLESS = {x509.CRLNumber.oid, x509.AuthorityKeyIdentifier.oid, x509.FreshestCRL.oid}

Name = tuple[bytes, bytes]  # a CA as its certificates point at it: subject, key identifier


class Snapshot(Protocol):
    """What is asked of a trust store (`pki.truststore.Snapshot`); DER throughout."""

    @property
    def anchors(self) -> tuple[bytes, ...]: ...
    @property
    def intermediates(self) -> tuple[bytes, ...]: ...
    @property
    def crls(self) -> tuple[bytes, ...]: ...


# --- Contexts -------------------------------------------------------------------------------


def trust(context: ssl.SSLContext, snapshot: Snapshot) -> None:
    """Let a context trust the CAs. Intermediates too: some clients send their own certificate
    alone. They are no anchors, because partial chains stay forbidden."""
    certificates = (*snapshot.anchors, *snapshot.intermediates)
    if certificates:
        context.load_verify_locations(cadata=b"".join(certificates))


def load(context: ssl.SSLContext, snapshot: Snapshot) -> None:
    """Let a context know the CRLs. Whether it looks at them, flags decide."""
    if snapshot.crls:
        with tempfile.NamedTemporaryFile(prefix="signet-", suffix=".crl") as file:
            file.write(b"".join(map(_crl_pem, snapshot.crls)))
            file.flush()
            context.load_verify_locations(cafile=file.name)


def _crl_pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "X509 CRL").encode()


class Screen:
    """Looks up the certificates of clients; made once for each state of a trust store."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._lists = [_listed(der) for der in snapshot.crls]
        self._sound = dict(_sound(snapshot, self._lists))
        self._lenient, self._strict = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in "12")
        for context in (self._lenient, self._strict):
            trust(context, snapshot)
        load(self._strict, snapshot)
        openssl.check_crls(self._strict)

    def watch(self, context: ssl.SSLContext) -> None:
        """Look up every client of a context, which must trust nobody itself."""
        overheard.listen(context, then=self._hand_on)

    def _hand_on(self, tls: ssl.SSLObject, leaf: bytes | None) -> None:
        is_clear = leaf is not None and self.is_clear(leaf, at=dt.datetime.now(dt.UTC))
        tls.context = self._lenient if is_clear else self._strict

    def is_clear(self, der: bytes, *, at: dt.datetime) -> bool:
        """Whether CRLs have nothing to say about a certificate; False in every doubt."""
        try:
            leaf = x509.load_der_x509_certificate(der)
            issuer = self._sound.get(_issuer(leaf))
            serial = leaf.serial_number
        except (*UNREADABLE, x509.ExtensionNotFound):
            return False
        if issuer is None or not _is_signed_by_one(leaf, issuer.authorities):
            return False
        return all(one.begin <= at < one.end and serial not in one.serials for one in issuer.lists)


def screen(snapshot: Snapshot) -> Screen:
    """The Screen of a trust store; the same one for as long as the store stays as it is."""
    state = (snapshot.anchors, snapshot.intermediates, snapshot.crls)
    found = _screens.get(state)
    if found is None:
        found = _screens[state] = Screen(snapshot)
    return found


_screens: WeakValueDictionary[tuple[tuple[bytes, ...], ...], Screen] = WeakValueDictionary()


# --- CRLs -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Listed:
    """A CRL, read once. `is_whole`: neither a delta nor a part, and all of it is understood."""

    crl: x509.CertificateRevocationList
    serials: frozenset[int]
    begin: dt.datetime
    end: dt.datetime
    is_whole: bool

    @classmethod
    def read(cls, der: bytes) -> Listed:
        crl = x509.load_der_x509_crl(der)
        begin = crl.last_update_utc
        try:
            is_whole = all(each.oid in HARMLESS for each in crl.extensions)
        except UNREADABLE:
            is_whole = False
        serials = frozenset(entry.serial_number for entry in crl)
        return cls(crl, serials, begin, crl.next_update_utc or begin, is_whole)

    def is_of(self, authority: x509.Certificate) -> bool:
        if self.crl.issuer != authority.subject or not self.is_whole:
            return False
        try:
            return self.crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
        except (InvalidSignature, *UNREADABLE):
            return False


_lists: WeakValueDictionary[bytes, Listed] = WeakValueDictionary()


def _listed(der: bytes) -> Listed:
    found = _lists.get(der)
    if found is None:
        found = _lists[der] = Listed.read(der)
    return found


@dataclass(frozen=True)
class Sound:
    """The CAs of one name whose certificates can be looked up, with the CRLs that have to be in force
    for them: their own, and that of every level above."""

    authorities: tuple[x509.Certificate, ...]
    lists: tuple[Listed, ...]


def _sound(snapshot: Snapshot, lists: list[Listed]) -> Iterable[tuple[Name, Sound]]:
    authorities: dict[Name, list[x509.Certificate]] = {}
    for der in (*snapshot.anchors, *snapshot.intermediates):
        authority = x509.load_der_x509_certificate(der)
        try:
            authorities.setdefault(_subject(authority), []).append(authority)
        except (*UNREADABLE, x509.ExtensionNotFound):
            continue
    for name in authorities:
        found = _lists_above(name, authorities, lists, depth=len(authorities))
        if found:
            yield name, Sound(tuple(authorities[name]), found)


def _lists_above(
    name: Name, authorities: dict[Name, list[x509.Certificate]], lists: list[Listed], depth: int
) -> tuple[Listed, ...]:
    """Empty where any of them is missing or lists one of these CAs."""
    found: list[Listed] = []
    for authority in authorities.get(name, []):
        own = [one for one in lists if one.is_of(authority)]
        is_root = authority.issuer == authority.subject
        above = own if is_root else _above(authority, authorities, lists, depth)
        if not own or not above or any(authority.serial_number in one.serials for one in above):
            return ()
        found += [*own, *above]
    return tuple(dict.fromkeys(found))


def _above(
    authority: x509.Certificate,
    authorities: dict[Name, list[x509.Certificate]],
    lists: list[Listed],
    depth: int,
) -> tuple[Listed, ...]:
    try:
        issuer = _issuer(authority)
    except (*UNREADABLE, x509.ExtensionNotFound):
        return ()
    return _lists_above(issuer, authorities, lists, depth - 1) if depth > 0 else ()


def _is_signed_by_one(leaf: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bool:
    """A name can be borrowed. OpenSSL would find its owner among what the client sent, and might
    come to an anchor by a CA that was revoked."""
    return any(_is_signed_by(leaf, authority) for authority in authorities)


def _is_signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _subject(certificate: x509.Certificate) -> Name:
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return certificate.subject.public_bytes(), own.digest


def _issuer(certificate: x509.Certificate) -> Name:
    extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    return certificate.issuer.public_bytes(), extension.value.key_identifier or b""
