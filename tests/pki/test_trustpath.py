"""Chains that lead somewhere, and many that must not. Each bad one differs from a good one in one
thing; RFC 5280 says which."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from pki import trustpath
from pki.errors import (
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateNotYetValidError,
    CertificateRevokedError,
    IdentityError,
    NoCertificateError,
    WrongPurposeError,
)
from tests import certs

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
ROOT = certs.make_ca("Root")
ISSUING = ROOT.make_ca("Issuing")
ALICE = ISSUING.issue("alice", hosts=["alice@example.org"])


def _der(crl: x509.CertificateRevocationList) -> bytes:
    return crl.public_bytes(Encoding.DER)


def _verify(
    chain: Sequence[bytes],
    *,
    anchors: Sequence[bytes] = (ROOT.der,),
    intermediates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    at: dt.datetime = NOW,
) -> list[x509.Certificate]:
    return trustpath.verify(
        anchors=anchors, intermediates=intermediates, crls=crls, chain=chain, at=at
    )


def test_path() -> None:
    path = [ALICE.certificate, ISSUING.certificate, ROOT.certificate]
    assert _verify(ALICE.chain) == path
    assert _verify([*ALICE.chain, ROOT.der]) == path
    assert _verify([ALICE.der], intermediates=[ISSUING.der]) == path


def test_path_without_names() -> None:
    assert _verify(ISSUING.issue("alice").chain)


@pytest.mark.parametrize(
    "key",
    [ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)],
    ids=["ed25519", "rsa2048"],
)
def test_path_of_other_kinds(key: certs.Key) -> None:
    root = certs.make_ca("Root", key=key)
    assert _verify(root.issue("alice").chain, anchors=[root.der])
    assert _verify(ROOT.issue("alice", key=key).chain)


def test_moments() -> None:
    first = ALICE.certificate.not_valid_before_utc
    last = ALICE.certificate.not_valid_after_utc
    short = ISSUING.issue("alice", not_before=NOW, not_after=NOW + DAY)
    assert _verify(short.chain, at=NOW)
    assert _verify(short.chain, at=NOW + DAY)
    with pytest.raises(CertificateExpiredError):
        _verify(short.chain, at=NOW + DAY + dt.timedelta(seconds=1))
    with pytest.raises(CertificateNotYetValidError):
        _verify(short.chain, at=NOW - dt.timedelta(seconds=1))
    assert first < NOW < last


def test_expired_is_said_only_of_who_was_trusted() -> None:
    stranger = certs.make_ca("Root").issue("alice", expired=True)
    with pytest.raises(CertificateNotTrustedError):
        _verify(stranger.chain)


def _forged_ca() -> certs.Authority:
    """Alice's leaf used as if it were a CA (RFC 5280, 6.1.4 (k))."""
    return certs.Authority(ALICE.certificate, ALICE.key, ALICE.issuers)


def _tampered() -> list[bytes]:
    der = bytearray(ALICE.der)
    der[-2] ^= 1
    return [bytes(der), *ALICE.chain[1:]]


MALLORY = certs.make_ca("Root")
DEEP = certs.make_ca("Deep", path_length=None)
SHORT_RSA = rsa.generate_private_key(65537, 1024)
CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")
CONSTRAINED = x509.NameConstraints([x509.RFC822Name("example.com")], None)


def _constrained() -> list[bytes]:
    """6.1.3 (b): the CA may sign for example.com alone."""
    return (
        _custom_ca("Constrained", (CONSTRAINED, True))
        .issue("alice", hosts=["alice@example.org"])
        .chain
    )


def _custom_ca(
    name: str,
    *extra: tuple[x509.ExtensionType, bool],
    usage: x509.KeyUsage | None = None,
    issuer: certs.Authority = ROOT,
) -> certs.Authority:
    key = certs.make_key()
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage or certs._usage(key_cert_sign=True, crl_sign=True), True),
        *extra,
    ]
    certificate = certs._sign(
        subject=certs._name(name),
        key=key,
        issuer=issuer,
        extensions=extensions,
        validity=(NOW - DAY, NOW + 99 * DAY),
        serial=None,
    )
    return certs.Authority(certificate, key, (issuer.certificate,))


