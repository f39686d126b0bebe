"""Revoked certificates in the handshake: the right alert, and no cost for everybody else."""

from __future__ import annotations

import datetime as dt
import gc
import ssl
import subprocess
import weakref
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from project.tls import context, crls, overheard
from tests.certs import Authority, Key, Leaf, made_odd, make_ca, make_key
from tests.project.tls.conftest import TLS12, Ground, Trust, World
from tests.project.tls.test_context import VERSIONS, verdict
from tests.services import require

REVOKED = "SSLV3_ALERT_CERTIFICATE_REVOKED"
UNKNOWN = "TLSV1_ALERT_UNKNOWN_CA"
SCREENS = pytest.mark.skipif(not crls.SCREENS, reason="this Python does not let us at its OpenSSL")
WEEK = dt.timedelta(days=7)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def der(crl: x509.CertificateRevocationList) -> bytes:
    return crl.public_bytes(Encoding.DER)


def trust(world: World, *lists: x509.CertificateRevocationList) -> Trust:
    return Trust((world.root.der,), (world.issuing.der,), tuple(map(der, lists)))


def marked(world: World, extension: x509.ExtensionType) -> x509.CertificateRevocationList:
    """An empty CRL of the issuing CA that says it is not the whole one."""
    empty = world.issuing.crl()
    builder = x509.CertificateRevocationListBuilder(
        empty.issuer, empty.last_update_utc, empty.next_update_utc, list(empty.extensions)
    )
    return builder.add_extension(extension, critical=True).sign(world.issuing.key, SHA256())


# --- The look-up ------------------------------------------------------------------------------


@SCREENS
@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("good", True),
        ("expired", True),  # of that OpenSSL judges without CRLs
        ("revoked", False),
        ("foreign", False),
    ],
)
def test_only_who_is_certainly_not_revoked_is_clear(world, who, expected):
    screen = crls.screen(world.trust(world.clients["revoked"]))
    assert screen.is_clear(world.clients[who].der, at=now()) is expected


