"""A certificate from elsewhere becomes a person's. Mallory's CA is trusted for handshakes here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from pki import adoption, crl, identity, imports, outside, people, truststore
from pki.errors import (
    AccountDisabledError,
    CertificateExpiredError,
    CertificateNotTrustedError,
    CertificateRevokedError,
    IdentityError,
    KeyReuseError,
    PKIError,
    RequestError,
    StateError,
    WrongPurposeError,
)
from pki.identity import Identity
from pki.models import AuditEntry, Certificate, TrustStore, User
from pki.revocation import revoke
from tests import certs
from tests.factories import PKI, make_device, make_endpoint, make_person
from tests.locks import held_up, needs_row_locks

PARTNER = certs.make_ca("Partner Root")
LOWER = PARTNER.make_ca("Partner Issuing")
ALICE = LOWER.issue("A. Partner", hosts=["Alice@Example.ORG"])
TEAPOT = dt.timedelta(days=1)


@pytest.fixture
def store(pki: PKI, at: dt.datetime) -> TrustStore:
    """A partner's CAs with their CRLs, trusted by the endpoint "main"; recognises nobody."""
    imports.import_anchors(
        actor="admin",
        truststore=pki.truststore,
        certificates=[PARTNER.certificate, LOWER.certificate],
        at=at,
    )
    for ca in (PARTNER, LOWER):
        imports.import_crl(actor="admin", crl=ca.crl(), at=at)
    make_endpoint(pki, pki.truststore)
    return pki.truststore


@pytest.fixture
def by(store: TrustStore, at: dt.datetime) -> Callable[[str], TrustStore]:
    def recognises(way: str) -> TrustStore:
        truststore.set_recognition(actor="admin", truststore=store, recognises=way, at=at)
        return store

    return recognises


def come(leaf: certs.Leaf, at: dt.datetime, *, endpoint: str = "main") -> Identity:
    """What the middleware does: Python's TLS tells the leaf alone."""
    return identity.identify(chain=[leaf.der], at=at, endpoint=endpoint)


def adopt(leaf: certs.Leaf, user: User, store: TrustStore, at: dt.datetime) -> Certificate:
    return adoption.adopt(actor="admin", chain=leaf.chain, user=user, truststore=store, at=at)


# --- By an admin ----------------------------------------------------------------------------


def test_adopted_certificate_signs_in(store: TrustStore, alice: User, at: dt.datetime) -> None:
    with pytest.raises(CertificateNotTrustedError):
        come(ALICE, at)
    row = adopt(ALICE, alice, store, at)
    assert come(ALICE, at).username == "alice"
    assert (row.is_outside, row.signs_in, row.issued_by) == (True, True, "admin")
    assert row.authority is not None
    assert row.authority.name == "Partner Issuing"
    entry = AuditEntry.objects.get(action="certificate.adopted")
    assert (entry.actor, entry.detail["person"]) == ("admin", "alice")


def test_issuing_ca_that_came_with_it_is_known_afterwards(
    pki: PKI, alice: User, at: dt.datetime
) -> None:
    root = certs.make_ca("Other Root")
    lower = root.make_ca("Other Issuing")
    alone = truststore.create_truststore(actor="admin", name="others", at=at)
    imports.import_anchors(actor="admin", truststore=alone, certificates=[root.certificate], at=at)
    adopt(lower.issue("alice"), alice, alone, at)
    assert lower.der in truststore.snapshot(alone, at).intermediates


def test_admin_may_be_adopted_explicitly(
    store: TrustStore, people: object, at: dt.datetime
) -> None:
    admin = User.objects.get(username="admin")
    adopt(ALICE, admin, store, at)
    assert come(ALICE, at).is_staff


