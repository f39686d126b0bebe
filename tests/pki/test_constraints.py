"""Name constraints: what a CA may be bound to, and which names that leaves."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pki import constraints

SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])


def _dn(*parts: str) -> x509.DirectoryName:
    kinds = [NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME]
    return x509.DirectoryName(
        x509.Name(
            [x509.NameAttribute(kind, part) for kind, part in zip(kinds, parts, strict=False)]
        )
    )


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))


def _only(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None)


def _never(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=names)


DNS, MAIL = x509.DNSName, x509.RFC822Name


@pytest.mark.parametrize(
    "tree",
    [
        DNS("example.org"),
        DNS("localhost"),
        MAIL("example.org"),
        MAIL(".example.org"),
        MAIL("alice@example.org"),
        _ip("10.0.0.0/8"),
        _ip("fd00::/8"),
        _dn("Example"),
    ],
    ids=str,
)
def test_sound_subtree(tree: x509.GeneralName) -> None:
    assert list(constraints.faults(_only(tree))) == []
    assert list(constraints.faults(_never(tree))) == []


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (DNS(".example.org"), "without a dot"),
        (DNS("Example.org"), "small letters"),
        (MAIL("a b@example.org"), "is not an address"),
        (x509.UniformResourceIdentifier("example.org"), "cannot be constrained"),
    ],
    ids=str,
)
def test_unsound_subtree(tree: x509.GeneralName, words: str) -> None:
    [fault] = constraints.faults(_only(tree))
    assert words in fault


TABLE: list[tuple[x509.GeneralName, x509.GeneralName, bool]] = [
    (DNS("example.org"), DNS("example.org"), True),
    (DNS("example.org"), DNS("a.b.example.org"), True),
    (DNS("example.org"), DNS("badexample.org"), False),
    (DNS("example.org"), DNS("example.org.evil"), False),
    (DNS("a.example.org"), DNS("example.org"), False),
    (MAIL("example.org"), MAIL("alice@example.org"), True),
    (MAIL("example.org"), MAIL("alice@EXAMPLE.org"), True),
    (MAIL("example.org"), MAIL("alice@a.example.org"), False),
    (MAIL(".example.org"), MAIL("alice@a.example.org"), True),
    (MAIL(".example.org"), MAIL("alice@example.org"), False),
    (MAIL("alice@example.org"), MAIL("alice@example.org"), True),
    (MAIL("alice@example.org"), MAIL("bob@example.org"), False),
    (_ip("10.0.0.0/8"), _ip("10.255.0.1"), True),
    (_ip("10.0.0.0/8"), _ip("11.0.0.1"), False),
    (_ip("10.0.0.0/8"), _ip("::1"), False),
    (_ip("fd00::/8"), _ip("fd00::1"), True),
    (_dn("Example"), _dn("Example", "alice"), True),
    (_dn("Example"), _dn("Other", "alice"), False),
    (_dn("Example", "alice"), _dn("Example"), False),
]


@pytest.mark.parametrize(("tree", "name", "covered"), TABLE, ids=str)
def test_what_a_subtree_covers(
    tree: x509.GeneralName, name: x509.GeneralName, covered: bool
) -> None:
    subject = name.value if isinstance(name, x509.DirectoryName) else SUBJECT
    names = [] if isinstance(name, x509.DirectoryName) else [name]
    permitted = list(constraints.beyond(_only(tree), subject=subject, names=names))
    excluded = list(constraints.beyond(_never(tree), subject=subject, names=names))
    assert (permitted == [], excluded != []) == (covered, covered)


def test_other_kinds_of_name_are_not_bound() -> None:
    bound = _only(DNS("example.org"))
    assert not list(constraints.beyond(bound, subject=SUBJECT, names=[MAIL("a@elsewhere.org")]))


def test_excluded_outweighs_permitted() -> None:
    bound = x509.NameConstraints([DNS("example.org")], [DNS("secret.example.org")])
    names = [DNS("a.example.org"), DNS("b.secret.example.org")]
    [fault] = constraints.beyond(bound, subject=SUBJECT, names=names)
    assert "b.secret.example.org is excluded" in fault
