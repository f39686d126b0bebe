"""What becomes of a CA in time: renewed, succeeded, retired."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import transaction

from pki import audit, authorities, crl, outside, succession, truststore
from pki.errors import (
    AuthorityError,
    CertificateRevokedError,
    KeyReuseError,
    PKIError,
    ProfileError,
    StateError,
)
from pki.identity import identify
from pki.models import AuditEntry, Certificate, CertificateAuthority
from pki.revocation import revoke
from tests import certs
from tests.factories import PKI, make_device, make_server_certificate
from tests.locks import held_up, needs_row_locks
from tests.openssl import openssl

DAY = dt.timedelta(days=1)


def _x509(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes(certificate.der))


def _file(path: Path, *certificates: Certificate) -> Path:
    path.write_bytes(b"".join(_x509(one).public_bytes(Encoding.PEM) for one in certificates))
    return path


def _renew(authority: CertificateAuthority, at: dt.datetime, **more: object) -> Certificate:
    return succession.renew_authority(actor="admin", authority=authority, at=at, **more)  # type: ignore[arg-type]


def _roll_over(
    authority: CertificateAuthority, at: dt.datetime, **more: object
) -> CertificateAuthority:
    return succession.roll_over_authority(actor="admin", authority=authority, at=at, **more)  # type: ignore[arg-type]


def _retire(
    authority: CertificateAuthority, at: dt.datetime, **more: object
) -> CertificateAuthority:
    return succession.retire_authority(actor="admin", authority=authority, at=at, **more)  # type: ignore[arg-type]


def _restore(authority: CertificateAuthority, at: dt.datetime) -> CertificateAuthority:
    return succession.restore_authority(actor="admin", authority=authority, at=at)


# --- Renew ----------------------------------------------------------------------------------


def test_renewed_root_and_issuing_ca_verify_all_they_signed(
    pki: PKI, at: dt.datetime, tmp_path: Path
) -> None:
    """Four ways up: each leaf verifies under the old and the new certificates."""
    leaf = make_server_certificate(pki.issuing, hosts=("localhost",))
    old_root, old_issuing = pki.root.certificate, pki.issuing.certificate
    new_root = _renew(pki.root, at + DAY)
    new_issuing = _renew(pki.issuing, at + DAY)
    for old, new in ((old_root, new_root), (old_issuing, new_issuing)):
        assert (new.spki_sha256, new.subject) == (old.spki_sha256, old.subject)
        assert new.key_id == old.key_id
        assert new.sha256 != old.sha256
        assert _x509(new).extensions.get_extension_for_class(x509.BasicConstraints) == _x509(
            old
        ).extensions.get_extension_for_class(x509.BasicConstraints)
    later = make_server_certificate(
        CertificateAuthority.objects.get(pk=pki.issuing.pk), hosts=("localhost",), at=at + DAY
    )
    for root in (old_root, new_root):
        for issuing in (old_issuing, new_issuing):
            for one in (leaf, later):
                moment = int((at + DAY + dt.timedelta(hours=1)).timestamp())
                openssl("verify", "-attime", moment, "-CAfile", _file(tmp_path / "r.pem", root),
                        "-untrusted", _file(tmp_path / "i.pem", issuing),
                        _file(tmp_path / "l.pem", one))  # fmt: skip
    assert old_root.status is Certificate.Status.VALID
    audit.verify()


def test_renewed_root_is_an_anchor_where_it_was(pki: PKI, at: dt.datetime) -> None:
    other = truststore.create_truststore(actor="admin", name="other", at=at)
    renewed = _renew(pki.root, at)
    assert set(pki.truststore.anchors.values_list("sha256", flat=True)) == {
        pki.root.certificate.sha256,
        renewed.sha256,
    }
    assert not other.anchors.exists()


@pytest.mark.parametrize("follow", [_renew, _roll_over])
def test_dates_of_an_anchor_hold_for_the_next_one(
    pki: PKI, at: dt.datetime, follow: Callable[..., object]
) -> None:
    dates = {"trusted_from": at - 2 * DAY, "trusted_until": at + DAY}
    truststore.date_anchor(actor="admin", anchor=pki.truststore.anchors.get(), **dates, at=at)
    follow(pki.root, at)
    assert list(pki.truststore.anchors.values("trusted_from", "trusted_until")) == [dates, dates]


@pytest.mark.parametrize("follow", [_renew, _roll_over])
def test_root_that_is_trusted_no_more_is_not_trusted_again(
    pki: PKI, at: dt.datetime, follow: Callable[..., object]
) -> None:
    truststore.date_anchor(
        actor="admin",
        anchor=pki.truststore.anchors.get(),
        trusted_from=None,
        trusted_until=at,
        at=at,
    )
    follow(pki.root, at)
    assert pki.truststore.anchors.count() == 1
    assert not truststore.snapshot(pki.truststore, at).anchors


def test_renewed_issuing_ca_still_lets_people_in(pki: PKI, people, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing)
    _renew(pki.issuing, at)
    snapshot = truststore.snapshot(pki.truststore)
    assert truststore.verify(snapshot, device.chain, at=at)
    assert truststore.verify(snapshot, [device.der], at=at)


def test_renew_within_the_validity_of_the_parent(pki: PKI, at: dt.datetime) -> None:
    short = _renew(pki.issuing, at, validity=30 * DAY)
    assert short.not_after <= at + 30 * DAY
    with pytest.raises(ProfileError, match="admits 3650 days"):
        _renew(pki.issuing, at, validity=9999 * DAY)
    assert AuditEntry.objects.filter(action="authority.renew.refused").count() == 1


def test_renew_keeps_name_constraints(pki: PKI, at: dt.datetime) -> None:
    constraints = authorities.name_constraints(permit=["example.org", "10.0.0.0/8"])
    bound = authorities.create_authority(
        actor="admin", name="Bound", parent=pki.root, name_constraints=constraints, at=at
    )
    renewed = _x509(_renew(bound, at))
    kept = renewed.extensions.get_extension_for_class(x509.NameConstraints)
    assert (kept.value, kept.critical) == (constraints, True)


def test_renew_what_is_kept_elsewhere(db: None, at: dt.datetime) -> None:
    stranger = certs.make_ca("Elsewhere")
    known = authorities.record_outside_authority(actor="admin", certificate=stranger.der, at=at)
    with pytest.raises(AuthorityError, match="kept elsewhere"):
        _renew(known, at)
    below = stranger.make_ca("Below")
    ours = outside.import_authority(
        actor="admin",
        data=below.pem + below.key_pem,
        password=None,
        at=at,
        discard_revocations=True,
    )
    with pytest.raises(AuthorityError, match="whose key is elsewhere"):
        _renew(ours, at)
    with pytest.raises(AuthorityError):
        _roll_over(ours, at)


@pytest.mark.parametrize("reason", ["keyCompromise", "cACompromise"])
def test_renew_of_a_key_that_was_lost(pki: PKI, at: dt.datetime, reason: str) -> None:
    """Under the certificate before, which is revoked, or under any earlier one with that key."""
    before = pki.issuing.certificate
    _renew(pki.issuing, at)
    revoke(actor="admin", certificate=before, reason=reason, at=at)
    with pytest.raises(KeyReuseError):
        _renew(pki.issuing, at)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("superseded", "has a new key"),
        ("cACompromise", "has a new key"),
        ("certificateHold", "Release it first"),
    ],
)
def test_renewal_does_not_undo_a_revocation(
    pki: PKI, people, at: dt.datetime, reason: str, sentence: str
) -> None:
    device = make_device(people.alice, pki.issuing)
    assert identify(chain=device.chain, at=at).username == "alice"
    revoke(actor="admin", certificate=pki.issuing.certificate, reason=reason, at=at)
    with pytest.raises(AuthorityError, match=sentence):
        _renew(pki.issuing, at)
    with pytest.raises(CertificateRevokedError):
        identify(chain=device.chain, at=at)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_renewal_begun_during_a_revocation_is_refused(pki: PKI, at: dt.datetime) -> None:
    with transaction.atomic():
        revoke(actor="admin", certificate=pki.issuing.certificate, reason="superseded", at=at)
        renewing = held_up(lambda: _renew(pki.issuing, at))
    with pytest.raises(AuthorityError, match="has a new key"):
        renewing.result(30)


# --- Roll over ------------------------------------------------------------------------------


def test_roll_over_of_the_issuing_ca(pki: PKI, people, at: dt.datetime) -> None:
    """The successor issues from now on; what the former one signed is judged as before."""
    before = make_device(people.alice, pki.issuing)
    successor = _roll_over(pki.issuing, at)
    assert (successor.name, successor.slug) == ("Test Issuing G2", "test-issuing-g2")
    assert (successor.predecessor, successor.parent) == (pki.issuing, pki.root)
    assert successor.certificate.spki_sha256 != pki.issuing.certificate.spki_sha256
    assert authorities.require_issuing(at=at) == successor
    with pytest.raises(AuthorityError, match="is retired"):
        make_device(people.bob, pki.issuing, at=at)
    after = make_device(people.bob, successor)
    snapshot = truststore.snapshot(pki.truststore)
    for device in (before, after):
        assert truststore.verify(snapshot, device.chain, at=at)
    for authority in (pki.issuing, successor):
        number = crl.publish(authority=authority, actor="admin", at=at).number
        assert number == 2


def test_roll_over_with_overlap(pki: PKI, at: dt.datetime) -> None:
    successor = _roll_over(pki.issuing, at, retire_at=at + 30 * DAY)
    assert authorities.require_issuing(at=at + 29 * DAY) == pki.issuing
    assert make_server_certificate(pki.issuing, hosts=("localhost",))
    assert authorities.require_issuing(at=at + 30 * DAY) == successor


def test_roll_over_of_a_root(pki: PKI, at: dt.datetime) -> None:
    """The new root is trusted where the old one is; the CAs below the old one go on."""
    successor = _roll_over(pki.root, at, algorithm="p384")
    assert successor.certificate.key is not None
    assert successor.certificate.key.algorithm == "p384"
    assert {anchor.authority for anchor in pki.truststore.anchors.all()} == {pki.root, successor}
    assert authorities.require_issuing(at=at) == pki.issuing
    with pytest.raises(AuthorityError, match="is retired"):
        authorities.create_authority(actor="admin", name="Late", parent=pki.root, at=at)
    assert authorities.create_authority(actor="admin", name="Next", parent=successor, at=at)


def test_successor_of_a_revoked_ca_lets_in_its_own_people_alone(
    pki: PKI, people, at: dt.datetime
) -> None:
    before = make_device(people.alice, pki.issuing)
    revoke(actor="admin", certificate=pki.issuing.certificate, reason="cACompromise", at=at)
    after = make_device(people.bob, _roll_over(pki.issuing, at))
    assert identify(chain=after.chain, at=at).username == "bob"
    with pytest.raises(CertificateRevokedError):
        identify(chain=before.chain, at=at)


def test_roll_over_twice(pki: PKI, at: dt.datetime) -> None:
    second = _roll_over(pki.issuing, at)
    with pytest.raises(StateError, match="succeeded by Test Issuing G2"):
        _roll_over(pki.issuing, at)
    assert _roll_over(second, at).name == "Test Issuing G3"


def test_roll_over_that_is_refused_changes_nothing(pki: PKI, at: dt.datetime) -> None:
    before = Certificate.objects.count()
    with pytest.raises(PKIError):
        _roll_over(pki.issuing, at, name="Test Root")
    assert Certificate.objects.count() == before
    assert authorities.require_issuing(at=at) == pki.issuing


@pytest.mark.parametrize(
    ("name", "following"),
    [("Staff", "Staff G2"), ("Staff G2", "Staff G3"), ("Staff G9", "Staff G10"),
     ("x" * 64, "x" * 61 + " G2")],
)  # fmt: skip
def test_next_name(name: str, following: str) -> None:
    assert succession.next_name(name) == following


# --- Retire ---------------------------------------------------------------------------------


def test_the_only_issuing_ca_does_not_retire(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(StateError, match="the only CA that issues"):
        _retire(pki.issuing, at)
    authorities.create_authority(actor="admin", name="Second", parent=pki.root, at=at)
    _retire(pki.issuing, at)
    assert authorities.require_issuing(at=at).name == "Second"


def test_a_retirement_is_planned_brought_forward_and_postponed(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(StateError, match="the only CA that issues"):
        _retire(pki.issuing, at, on=at + 30 * DAY)
    _roll_over(pki.issuing, at, retire_at=at + 30 * DAY)
    for days in (60, 10):
        assert _retire(pki.issuing, at, on=at + days * DAY).retired_at == at + days * DAY
    assert authorities.require_issuing(at=at + 9 * DAY) == pki.issuing
    assert authorities.require_issuing(at=at + 10 * DAY) != pki.issuing
    with pytest.raises(StateError, match="is past"):
        _retire(pki.issuing, at, on=at - DAY)
    with pytest.raises(StateError, match=r"expires on .* before it would retire"):
        _retire(pki.issuing, at, on=at + 9000 * DAY)
    assert _retire(pki.issuing, at).retired_at == at
    with pytest.raises(StateError, match="retired already"):
        _retire(pki.issuing, at, on=at + DAY)
    dates = AuditEntry.objects.filter(action="authority.retired").order_by("pk")
    assert [entry.detail["on"] for entry in dates] == [
        (at + days * DAY).isoformat() for days in (30, 60, 10, 0)
    ]


def test_retire_the_only_one_on_purpose(pki: PKI, at: dt.datetime) -> None:
    _retire(pki.issuing, at, is_last_one_too=True)
    with pytest.raises(AuthorityError, match="No CA may issue"):
        authorities.require_issuing(at=at)
    with pytest.raises(StateError, match="retired already"):
        _retire(pki.issuing, at)


def test_retired_ca_goes_on_publishing_crls_and_is_restored(pki: PKI, at: dt.datetime) -> None:
    _retire(pki.issuing, at, is_last_one_too=True)
    due = at + 5 * DAY
    assert pki.issuing in {made.authority for made in crl.publish_due(at=due)}
    _restore(pki.issuing, at)
    assert authorities.require_issuing(at=at) == pki.issuing
    with pytest.raises(StateError, match="is not retired"):
        _restore(pki.issuing, at)
    actions = AuditEntry.objects.values_list("action", flat=True)
    assert {"authority.retired", "authority.restored"} <= set(actions)


def test_retire_what_is_kept_elsewhere(db: None, at: dt.datetime) -> None:
    stranger = certs.make_ca("Elsewhere")
    known = authorities.record_outside_authority(actor="admin", certificate=stranger.der, at=at)
    with pytest.raises(AuthorityError, match="issues nothing here"):
        _retire(known, at)
