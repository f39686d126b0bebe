"""Name constraints of CAs (RFC 5280, 4.2.1.10): sound ones, and which names they leave.

DNS names, e-mail addresses, IP networks and directory names; no URIs, which are in no profile.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from cryptography import x509

KINDS = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.DirectoryName)
HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\Z")
LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}\Z")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def faults(constraints: x509.NameConstraints) -> Iterator[str]:
    """What is wrong with the name constraints of a CA to be."""
    subtrees = list(_subtrees(constraints))
    if not subtrees:
        yield "neither permit nor exclude anything"
    for name in subtrees:
        if not isinstance(name, KINDS):
            yield f"{type(name).__name__} cannot be constrained here"
        elif isinstance(name, x509.DNSName) and not HOST.match(name.value):
            yield f"{name.value!r} is not a domain in small letters, without a dot before it"
        elif isinstance(name, x509.RFC822Name) and not _is_mail_subtree(name.value):
            yield f"{name.value!r} is not an address, a host, or a domain with a dot before it"
        elif isinstance(name, x509.IPAddress) and not isinstance(name.value, Network):
            yield f"{name.value} is an address, not a network"


def beyond(
    constraints: x509.NameConstraints, *, subject: x509.Name, names: Iterable[x509.GeneralName]
) -> Iterator[str]:
    """The names that a CA with these constraints may not give, a sentence part each."""
    for name in [x509.DirectoryName(subject), *names]:
        if any(_covers(tree, name) for tree in constraints.excluded_subtrees or ()):
            yield f"{_words(name)} is excluded by the name constraints of the CA"
        permitted = [t for t in constraints.permitted_subtrees or () if type(t) is type(name)]
        if permitted and not any(_covers(tree, name) for tree in permitted):
            yield f"{_words(name)} is not permitted by the name constraints of the CA"


def _subtrees(constraints: x509.NameConstraints) -> Iterator[x509.GeneralName]:
    yield from constraints.permitted_subtrees or ()
    yield from constraints.excluded_subtrees or ()


def _is_mail_subtree(text: str) -> bool:
    local, at, host = text.rpartition("@")
    if at:
        return bool(LOCAL.match(local) and HOST.match(host))
    return bool(HOST.match(host.removeprefix(".")))


def _covers(tree: x509.GeneralName, name: x509.GeneralName) -> bool:
    """Whether a name lies in a subtree of its kind."""
    if isinstance(tree, x509.DNSName) and isinstance(name, x509.DNSName):
        return f".{name.value.lower()}".endswith(f".{tree.value.lower()}")
    if isinstance(tree, x509.RFC822Name) and isinstance(name, x509.RFC822Name):
        return _covers_mail(tree.value, name.value)
    if isinstance(tree, x509.IPAddress) and isinstance(name, x509.IPAddress):
        return isinstance(tree.value, Network) and name.value in tree.value
    if isinstance(tree, x509.DirectoryName) and isinstance(name, x509.DirectoryName):
        wanted = list(tree.value.rdns)
        return list(name.value.rdns)[: len(wanted)] == wanted
    return False


def _covers_mail(tree: str, address: str) -> bool:
    """One mailbox, all of one host, or all hosts below a domain (it begins with a dot)."""
    local, _, host = address.rpartition("@")
    if "@" in tree:
        tree_local, _, tree_host = tree.rpartition("@")
        return (tree_local, tree_host.lower()) == (local, host.lower())
    if tree.startswith("."):
        return host.lower().endswith(tree.lower())
    return host.lower() == tree.lower()


def _words(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)
