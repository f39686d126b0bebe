"""The certificate that OCSP answers are signed under."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.core.management import call_command
from django.core.management.base import CommandError

from pki import changes, compliance, responder, revocation
from pki.errors import AuthorityError, LintError
from pki.models import AuditEntry, Certificate, CertificateAuthority
from tests.factories import make_pki
from tests.openssl import openssl

DAY = dt.timedelta(days=1)


@pytest.fixture
def issuing(pki):
    return pki.issuing


def renew(authority, at):
    made = responder.renew(actor="a", authority=authority, at=at)
    authority.refresh_from_db()
    return made


def signer(authority, at):
    return responder.require(authority=authority, at=at)


def lose_key(authority):
    Certificate.objects.filter(pk=authority.certificate_id).update(key=None)
    return CertificateAuthority.objects.get(pk=authority.pk)


# --- Renewal --------------------------------------------------------------------------------


def test_a_responder_is_made_by_the_ca_for_answers_alone(issuing, at):
    made = renew(issuing, at)
    certificate = x509.load_der_x509_certificate(bytes(made.der))
    found = {extension.oid: extension.value for extension in certificate.extensions}
    assert list(found[x509.ExtendedKeyUsage.oid]) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert x509.OCSPNoCheck.oid in found
    assert x509.CRLDistributionPoints.oid not in found
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)
    assert made.not_after - made.not_before <= 30 * DAY
    assert issuing.responder == made
    assert made.authority == issuing
    assert signer(issuing, at).is_delegated


def test_openssl_verifies_a_responder(pki, at, tmp_path):
    made = renew(pki.issuing, at)
    for name, row in (
        ("root", pki.root.certificate),
        ("ca", pki.issuing.certificate),
        ("ocsp", made),
    ):
        pem = x509.load_der_x509_certificate(bytes(row.der)).public_bytes(Encoding.PEM)
        (tmp_path / f"{name}.pem").write_bytes(pem)
    verify = ("verify", "-x509_strict", "-CAfile", tmp_path / "root.pem")
    chain = ("-untrusted", tmp_path / "ca.pem", tmp_path / "ocsp.pem")
    assert "OK" in openssl(*verify, "-purpose", "ocsphelper", *chain)
    openssl(*verify, "-purpose", "sslclient", *chain, fails=True)


def test_a_ca_with_rsa_gets_a_small_key_for_its_answers(db, at):
    rsa = make_pki(algorithm="rsa3072", at=at).issuing
    assert renew(rsa, at).key.algorithm == "p256"


def test_renewal_is_recorded_and_announced(issuing, at):
    before = changes.current_version()
    made = renew(issuing, at)
    assert changes.current_version() > before
    entry = AuditEntry.objects.get(action="responder.renewed")
    assert (entry.actor, entry.target) == ("a", f"CA {issuing.slug}")
    assert entry.detail["sha256"] == made.sha256
    assert AuditEntry.objects.filter(action="certificate.issued", detail__sha256=made.sha256)


def test_bad_answers_block_a_responder(issuing, at, monkeypatch):
    monkeypatch.setattr(compliance, "ocsp_findings", lambda der: ["pkix.something"])
    with pytest.raises(LintError, match=r"good: pkix\.something"):
        renew(issuing, at)
    issuing.refresh_from_db()
    assert issuing.responder is None
    assert not Certificate.objects.filter(profile="ocsp").exists()


@pytest.mark.parametrize("kind", list(responder._samples(dt.datetime.now(dt.UTC))))
def test_an_answer_of_each_kind_is_clean(issuing, at, kind):
    renew(issuing, at)
    der = responder.sign(responder._samples(at)[kind], signer=signer(issuing, at))
    assert compliance.ocsp_findings(der) == []


def test_renewal_falls_due_at_half_life(pki, at):
    assert len(responder.renew_due(at=at)) == 2  # root and issuing have none yet
    assert responder.renew_due(at=at + 14 * DAY) == []
    assert len(responder.renew_due(at=at + 15 * DAY)) == 2


def test_a_renewal_is_overdue_an_hour_after_it_fell_due(pki, at):
    hour = dt.timedelta(hours=1)
    assert not responder.is_overdue(pki.issuing, at=at)  # it has none: the CA itself answers
    renew(pki.issuing, at)
    for moment, expected in ((at, False), (at + 15 * DAY, False), (at + 15 * DAY + hour, True)):
        assert responder.is_overdue(pki.issuing, at=moment) is expected
    lose_key(pki.issuing)
    found = CertificateAuthority.objects.get(pk=pki.issuing.pk)
    assert not responder.is_overdue(found, at=at + 20 * DAY)


def test_who_comes_second_finds_nothing_due(issuing, at, monkeypatch):
    """Another process renews between the look and the lock."""
    stale = responder.able(at=at)
    responder.renew_due(at=at)
    monkeypatch.setattr(responder, "able", lambda at: stale)
    assert responder.renew_due(at=at) == []


def test_a_revoked_responder_is_replaced(issuing, at):
    made = renew(issuing, at)
    revocation.revoke(actor="a", certificate=made, reason="keyCompromise", at=at)
    issuing.refresh_from_db()
    assert not signer(issuing, at).is_delegated
    responder.renew_due(at=at)
    issuing.refresh_from_db()
    assert issuing.responder != made
    assert signer(issuing, at).is_delegated


def test_a_retired_ca_goes_on_and_an_expired_one_stops(pki, at):
    CertificateAuthority.objects.update(retired_at=at)
    assert len(responder.renew_due(at=at)) == 2
    late = pki.issuing.certificate.not_after + DAY
    assert [made.authority for made in responder.renew_due(at=late)] == [pki.root]
    with pytest.raises(AuthorityError):
        renew(pki.issuing, late)


def test_a_responder_that_lasts_as_long_as_its_ca_is_kept(issuing, at):
    near = issuing.certificate.not_after - 10 * DAY
    renew(issuing, near)
    assert issuing.responder.not_after == issuing.certificate.not_after
    assert not responder.is_due(issuing, at=near + 9 * DAY)


def test_a_ca_that_cannot_keeps_no_other_from_it(pki, at, monkeypatch, caplog):
    prepare = responder.issuance.prepare

    def fail(**arguments):
        if arguments["authority"] == pki.issuing:
            raise AuthorityError("The token is away.")
        return prepare(**arguments)

    monkeypatch.setattr(responder.issuance, "prepare", fail)
    assert [made.authority for made in responder.renew_due(at=at)] == [pki.root]
    assert "The token is away." in caplog.text


# --- Who signs ------------------------------------------------------------------------------


def test_without_the_cas_key_the_last_responder_serves_until_it_expires(issuing, at):
    made = renew(issuing, at)
    issuing = lose_key(issuing)
    renewed = responder.renew_due(at=at + 20 * DAY)
    assert [one.authority.slug for one in renewed] == ["test-root"]
    issuing.refresh_from_db()
    assert signer(issuing, made.not_after).certificate == made
    with pytest.raises(AuthorityError, match="cannot answer OCSP"):
        signer(issuing, made.not_after + DAY)


def test_without_a_valid_responder_the_ca_signs_itself(issuing, at):
    assert signer(issuing, at).certificate == issuing.certificate
    made = renew(issuing, at)
    assert signer(issuing, made.not_after + DAY).certificate == issuing.certificate


# --- Command --------------------------------------------------------------------------------


def test_command_renews_one_or_all(pki, capsys):
    call_command("renew_responder", ca=pki.issuing.slug)
    assert f"{pki.issuing.slug}: OCSP responder" in capsys.readouterr().out
    pki.issuing.refresh_from_db()
    first = pki.issuing.responder
    call_command("renew_responder")
    pki.issuing.refresh_from_db()
    pki.root.refresh_from_db()
    assert pki.root.responder is not None
    assert pki.issuing.responder not in (None, first)


def test_command_names_the_cas_there_are(pki):
    with pytest.raises(CommandError, match="test-issuing"):
        call_command("renew_responder", ca="none")