def _nested(depth: int, root: certs.Authority = DEEP) -> list[bytes]:
    authority = root
    for level in range(depth):
        authority = authority.make_ca(f"Level {level}", path_length=None)
    return authority.issue("alice").chain


TOO_DEEP = _nested(5)
ODD_SAN = ISSUING.issue("alice", hosts=["a.example"]).der.replace(b"\x82\x09a.", b"\xa3\x09a.")
BAD: list[tuple[str, Callable[[], Sequence[bytes]], type[IdentityError], dict[str, Any]]] = [
    ("nothing", lambda: [], NoCertificateError, {}),
    ("garbage", lambda: [b"garbage"], CertificateNotTrustedError, {}),
    ("empty leaf", lambda: [b""], CertificateNotTrustedError, {}),
    ("garbage behind", lambda: [ALICE.der, b"\x30\0"], CertificateNotTrustedError, {}),
    ("unknown version", lambda: [certs.made_odd(ALICE.der)[0]], CertificateNotTrustedError, {}),
    ("unknown kind of name", lambda: [ODD_SAN], CertificateNotTrustedError, {}),
    ("large leaf", lambda: [ALICE.der + b"\0" * 20_000], CertificateNotTrustedError, {}),
    ("too many", lambda: [ALICE.der] + [ISSUING.der] * 5, CertificateNotTrustedError, {}),
    ("no anchor", lambda: ALICE.chain, CertificateNotTrustedError, {"anchors": ()}),
    ("root missing", lambda: [ALICE.der], CertificateNotTrustedError, {}),
    (
        "another CA of the same name",
        lambda: MALLORY.issue("alice").chain,
        CertificateNotTrustedError,
        {},
    ),
    (
        "it brings its own root",
        lambda: [*MALLORY.issue("alice").chain, MALLORY.der],
        CertificateNotTrustedError,
        {},
    ),
    (
        "intermediate as anchor",
        lambda: ALICE.chain,
        CertificateNotTrustedError,
        {"anchors": [ISSUING.der]},
    ),
    ("signature changed", _tampered, CertificateNotTrustedError, {}),
    ("leaf as CA", lambda: _forged_ca().issue("bob").chain, CertificateNotTrustedError, {}),
    (
        "path length exceeded",
        lambda: ISSUING.make_ca("Deeper").issue("bob").chain,
        CertificateNotTrustedError,
        {},
    ),
    (
        "expired CA",
        lambda: ROOT.make_ca("Old", expired=True).issue("bob").chain,
        CertificateNotTrustedError,
        {},
    ),
    ("expired", lambda: ISSUING.issue("bob", expired=True).chain, CertificateExpiredError, {}),
    (
        "not yet valid",
        lambda: ISSUING.issue("bob", not_before=NOW + DAY).chain,
        CertificateNotYetValidError,
        {},
    ),
    (
        "for servers",
        lambda: ISSUING.issue("bob", purposes=certs.SERVER).chain,
        WrongPurposeError,
        {},
    ),
    ("for anything", lambda: ISSUING.issue("bob", purposes=certs.ANY).chain, WrongPurposeError, {}),
    ("for nothing said", lambda: ISSUING.issue("bob", purposes=()).chain, WrongPurposeError, {}),
    ("a CA itself", lambda: [ISSUING.der], WrongPurposeError, {}),
    ("a root itself", lambda: [ROOT.der], WrongPurposeError, {}),
    (
        "CA for servers alone",
        lambda: _custom_ca("TLS", (x509.ExtendedKeyUsage(certs.SERVER), False)).issue("bob").chain,
        CertificateNotTrustedError,  # cryptography refuses it first
        {},
    ),
    (
        "CA that may not sign certificates",
        lambda: _custom_ca("CRLs", usage=certs._usage(crl_sign=True)).issue("bob").chain,
        CertificateNotTrustedError,
        {},
    ),
    (
        "unknown critical extension",
        lambda: ISSUING.issue("bob", extra=[(CRITICAL, True)]).chain,
        CertificateNotTrustedError,
        {},
    ),
    ("name constraint", _constrained, CertificateNotTrustedError, {}),
    (
        "short RSA key",
        lambda: ISSUING.issue("bob", key=SHORT_RSA).chain,
        CertificateNotTrustedError,
        {},
    ),
    (
        "too deep",
        lambda: TOO_DEEP[:1],
        CertificateNotTrustedError,
        {"anchors": [DEEP.der], "intermediates": TOO_DEEP[1:]},
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "others"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_chain(
    make: Callable[[], Sequence[bytes]], error: type[IdentityError], others: dict[str, Any]
) -> None:
    with pytest.raises(IdentityError) as caught:
        _verify(make(), **others)
    assert isinstance(caught.value, error)


def _ed25519_root(name: str = "Ed25519", path_length: int | None = None) -> certs.Authority:
    return certs.make_ca(name, path_length=path_length, key=ed25519.Ed25519PrivateKey.generate())


def test_bad_chains_that_openssl_judges_alone() -> None:
    """Below an Ed25519 CA there is no second opinion, so the first must be strict enough."""
    root = _ed25519_root()
    web = _custom_ca("TLS", (x509.ExtendedKeyUsage(certs.SERVER), False), issuer=root)
    with pytest.raises(WrongPurposeError, match="CA of this certificate"):
        _verify(web.issue("bob").chain, anchors=[root.der])
    deep = _nested(5, root)
    with pytest.raises(CertificateNotTrustedError, match="too long"):
        _verify(deep[:1], anchors=[root.der], intermediates=deep[1:])
    assert _verify(_nested(4, root)[:5], anchors=[root.der])
    short = root.issue("bob", key=SHORT_RSA)
    with pytest.raises(CertificateNotTrustedError, match="1024 bits"):
        _verify(short.chain, anchors=[root.der])


def test_openssl_is_strict() -> None:
    """RFC 5280, 4.2.1.1: an authority key identifier in everything but a root."""
    root = _ed25519_root()
    key = certs.make_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(certs._name("bob"))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.ExtendedKeyUsage(certs.CLIENT), critical=False)
    )
    own_id = certs._authority_id(root.certificate)
    without = builder.sign(root.key, None)
    complete = builder.add_extension(own_id, critical=False).sign(root.key, None)
    assert _verify([complete.public_bytes(Encoding.DER)], anchors=[root.der])
    with pytest.raises(CertificateNotTrustedError):
        _verify([without.public_bytes(Encoding.DER)], anchors=[root.der])