@pytest.mark.parametrize(
    ("leaf", "sentence"),
    [
        (certs.make_ca("Stranger").issue("alice"), "not trusted"),
        (LOWER.issue("alice", purposes=certs.SERVER), "not meant for signing people in"),
        (LOWER.issue("alice", purposes=()), "not meant for signing people in"),
        (LOWER.issue("alice", expired=True), "expired"),
        (LOWER, "certificate of a CA"),
    ],
    ids=["stranger", "server", "no purpose", "expired", "CA"],
)
def test_what_an_endpoint_refuses_is_not_adopted(
    store: TrustStore, alice: User, at: dt.datetime, leaf: certs.Leaf, sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        adopt(leaf, alice, store, at)
    assert not Certificate.objects.filter(owner=alice).exists()
    assert AuditEntry.objects.filter(action="certificate.adopt.refused", actor="admin").exists()


def test_revoked_certificate_is_not_adopted(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    imports.import_crl(actor="admin", crl=LOWER.crl(ALICE, number=2), at=at)
    with pytest.raises(RequestError, match="revoked"):
        adopt(ALICE, alice, store, at)


def test_certificate_is_adopted_once(store: TrustStore, people: object, at: dt.datetime) -> None:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    adopt(ALICE, alice, store, at)
    for user in (alice, bob):
        with pytest.raises(StateError, match="known here already"):
            adopt(ALICE, user, store, at)
    assert come(ALICE, at).username == "alice"


def test_certificate_of_ours_is_not_adopted(
    pki: PKI, store: TrustStore, people: object, at: dt.datetime
) -> None:
    """Neither one that we know, nor one that somebody made with a key of ours."""
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    laptop = make_device(alice, pki.issuing, at=at)
    chain = laptop.chain
    with pytest.raises(RequestError, match="no record of it"):
        adoption.adopt(actor="admin", chain=chain, user=bob, truststore=store, at=at)
    Certificate.objects.filter(pk=laptop.certificate.pk).delete()
    with pytest.raises(RequestError, match="no record of it"):
        adoption.adopt(actor="admin", chain=chain, user=bob, truststore=store, at=at)


def test_below_a_ca_of_ours_nothing_is_adopted(pki: PKI, alice: User, at: dt.datetime) -> None:
    """Also where the next CA above it has its key elsewhere."""
    root = certs.make_ca("Taken Over", path_length=2)
    lower = root.make_ca("Elsewhere")
    store = truststore.create_truststore(actor="admin", name="alone", at=at)
    imports.import_anchors(actor="admin", truststore=store, certificates=[root.certificate], at=at)
    leaf, other = lower.issue("alice"), lower.issue("alice")
    assert adopt(other, alice, store, at).owner == alice
    outside.import_authority(
        actor="admin",
        data=root.pem + root.key_pem,
        password=None,
        discard_revocations=True,
        at=at,
    )
    with pytest.raises(RequestError, match="no record of it"):
        adopt(leaf, alice, store, at)


def test_key_of_somebody_else_is_not_adopted(
    pki: PKI, store: TrustStore, people: object, at: dt.datetime
) -> None:
    alice, bob = User.objects.get(username="alice"), User.objects.get(username="bob")
    laptop = make_device(bob, pki.issuing, at=at)
    same = LOWER.issue("alice", key=laptop.key)
    with pytest.raises(KeyReuseError, match="somebody else"):
        adopt(same, alice, store, at)
    assert not Certificate.objects.filter(owner=alice).exists()


@pytest.mark.parametrize("reason", ["keyCompromise", "cACompromise"])
def test_key_that_was_compromised_is_not_adopted(
    store: TrustStore, alice: User, at: dt.datetime, reason: str
) -> None:
    revoke(actor="admin", certificate=adopt(ALICE, alice, store, at), reason=reason, at=at)
    with pytest.raises(KeyReuseError, match="lost or stolen"):
        adopt(LOWER.issue("A. Partner", key=ALICE.key), alice, store, at)


def test_closed_account_adopts_nothing(store: TrustStore, alice: User, at: dt.datetime) -> None:
    people.disable_person(actor="admin", user=alice, at=at)
    with pytest.raises(RequestError, match="disabled"):
        adopt(ALICE, alice, store, at)


# --- What ends it ---------------------------------------------------------------------------


def test_crl_from_outside_revokes_what_was_adopted(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    adopt(ALICE, alice, store, at)
    held = come(ALICE, at)
    [revoked] = imports.import_crl(actor="admin", crl=LOWER.crl(ALICE, number=2), at=at).revoked
    assert revoked.owner == alice
    with pytest.raises(CertificateRevokedError):
        come(ALICE, at)
    with pytest.raises(CertificateRevokedError):
        identity.recheck(held, at=at)


@pytest.mark.parametrize(
    ("way", "error"), [("nobody", RequestError), ("email", CertificateRevokedError)]
)
def test_crl_that_comes_in_between_is_seen(
    by: Callable[[str], TrustStore],
    alice: User,
    at: dt.datetime,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    error: type[PKIError],
) -> None:
    """After the path was verified, and before the row is written."""
    store, insert = by(way), adoption._insert

    def late(*found: object, **more: object) -> Certificate:
        imports.import_crl(actor="admin", crl=LOWER.crl(ALICE, number=2), at=at)
        return insert(*found, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(adoption, "_insert", late)
    with pytest.raises(error, match="revoked"):
        adopt(ALICE, alice, store, at) if way == "nobody" else come(ALICE, at)
    assert not Certificate.objects.filter(owner=alice).exists()


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_adopted_first", [True, False])
def test_adoption_and_crl_at_once(
    store: TrustStore, alice: User, at: dt.datetime, is_adopted_first: bool
) -> None:
    """Whoever comes second sees what the first has written."""

    def take() -> object:
        return imports.import_crl(actor="admin", crl=LOWER.crl(ALICE, number=2), at=at)

    if is_adopted_first:
        with transaction.atomic():
            adopted = adopt(ALICE, alice, store, at)
            taking = held_up(take)
        taking.result(30)
        adopted.refresh_from_db()
        assert adopted.revoked_at
    else:
        with transaction.atomic():
            take()
            adopting = held_up(lambda: adopt(ALICE, alice, store, at))
        with pytest.raises(RequestError, match="revoked"):
            adopting.result(30)


def test_admin_revokes_what_was_adopted(store: TrustStore, alice: User, at: dt.datetime) -> None:
    row = adopt(ALICE, alice, store, at)
    revoke(actor="admin", certificate=row, reason="affiliationChanged", at=at)
    with pytest.raises(CertificateRevokedError):
        come(ALICE, at)


def test_withdrawn_root_takes_its_people_along(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    adopt(ALICE, alice, store, at)
    held = come(ALICE, at)
    anchor = store.anchors.get(subject="CN=Partner Root")
    truststore.withdraw_anchor(actor="admin", anchor=anchor, at=at)
    with pytest.raises(CertificateNotTrustedError, match="not trusted here any more"):
        identity.recheck(held, at=at)
    assert isinstance(identity.refusals([held], at=at)[held.sha256], CertificateNotTrustedError)


def test_root_whose_date_has_passed_takes_its_people_along(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    adopt(ALICE, alice, store, at)
    truststore.date_anchor(
        actor="admin",
        anchor=store.anchors.get(subject="CN=Partner Root"),
        trusted_from=None,
        trusted_until=at + TEAPOT,
        at=at,
    )
    assert come(ALICE, at)
    with pytest.raises(CertificateNotTrustedError):
        come(ALICE, at + TEAPOT)


def test_root_of_a_store_that_no_endpoint_uses_is_not_enough(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    adopt(ALICE, alice, store, at)
    assert come(ALICE, at)
    store.endpoints.update(enabled=False)
    with pytest.raises(CertificateNotTrustedError):
        come(ALICE, at)


# --- By a name ------------------------------------------------------------------------------


def test_email_in_the_san_is_recognised(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    assert come(ALICE, at).username == "alice"
    row = Certificate.objects.get(owner=alice)
    assert (row.issued_by, row.is_outside) == (adoption.RECOGNISED, True)
    assert come(ALICE, at).certificate_id == row.pk
    assert AuditEntry.objects.filter(action="certificate.recognised").count() == 1


def test_common_name_that_is_a_username_is_recognised(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("subject")
    assert come(LOWER.issue("alice"), at).username == "alice"
    with pytest.raises(CertificateNotTrustedError):
        come(LOWER.issue("Alice"), at)


def test_store_that_recognises_nobody_believes_no_name(
    store: TrustStore, alice: User, at: dt.datetime
) -> None:
    assert store.recognises == TrustStore.Recognises.NOBODY
    for leaf in (ALICE, LOWER.issue("alice")):
        with pytest.raises(CertificateNotTrustedError):
            come(leaf, at)
    assert not Certificate.objects.filter(owner=alice).exists()


def test_one_way_does_not_open_the_other(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    with pytest.raises(CertificateNotTrustedError, match="names nobody"):
        come(LOWER.issue("alice"), at)
    by("subject")
    with pytest.raises(CertificateNotTrustedError, match="names nobody"):
        come(ALICE, at)


def test_only_the_store_of_the_endpoint_counts(
    pki: PKI, by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    other = truststore.create_truststore(actor="admin", name="other", at=at)
    make_endpoint(pki, other, name="other", port=9443)
    for endpoint in ("other", "unknown"):
        with pytest.raises(CertificateNotTrustedError):
            come(ALICE, at, endpoint=endpoint)
    with pytest.raises(CertificateNotTrustedError):
        identity.identify(chain=[ALICE.der], at=at)
    assert come(ALICE, at).username == "alice"


def test_email_in_the_subject_is_not_believed(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    for leaf in (LOWER.issue("alice@example.org"), _with_email_in_subject("alice@example.org")):
        with pytest.raises(CertificateNotTrustedError, match="names nobody"):
            come(leaf, at)


def _with_email_in_subject(address: str) -> certs.Leaf:
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)])
    model = LOWER.issue("model")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(LOWER.certificate.subject)
        .public_key(model.certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(model.certificate.not_valid_before_utc)
        .not_valid_after(model.certificate.not_valid_after_utc)
    )
    for extension in model.certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return certs.Leaf(builder.sign(LOWER.key, certs.SHA256()), model.key, model.issuers)


@pytest.mark.parametrize("is_active", [True, False])
def test_two_people_with_one_email_are_nobody(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime, is_active: bool
) -> None:
    """Also where one of the accounts is closed: whose certificate is it?"""
    by("email")
    make_person("alicia", email="ALICE@example.org", is_active=is_active)
    with pytest.raises(CertificateNotTrustedError, match="names nobody"):
        come(ALICE, at)


@pytest.mark.parametrize(
    ("known", "is_same"),
    [
        ("Kate@Example.org", True),
        ("kate@example.com", False),
        ("\u212aate@example.org", False),  # the sign of the kelvin, whose small letter is a k
        ("kate@ex\u00e4mple.org", False),
        ("", False),
    ],
)
def test_addresses_are_the_same_apart_from_the_case_of_ascii(known: str, is_same: bool) -> None:
    assert adoption.is_same_address(known, "kate@example.org") is is_same
    assert adoption.is_same_address("kate@example.org", known) is is_same


@pytest.mark.parametrize(
    ("way", "leaf"),
    [
        ("email", LOWER.issue("a", hosts=["alice@example.org\0"])),
        ("email", LOWER.issue("a", hosts=["alice@example.org "])),
        ("subject", LOWER.issue("alice\0")),
        ("subject", LOWER.issue("alice\u200b")),
    ],
    ids=["NUL in SAN", "space in SAN", "NUL in CN", "nothing in CN"],
)
def test_database_is_asked_for_no_name_with_what_cannot_be_seen(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime, way: str, leaf: certs.Leaf
) -> None:
    """PostgreSQL takes no NUL, and would answer with its own error."""
    store = by(way)
    with CaptureQueriesContext(connection) as asked, pytest.raises(CertificateNotTrustedError):
        adoption.person_of(chain=leaf.chain, truststore=store, at=at)
    assert not [query for query in asked if "pki_user" in query["sql"]]


def test_person_without_email_is_nobody_for_a_certificate_without(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    User.objects.filter(pk=alice.pk).update(email="")
    with pytest.raises(CertificateNotTrustedError, match="names nobody"):
        come(LOWER.issue("alice", hosts=["host.example.org"]), at)


@pytest.mark.parametrize("way", ["email", "subject"])
def test_console_is_out_of_reach_of_names(
    by: Callable[[str], TrustStore], people: object, at: dt.datetime, way: str
) -> None:
    by(way)
    with pytest.raises(CertificateNotTrustedError, match="console"):
        come(LOWER.issue("admin", hosts=["admin@example.org"]), at)
    assert not Certificate.objects.filter(owner__username="admin").exists()


def test_who_is_given_the_console_later_leaves_the_recognised_certificate(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    held = come(ALICE, at)
    people.change_person(actor="admin", user=alice, changes={"is_staff": True}, at=at)
    with pytest.raises(CertificateNotTrustedError, match="console"):
        come(ALICE, at)
    with pytest.raises(CertificateNotTrustedError, match="console"):
        identity.recheck(held, at=at)


def test_closed_account_is_not_recognised(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    people.disable_person(actor="admin", user=alice, at=at)
    with pytest.raises(AccountDisabledError):
        come(ALICE, at)
    assert not Certificate.objects.filter(owner=alice).exists()


@pytest.mark.parametrize(
    ("leaf", "error"),
    [
        (certs.make_ca("Mallory CA").issue("alice", hosts=["alice@example.org"]), None),
        (
            certs.make_ca("Partner Issuing").issue("alice", hosts=["alice@example.org"]),
            CertificateNotTrustedError,
        ),
        (LOWER.issue("a", hosts=["alice@example.org"], purposes=certs.SERVER), WrongPurposeError),
        (LOWER.issue("a", hosts=["alice@example.org"], expired=True), CertificateExpiredError),
    ],
    ids=["stranger", "impostor", "server", "expired"],
)
def test_right_name_on_a_wrong_certificate(
    by: Callable[[str], TrustStore],
    alice: User,
    at: dt.datetime,
    leaf: certs.Leaf,
    error: type[IdentityError] | None,
) -> None:
    by("email")
    with pytest.raises(error or CertificateNotTrustedError):
        come(leaf, at)
    assert not Certificate.objects.filter(owner=alice).exists()


def test_revoked_in_the_outside_crl_is_not_recognised(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    by("email")
    imports.import_crl(actor="admin", crl=LOWER.crl(ALICE, number=2), at=at)
    with pytest.raises(CertificateRevokedError):
        come(ALICE, at)
    assert not Certificate.objects.filter(owner=alice).exists()


def test_without_crl_of_the_outside_ca_nobody_is_recognised(
    pki: PKI, alice: User, at: dt.datetime
) -> None:
    """Beside our own CAs, and in a store of outside CAs alone."""
    alone = truststore.create_truststore(actor="admin", name="alone", at=at)
    make_endpoint(pki, alone, name="alone")
    make_endpoint(pki, pki.truststore, name="main", port=9443)
    for store in (alone, pki.truststore):
        imports.import_anchors(
            actor="admin",
            truststore=store,
            certificates=[PARTNER.certificate, LOWER.certificate],
            at=at,
        )
        truststore.set_recognition(actor="admin", truststore=store, recognises="email", at=at)
        with pytest.raises(CertificateNotTrustedError):
            come(ALICE, at, endpoint="alone" if store is alone else "main")


def test_certificate_of_ours_that_is_not_known_is_not_recognised(
    pki: PKI, by: Callable[[str], TrustStore], people: object, at: dt.datetime
) -> None:
    """A stolen CA key names whom it likes."""
    by("email")
    bob = User.objects.get(username="bob")
    laptop = make_device(bob, pki.issuing, at=at)
    Certificate.objects.filter(pk=laptop.certificate.pk).delete()
    crl.publish(authority=pki.issuing, actor="admin", at=at)
    with pytest.raises(CertificateNotTrustedError, match="no record"):
        identity.identify(chain=laptop.chain, at=at, endpoint="main")


def test_two_connections_at_once_get_one_row(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    store = by("email")
    first = adoption.recognise(chain=[ALICE.der], truststore=store, at=at)
    assert adoption.recognise(chain=[ALICE.der], truststore=store, at=at) == first


def test_person_of_changes_nothing(
    by: Callable[[str], TrustStore], alice: User, at: dt.datetime
) -> None:
    store = by("email")
    assert adoption.person_of(chain=[ALICE.der], truststore=store, at=at) == alice
    assert not Certificate.objects.filter(owner=alice).exists()


def test_key_of_somebody_else_is_not_recognised(
    pki: PKI, by: Callable[[str], TrustStore], people: object, at: dt.datetime
) -> None:
    by("email")
    laptop = make_device(User.objects.get(username="bob"), pki.issuing, at=at)
    with pytest.raises(PKIError) as caught:
        come(LOWER.issue("a", hosts=["alice@example.org"], key=laptop.key), at)
    assert isinstance(caught.value, CertificateNotTrustedError)
    assert not Certificate.objects.filter(owner__username="alice").exists()
