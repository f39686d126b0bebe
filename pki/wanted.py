"""One certificate as it is asked for: what can be said of it before it is compared with others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from pki import excess, keys, names
from pki.errors import ProfileError
from pki.models import Certificate, PrivateKey, User
from pki.profiles import Excess, Profile, Purpose
from pki.signatory import read


@dataclass(frozen=True)
class Wanted:
    """One certificate as it is asked for.

    Exactly one of `public_key`, `csr` and `key` (one of the server's own) says whose key it is. A
    person's certificate takes its names from `owner`, a server's from `hosts`
    (settings.SIGNET_HOSTS when there are none), a CA's and a responder's from `common_name`.

    `validity` shortens that of the profile. For CAs: `path_length` stands for the profile's,
    `name_constraints` bind what they sign, and `renews` is their certificate that gets a successor
    with the same name and key.
    """

    profile: str
    public_key: CertificatePublicKeyTypes | None = None
    csr: x509.CertificateSigningRequest | None = None
    key: PrivateKey | None = None
    owner: User | None = None
    device: str = ""
    common_name: str = ""
    hosts: Sequence[str] = ()
    path_length: int | None = None
    validity: dt.timedelta | None = None
    name_constraints: x509.NameConstraints | None = None
    renews: Certificate | None = None


def narrowed(kind: Profile, wanted: Wanted) -> Profile:
    """The profile with what was chosen for this certificate; refuses (ProfileError) to go beyond."""
    path_length, validity = wanted.path_length, wanted.validity
    if path_length is not None:
        kind = replace(kind, path_length=path_length)
    if validity is None:
        return kind
    if validity > kind.validity:
        raise ProfileError(
            f"Profile {kind.name!r} admits {kind.validity.days} days, and no more than that."
        )
    return replace(kind, validity=validity)


def refuse_misfits(kind: Profile, wanted: Wanted, *, signs_itself: bool) -> None:
    """Refuse (ProfileError) what this kind of certificate cannot have, or not from this signer."""
    if signs_itself != (kind.purpose is Purpose.ROOT):
        raise ProfileError("A root signs itself, and everything else is signed by a CA.")
    if wanted.name_constraints is not None and not kind.is_ca:
        raise ProfileError("Name constraints are for CAs.")
    if wanted.renews is not None and not kind.is_ca:
        raise ProfileError("Only a CA is renewed with its own key in place.")


def certified_key(wanted: Wanted) -> CertificatePublicKeyTypes:
    """Whose key it is; refuses none and several (ProfileError), and what `excess.certified_key` and
    `keys.public_key` refuse."""
    public, csr, key = wanted.public_key, wanted.csr, wanted.key
    if sum(source is not None for source in (public, csr, key)) != 1:
        raise ProfileError("Give one key: a public key, a request, or a key that is kept here.")
    if csr is not None:
        return excess.certified_key(csr)
    return keys.public_key(key) if key is not None else public  # type: ignore[return-value]


def names_for(wanted: Wanted, kind: Profile) -> names.Names:
    """Subject and alternative names; refuses what `names.names_of` refuses."""
    if wanted.renews:  # as it was, byte for byte: what this CA signed must go on finding it
        return read(bytes(wanted.renews.der)).subject, ()
    hosts = wanted.hosts
    if kind.is_for_servers and not hosts:
        hosts = names.server_hosts()
    return names.names_of(kind, owner=wanted.owner, common_name=wanted.common_name, hosts=hosts)


def differences(wanted: Wanted, kind: Profile, given: names.Names) -> tuple[str, ...]:
    """What a CSR asks for and does not get, in sentences; refuses it (ProfileError) where the profile
    does."""
    csr, (subject, alternatives) = wanted.csr, given
    if csr is None:
        return ()
    found = excess.differences(csr, profile=kind, subject=subject, names=alternatives)
    if found and kind.excess is Excess.REFUSE:
        raise ProfileError(
            f"Profile {kind.name!r} refuses requests that ask for more than it gives. "
            + " ".join(found)
        )
    return tuple(found)