@SCREENS
@pytest.mark.parametrize("rubbish", [b"", b"\x30", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_not_clear(world, rubbish):
    assert not crls.screen(world.trust()).is_clear(rubbish, at=now())


@SCREENS
def test_nobody_is_clear_outside_the_time_of_a_crl(world):
    screen, good = crls.screen(world.trust()), world.clients["good"].der
    assert screen.is_clear(good, at=now())
    assert not screen.is_clear(good, at=now() + WEEK)
    assert not screen.is_clear(good, at=now() - WEEK)


@SCREENS
@pytest.mark.parametrize("case", ["no root", "no issuing", "forged", "delta", "part", "sub-CA"])
def test_nobody_is_clear_where_a_crl_is_missing_or_says_more(world, case):
    root, issuing = world.root.crl(), world.issuing.crl()
    namesake = make_ca("Issuing")
    part = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://localhost/crl/issuing-1.crl")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    lists = {
        "no root": [issuing],
        "no issuing": [root],
        "forged": [root, namesake.crl()],
        "delta": [root, marked(world, x509.DeltaCRLIndicator(1))],
        "part": [root, marked(world, part)],
        "sub-CA": [world.root.crl(world.issuing), issuing],
    }
    good = world.clients["good"].der
    assert crls.screen(trust(world, root, issuing)).is_clear(good, at=now())
    assert not crls.screen(trust(world, *lists[case])).is_clear(good, at=now())


@SCREENS
def test_another_ca_of_the_same_name_is_not_taken_for_ours(world):
    """Its certificate may be sent by the client, and be revoked."""
    namesake = world.root.make_ca("Issuing")
    assert not crls.screen(world.trust()).is_clear(namesake.issue("eve").der, at=now())


@SCREENS
def test_crls_are_read_once_for_all_endpoints_and_given_back(world):
    state = world.trust()
    one = crls.screen(state)
    assert crls.screen(Trust(state.anchors, state.intermediates, state.crls)) is one
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


@SCREENS
def test_weak_keys_are_no_better_off_after_the_look_up(world):
    """OpenSSL judges them by the context that a connection was handed on to."""
    screen = crls.screen(world.trust())
    ours = world.contexts("required").full.security_level
    assert (screen._lenient.security_level, screen._strict.security_level) == (ours, ours)
    assert ours >= 2


@SCREENS
@pytest.mark.parametrize("number", [0, 1])
def test_what_makes_readers_stumble_is_not_clear(world, number):
    """It comes from strangers, and an error would reach the event loop."""
    screen = crls.screen(world.trust())
    assert not screen.is_clear(made_odd(world.clients["good"].der)[number], at=now())


@SCREENS
def test_an_issuer_of_a_kind_that_nobody_reads_is_not_clear(world):
    address = x509.UnrecognizedExtension(
        x509.AuthorityKeyIdentifier.oid, b"\x30\x04\xa1\x02\xa3\x00"
    )
    stranger = make_ca("Mallory CA").issue("mallory").certificate
    extensions = [x509.Extension(address.oid, False, address)]
    odd = signed_again(stranger, extensions, key=make_key()).public_bytes(Encoding.DER)
    assert not crls.screen(world.trust()).is_clear(odd, at=now())


# --- Handshakes -------------------------------------------------------------------------------


@SCREENS
@VERSIONS
@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_a_revoked_ca_cannot_borrow_the_name_of_one_that_is_not(ground, world, version, kind):
    """It makes a CA with the name and the key identifier of a good one, which OpenSSL finds among
    what the client sends: the good one does not fit the issuer's serial number, or the algorithm."""
    root = make_ca("Root", path_length=None)
    good, bad = root.make_ca("Good"), root.make_ca("Bad", path_length=None)
    lists = (root.crl(bad), good.crl(), bad.crl())
    port = ground.serve("required", Trust((root.der,), (good.der, bad.der), tuple(map(der, lists))))
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else make_key()
    eve = borrowing(good.certificate, bad=bad, key=key)
    world.clients.update(straight=bad.issue("eve"), good_one=good.issue("alice"), eve=eve)
    assert verdict(ground, port, "good_one", version) == "ok"
    assert verdict(ground, port, "straight", version) == REVOKED
    assert verdict(ground, port, "eve", version) != "ok"


def borrowing(good: x509.Certificate, *, bad: Authority, key: Key) -> Leaf:
    """A client of the CA `bad`, whose chain bears the name of `good`."""
    name = good.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    usual = bad.make_ca("Good", key=key).certificate
    extensions = [
        x509.Extension(name.oid, False, name) if one.oid == name.oid else one
        for one in usual.extensions
    ]
    ca = signed_again(usual, extensions, key=bad.key)
    leaf = Authority(ca, key, (bad.certificate, *bad.issuers)).issue("eve")
    issuer = x509.AuthorityKeyIdentifier(
        name.digest, [x509.DirectoryName(bad.certificate.subject)], ca.serial_number
    )
    extensions = [
        x509.Extension(issuer.oid, False, issuer) if one.oid == issuer.oid else one
        for one in leaf.certificate.extensions
    ]
    return replace(leaf, certificate=signed_again(leaf.certificate, extensions, key=key))


def signed_again(
    certificate: x509.Certificate, extensions: list[x509.Extension], *, key: Key
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=certificate.issuer,
        subject_name=certificate.subject,
        public_key=certificate.public_key(),
        serial_number=certificate.serial_number,
        not_valid_before=certificate.not_valid_before_utc.replace(tzinfo=None),
        not_valid_after=certificate.not_valid_after_utc.replace(tzinfo=None),
        extensions=extensions,
    )
    return builder.sign(key, SHA256())


@SCREENS
@VERSIONS
def test_who_is_not_revoked_never_meets_the_crls(ground, world, version, monkeypatch):
    state = world.trust(world.clients["revoked"])
    screen = crls.screen(state)
    port = ground.serve("required", state)
    assert verdict(ground, port, "revoked", version) == REVOKED
    monkeypatch.setattr(screen, "_strict", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # trusts nobody
    assert verdict(ground, port, "good", version) == "ok"
    assert verdict(ground, port, "revoked", version) == UNKNOWN


@SCREENS
@VERSIONS
def test_who_was_not_looked_up_is_not_let_in(ground, version, monkeypatch):
    port = ground.serve("required")
    assert verdict(ground, port, "good", version) == "ok"
    monkeypatch.setattr(overheard, "HOOK", None)
    assert verdict(ground, ground.serve("required", name="second"), "good", version) == UNKNOWN


@VERSIONS
@pytest.mark.parametrize(("who", "expected"), [("good", "ok"), ("revoked", REVOKED)])
def test_without_the_hook_openssl_reads_all_crls(ground, version, who, expected, monkeypatch):
    monkeypatch.setattr(crls, "SCREENS", False)
    flags = (ssl.CERT_REQUIRED, ssl.VERIFY_CRL_CHECK_CHAIN)
    monkeypatch.setitem(context.MODES, "required", flags)
    assert verdict(ground, ground.serve("required"), who, version) == expected


@VERSIONS
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_a_session_from_before_the_revocation_is_of_no_use(ground, world, mode, version, tmp_path):
    """Judged by openssl: on `optional` the person comes in unresumed, and a page says why."""
    require("openssl")
    wanted = ground.wanted(mode, world.trust())
    ground.on_loop(ground.ports.start, [wanted])
    port, saved = wanted.settings.port, tmp_path / "session.pem"
    assert "Verify return code: 0" in openssl(ground, port, version, "-sess_out", str(saved))
    revoked = ground.wanted(mode, world.trust(world.clients["good"], number=2), port=port)
    ground.on_loop(ground.ports.apply, [revoked])
    assert saved.exists() is (version is TLS12)  # TLS 1.3 resumes by tickets, which nobody gets
    resume = ["-sess_in", str(saved)] if saved.exists() else []
    said = openssl(ground, port, version, *resume)
    assert "Reused" not in said
    assert ("alert certificate revoked" in said) is (mode == "required")


def openssl(ground: Ground, port: int, version: ssl.TLSVersion, *more: str) -> str:
    world = ground.world
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"),
            *(
                "-tls1_2" if version is TLS12 else "-tls1_3",
                "-CAfile",
                world.directory / "root.pem",
            ),
            *("-cert", world.pem("good"), "-key", world.pem("good"), "-ign_eof", *more),
        ],
        input=b"close",  # the echo says goodbye then
        capture_output=True,
        timeout=30,
    )
    return (done.stdout + done.stderr).decode(errors="replace")
