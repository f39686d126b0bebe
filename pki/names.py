"""What a certificate calls its bearer: subject and alternative names, from our rows alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID
from django.conf import settings

from pki import addresses, lint
from pki.errors import ProfileError
from pki.models import LONGEST_DEVICE, User
from pki.profiles import Names as ProfileNames
from pki.profiles import Profile

Names = tuple[x509.Name, tuple[x509.GeneralName, ...]]
NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def names_of(
    profile: Profile, *, owner: User | None, common_name: str = "", hosts: Sequence[str] = ()
) -> Names:
    """Subject and subjectAltName: a person's from their account, a server's from its hosts (its
    common name defaults to the first), a CA's and a responder's from `common_name`.

    Refuses (ProfileError) what does not fit the profile, a disabled account, and text that cannot
    stand in a certificate.
    """
    _refuse_misfits(profile, owner, common_name, hosts)
    try:
        if owner is not None:
            return _person(profile, owner)
        if profile.is_for_servers:
            return _subject(common_name or hosts[0]), tuple(map(_host, hosts))
        return _subject(common_name), ()
    except ValueError as error:
        raise ProfileError(f"This name cannot be certified: {error}.") from None


def server_hosts() -> list[str]:
    """The names of this deployment; localhost also answers at its two addresses."""
    return addresses.with_loopback(settings.SIGNET_HOSTS)


def clean_device(device: str) -> str:
    """The name of a device, without spaces around it and with single ones in it.

    Refuses (ProfileError) one that is empty, too long or has invisible characters.
    """
    cleaned = " ".join(device.split())
    if not 0 < len(cleaned) <= LONGEST_DEVICE or not lint.is_plain_text(cleaned):
        raise ProfileError(
            f"Name the device in 1 to {LONGEST_DEVICE} visible characters, for example: laptop."
        )
    return cleaned


def _refuse_misfits(
    profile: Profile, owner: User | None, common_name: str, hosts: Sequence[str]
) -> None:
    if (owner is not None) != profile.is_for_people:
        raise ProfileError(
            f"Profile {profile.name!r} is for a person: say for whom."
            if profile.is_for_people
            else f"Profile {profile.name!r} is for no person. "
            "People, and only people, get certificates that sign them in."
        )
    if owner is not None and not owner.is_active:
        raise ProfileError(f"The account of {owner} is disabled, so it gets no certificate.")
    if bool(hosts) != profile.is_for_servers:
        raise ProfileError("Servers, and only servers, get certificates that name hosts.")
    if common_name and profile.is_for_people:
        raise ProfileError("A person's certificate carries their username.")
    if profile.is_ca and not common_name:
        raise ProfileError("A CA needs a name.")
    if profile.is_for_responders and not common_name:
        raise ProfileError("An OCSP responder needs a name.")


def _person(profile: Profile, owner: User) -> Names:
    """The e-mail address goes where RFC 5280, 4.2.1.6 wants it. Who has none gets their own name
    again as a directoryName: it is true, and verifiers that ask for some name there take it."""
    subject = _subject(owner.username)
    if profile.names is ProfileNames.NONE:
        return subject, ()
    if owner.email:
        return subject, (x509.RFC822Name(owner.email),)
    if profile.names is ProfileNames.EMAIL:
        raise ProfileError(
            f"Profile {profile.name!r} needs an e-mail address, and {owner} has none. Add it first."
        )
    return subject, (x509.DirectoryName(subject),)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _domain(host)
    if getattr(address, "scope_id", None):
        raise ValueError(f"{host!r} is an address of one machine's own link")
    return x509.IPAddress(address)


def _domain(host: str) -> x509.DNSName:
    """What ends in a number is an address to browsers (WHATWG URL, 3.5): 0x7f.1 is 127.0.0.1."""
    if NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        raise ValueError(f"{host!r} is neither a name nor an address; write it as 192.0.2.1")
    return x509.DNSName(host)
