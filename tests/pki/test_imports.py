"""Anchors, CAs and CRLs from elsewhere."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from django.db import transaction

from pki import audit, authorities, crl, enrolment, imports, revocation, truststore
from pki.changes import current_version
from pki.errors import AuthorityError, BadFileError, CertificateRevokedError, PKIError, StateError
from pki.imports import Fate, Imported
from pki.models import (
    AuditEntry,
    Certificate,
    CertificateAuthority,
    Invitation,
    RevocationList,
)
from tests import certs
from tests.factories import PKI, People, make_device
from tests.locks import held_up, needs_row_locks

PARTNER = certs.make_ca("Partner Root", path_length=2)
MIDDLE = PARTNER.make_ca("Partner Middle", path_length=1)
LOWER = MIDDLE.make_ca("Partner Lower")
LEAF = LOWER.issue("mallory")


def bring(pki: PKI, at: dt.datetime, *certificates: x509.Certificate) -> Imported:
    return imports.import_anchors(
        actor="admin", truststore=pki.truststore, certificates=certificates, at=at
    )


def subjects(pki: PKI) -> set[str]:
    return set(pki.truststore.anchors.values_list("subject", flat=True))


def test_roots_are_trusted_and_cas_below_them_known_in_any_order(pki: PKI, at: dt.datetime) -> None:
    imported = bring(pki, at, LOWER.certificate, MIDDLE.certificate, PARTNER.certificate)
    assert [anchor.subject for anchor in imported.anchors] == ["CN=Partner Root"]
    assert [ca.name for ca in imported.intermediates] == ["Partner Middle", "Partner Lower"]
    assert subjects(pki) == {"CN=Test Root", "CN=Partner Root"}
    taken = truststore.snapshot(pki.truststore, at)
    assert {MIDDLE.der, LOWER.der} <= set(taken.intermediates)
    assert AuditEntry.objects.filter(action="anchor.added", actor="admin").count() == 1


def test_what_is_here_is_skipped_and_said(pki: PKI, at: dt.datetime) -> None:
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    again = bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    assert not again.anchors
    assert not again.intermediates
    assert [one.subject for one in again.known] == ["CN=Partner Root", "CN=Partner Middle"]
    assert pki.truststore.anchors.count() == 2


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (certs.make_ca("Old Root", expired=True), "expired"),
        (LEAF, "not a CA"),
        (certs.make_ca("Elsewhere").make_ca("Orphan"), "CAs above it"),
        (certs.make_ca("Same").make_ca("Same"), "signs itself"),
    ],
    ids=["expired", "leaf", "orphan", "impostor"],
)
def test_one_that_is_refused_refuses_all(
    pki: PKI, at: dt.datetime, bad: certs.Leaf, sentence: str
) -> None:
    version = current_version()
    with pytest.raises(PKIError, match=sentence):
        bring(pki, at, PARTNER.certificate, bad.certificate)
    assert subjects(pki) == {"CN=Test Root"}
    assert current_version() == version
    assert not Certificate.objects.filter(is_outside=True).exists()


def test_look_through_tells_and_changes_nothing(pki: PKI, at: dt.datetime) -> None:
    version = current_version()
    ours = x509.load_der_x509_certificate(bytes(pki.root.certificate.der))
    found = imports.look_through(
        [PARTNER.certificate, MIDDLE.certificate, LEAF.certificate, ours],
        store=pki.truststore,
        at=at,
    )
    assert [one.fate for one in found] == [
        Fate.ANCHOR,
        Fate.INTERMEDIATE,
        Fate.REFUSED,
        Fate.KNOWN,
    ]
    assert (current_version(), subjects(pki)) == (version, {"CN=Test Root"})


def test_too_many_at_once(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(BadFileError, match="more than 50"):
        bring(pki, at, *[PARTNER.certificate] * 51)
    with pytest.raises(BadFileError, match="more than 50"):
        imports.look_through([PARTNER.certificate] * 51, store=pki.truststore, at=at)


def test_long_chain_in_reverse_is_no_more_work_than_in_order(
    pki: PKI, at: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [certs.make_ca("Level 0", path_length=None)]
    for level in range(1, imports.MOST):
        chain.append(chain[-1].make_ca(f"Level {level}", path_length=None))
    checked = []
    original = authorities.is_signed_by

    def counted(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        checked.append(certificate)
        return original(certificate, issuer)

    monkeypatch.setattr(authorities, "is_signed_by", counted)
    imported = bring(pki, at, *[ca.certificate for ca in reversed(chain)])
    assert [ca.name for ca in imported.intermediates] == [f"Level {n}" for n in range(1, 50)]
    assert len(checked) <= 4 * len(chain)


def test_cas_that_signed_each_other_come_in(pki: PKI, at: dt.datetime) -> None:
    one, two = PARTNER.make_ca("One", path_length=None), certs.make_ca("Two", path_length=None)
    below_one = one.make_ca("Two", key=two.key, path_length=None)
    below_two = two.make_ca("One", key=one.key, path_length=None)
    imported = bring(
        pki, at, below_two.certificate, below_one.certificate, one.certificate, PARTNER.certificate
    )
    assert len(imported.intermediates) == 3


# --- CRLs -----------------------------------------------------------------------------------


def take(pki: PKI, at: dt.datetime, found: x509.CertificateRevocationList) -> imports.ImportedCRL:
    return imports.import_crl(actor="admin", crl=found, at=at)


def test_crl_is_kept_and_judges(pki: PKI, at: dt.datetime) -> None:
    """First trusted; listed, it is revoked."""
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate, LOWER.certificate)
    for ca in (PARTNER, MIDDLE, LOWER):
        take(pki, at, ca.crl(number=5))
    assert truststore.verify(truststore.snapshot(pki.truststore, at), LEAF.chain, at=at)
    version = current_version()

    taken = take(pki, at, LOWER.crl(LEAF, number=6))

    assert (taken.crl.number, taken.crl.entries, taken.revoked) == (6, 1, [])
    assert current_version() > version
    assert AuditEntry.objects.filter(action="crl.imported").count() == 4
    with pytest.raises(CertificateRevokedError):
        truststore.verify(truststore.snapshot(pki.truststore, at), LEAF.chain, at=at)


def test_ca_that_is_listed_is_revoked_here(pki: PKI, at: dt.datetime) -> None:
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    [revoked] = take(pki, at, PARTNER.crl(MIDDLE)).revoked
    assert revoked.subject == "CN=Partner Middle"
    revoked.refresh_from_db()
    assert revoked.status is Certificate.Status.REVOKED


def test_hold_that_is_for_good_in_the_next_crl_is_for_good_here(pki: PKI, at: dt.datetime) -> None:
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    hold, stolen = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.key_compromise
    [held] = take(pki, at, PARTNER.crl(MIDDLE, number=5, reason=hold)).revoked
    assert held.revocation_reason == "certificateHold"
    assert take(pki, at, PARTNER.crl(MIDDLE, number=6, reason=hold)).revoked == []

    take(pki, at, PARTNER.crl(MIDDLE, number=7, reason=stolen))

    with pytest.raises(StateError, match="for good"):
        revocation.release(actor="admin", certificate=held, at=at)


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("held", [Certificate, Invitation])
def test_what_a_crl_lists_is_locked_before_the_audit_trail(
    pki: PKI, people: People, at: dt.datetime, held: type[Certificate | Invitation]
) -> None:
    """As whoever revokes a certificate or redeems a link does."""
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    listed = Certificate.objects.get(subject="CN=Partner Middle")
    enrolment.invite(actor="admin", user=people.bob, device="pc", asked_with=listed.pk, at=at)
    with transaction.atomic():
        list(held.objects.select_for_update(no_key=True))
        taking = held_up(lambda: take(pki, at, PARTNER.crl(MIDDLE)))
        audit.record(actor="admin", action="test.held", target="", detail={}, at=at)
    assert taking.result(30).revoked == [listed]
    assert not Invitation.objects.open(at).exists()


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_crl_counts_for_what_was_adopted_while_it_waited_for_the_audit_trail(
    pki: PKI, at: dt.datetime
) -> None:
    bring(pki, at, PARTNER.certificate)
    leaf = PARTNER.issue("mallory")
    with transaction.atomic():
        row = authorities.outside_certificate(
            leaf.certificate,
            authority=CertificateAuthority.objects.get(name="Partner Root"),
            profile="person",
            key=None,
            actor="admin",
            at=at,
        )
        audit.record(actor="admin", action="test.adopted", target="", detail={}, at=at)
        taking = held_up(lambda: take(pki, at, PARTNER.crl(leaf)))
    assert taking.result(30).revoked == [row]


def test_crl_counts_for_every_certificate_of_its_ca(
    pki: PKI, at: dt.datetime, people: People
) -> None:
    """A CA that was renewed under its name, with its key, has two rows; it signs one CRL."""
    renewed = PARTNER.make_ca("Partner Middle", path_length=1, key=MIDDLE.key)
    bring(pki, at, PARTNER.certificate, MIDDLE.certificate)
    first = take(pki, at, MIDDLE.crl(number=5))
    bring(pki, at, renewed.certificate)
    again = take(pki, at, x509.load_der_x509_crl(bytes(first.crl.der)))
    assert again.crl.authority != first.crl.authority
    below = {
        name: authorities.outside_certificate(
            leaf.certificate,
            authority=row.authority,
            profile="person",
            key=None,
            actor="admin",
            at=at,
        )
        for name, leaf, row in (
            ("before", MIDDLE.issue("before"), first.crl),
            ("since", renewed.issue("since"), again.crl),
        )
    }
    listed = [
        certs.Leaf(x509.load_der_x509_certificate(bytes(row.der)), MIDDLE.key)
        for row in below.values()
    ]

    taken = take(pki, at, MIDDLE.crl(*listed, number=6))

    assert {row.pk for row in taken.revoked} == {row.pk for row in below.values()}
    assert RevocationList.objects.filter(number=6).count() == 2
    with pytest.raises(StateError, match="is here already"):
        take(pki, at, MIDDLE.crl(*listed, number=6))


def test_older_crl_would_forget_revocations(pki: PKI, at: dt.datetime) -> None:
    bring(pki, at, PARTNER.certificate)
    take(pki, at, PARTNER.crl(number=7))
    hour = dt.timedelta(hours=1)
    for older in (
        PARTNER.crl(number=6),
        PARTNER.crl(number=7),
        PARTNER.crl(number=8, at=at - 5 * hour),
    ):
        with pytest.raises(StateError, match="is here already"):
            take(pki, at, older)
    assert RevocationList.objects.filter(authority__name="Partner Root").count() == 1


@pytest.mark.parametrize("name", ["stranger", "impostor", "stale", "future"])
def test_crl_that_is_refused(pki: PKI, at: dt.datetime, name: str) -> None:
    bring(pki, at, PARTNER.certificate)
    day = dt.timedelta(days=1)
    impostor = certs.Authority(PARTNER.certificate, certs.make_key())
    found, sentence = {
        "stranger": (certs.make_ca("Stranger").crl(), "No CA known here"),
        "impostor": (impostor.crl(), "No CA known here"),
        "stale": (PARTNER.crl(at=at - 9 * day), "out of date"),
        "future": (PARTNER.crl(at=at + day), "out of date"),
    }[name]
    with pytest.raises(AuthorityError, match=sentence):
        take(pki, at, found)
    assert not RevocationList.objects.filter(authority__name="Partner Root").exists()


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (x509.AuthorityKeyIdentifier, "has no authority key identifier"),
        (x509.CRLNumber, "has no CRL number"),
        (None, "is a delta CRL"),
    ],
)
def test_crl_that_its_ca_signed_is_refused_for_what_it_lacks(
    pki: PKI, at: dt.datetime, lacking: type[x509.ExtensionType] | None, sentence: str
) -> None:
    """`openssl ca -gencrl` leaves both out, unless its configuration names them."""
    bring(pki, at, PARTNER.certificate)
    whole = PARTNER.crl()
    builder = x509.CertificateRevocationListBuilder(
        whole.issuer, whole.last_update_utc, whole.next_update_utc
    )
    for extension in whole.extensions:
        if lacking is None or not isinstance(extension.value, lacking):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    if lacking is None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    with pytest.raises(AuthorityError, match=f"Partner Root {sentence}.*Ask Partner Root"):
        take(pki, at, builder.sign(PARTNER.key, SHA256()))


def test_crl_of_ours_is_not_imported(pki: PKI, people: People, at: dt.datetime) -> None:
    make_device(people.alice, pki.issuing)
    ours = crl.latest(pki.issuing)
    assert ours is not None
    with pytest.raises(AuthorityError, match="publishes its CRLs here"):
        take(pki, at, x509.load_der_x509_crl(bytes(ours.der)))