def test_deep_is_good_as_far_as_it_goes() -> None:
    """The same hierarchy as "too deep", one level shorter."""
    assert len(_verify(_nested(4), anchors=[DEEP.der])) == 6


def test_many_certificates_of_the_same_name_cost_no_time() -> None:
    """Signers that look alike make a careless path builder try them all."""
    likes = [ROOT.make_ca("Issuing", key=ISSUING.key).der for _ in range(4)]
    start = time.monotonic()
    _verify([ALICE.der, *likes])
    for _ in range(3):
        with pytest.raises(CertificateNotTrustedError):
            _verify([MALLORY.make_ca("Issuing").issue("x").der, *likes])
    assert time.monotonic() - start < 20


# --- CRLs -----------------------------------------------------------------------------------

GOOD_CRLS = (_der(ROOT.crl()), _der(ISSUING.crl()))


def test_current_crls() -> None:
    assert _verify(ALICE.chain, crls=GOOD_CRLS)


def test_revoked() -> None:
    with pytest.raises(CertificateRevokedError, match="Your certificate"):
        _verify(ALICE.chain, crls=[GOOD_CRLS[0], _der(ISSUING.crl(ALICE))])


def test_ca_revoked() -> None:
    with pytest.raises(CertificateRevokedError, match="authority"):
        _verify(ALICE.chain, crls=[_der(ROOT.crl(ISSUING)), GOOD_CRLS[1]])


def test_revoked_and_expired_is_revoked() -> None:
    bob = ISSUING.issue("bob", expired=True)
    with pytest.raises(CertificateRevokedError):
        _verify(bob.chain, crls=[GOOD_CRLS[0], _der(ISSUING.crl(bob))])


def test_newest_crl_counts() -> None:
    """Whatever the order; a CRL that forgot the entry would free it, so the newest is asked."""
    old = _der(ISSUING.crl(number=1, at=NOW - 2 * DAY))
    new = _der(ISSUING.crl(ALICE, number=2, at=NOW - DAY))
    for crls in ([old, new], [new, old]):
        with pytest.raises(CertificateRevokedError):
            _verify(ALICE.chain, crls=[GOOD_CRLS[0], *crls])


def _crl(
    *extensions: tuple[x509.ExtensionType, bool],
    signer: certs.Authority = ISSUING,
    issuer: certs.Authority = ISSUING,
    entry_extension: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
    )
    for value, is_critical in extensions:
        builder = builder.add_extension(value, critical=is_critical)
    if entry_extension:
        entry = x509.RevokedCertificateBuilder(77, NOW).add_extension(
            entry_extension[0], critical=entry_extension[1]
        )
        builder = builder.add_revoked_certificate(entry.build())
    return _der(builder.sign(signer.key, SHA256()))


NUMBER = (x509.CRLNumber(7), False)
OWN_ID = (certs._authority_id(ISSUING.certificate), False)
PARTIAL = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
BAD_CRLS: list[tuple[str, bytes | None, str]] = [
    ("missing", None, "no sound revocation list"),
    ("stale", _der(ISSUING.crl(at=NOW - 9 * DAY)), "out of date"),
    ("not yet current", _der(ISSUING.crl(at=NOW + DAY)), "out of date"),
    ("signed by another", _crl(NUMBER, OWN_ID, signer=MALLORY), "no sound"),
    ("of another", _crl(NUMBER, OWN_ID, issuer=MALLORY), "no sound"),
    ("without number (5.2.3)", _crl(OWN_ID), "no sound"),
    ("number critical (5.2.3)", _crl((NUMBER[0], True), OWN_ID), "no sound"),
    ("without authority's id (5.2.1)", _crl(NUMBER), "no sound"),
    (
        "another authority's id",
        _crl(NUMBER, (certs._authority_id(MALLORY.certificate), False)),
        "no sound",
    ),
    ("for CAs alone (5.2.5)", _crl(NUMBER, OWN_ID, (PARTIAL, True)), "no sound"),
    ("a delta (5.2.4)", _crl(NUMBER, OWN_ID, (x509.DeltaCRLIndicator(1), True)), "no sound"),
    ("unknown critical (5.2)", _crl(NUMBER, OWN_ID, (CRITICAL, True)), "no sound"),
    ("critical entry (5.3)", _crl(NUMBER, OWN_ID, entry_extension=(CRITICAL, True)), "no sound"),
]


def test_the_same_crl_without_a_fault() -> None:
    assert _verify(ALICE.chain, crls=[GOOD_CRLS[0], _crl(NUMBER, OWN_ID)])


@pytest.mark.parametrize(
    ("crl", "sentence"), [row[1:] for row in BAD_CRLS], ids=[row[0] for row in BAD_CRLS]
)
def test_bad_crl(crl: bytes | None, sentence: str) -> None:
    crls = [GOOD_CRLS[0], *([crl] if crl else [])]
    with pytest.raises(CertificateNotTrustedError, match=sentence):
        _verify(ALICE.chain, crls=crls)


def test_crl_of_a_ca_that_may_not_sign_crls() -> None:
    ca = _custom_ca("No CRLs", usage=certs._usage(key_cert_sign=True))
    with pytest.raises(CertificateNotTrustedError, match="no sound"):
        _verify(ca.issue("bob").chain, crls=[GOOD_CRLS[0], _der(ca.crl())])
