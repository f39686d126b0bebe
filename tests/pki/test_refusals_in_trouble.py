"""When the clock, the master key or the token fails, or two act at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import connections
from django.db.models import F
from django.utils import timezone

from pki import audit, authorities, certification, crl, enrolment, masterkey, revocation, tokens
from pki.errors import (
    AlreadyRevokedError,
    ClockError,
    KeyBackendError,
    MasterKeyInvalidError,
    MasterKeyMissingError,
    PKIError,
    StateError,
)
from pki.handout import Format
from pki.models import AuditBacklog, AuditEntry, AuditHead, Certificate, User
from tests import certs
from tests.client import Visitor
from tests.factories import PKI, make_device, make_people, make_pki
from tests.refusals import refused, refused_entries, refused_unsealed, state
from tests.softhsm import LABEL, Token, make_token

HOUR = dt.timedelta(hours=1)
FILE_FIELDS = {"format": Format.P12.value, "password": "one two three four"}
Verb = Callable[[PKI, Certificate, dt.datetime], object]


def issue(pki: PKI, mine: Certificate, at: dt.datetime) -> object:
    assert mine.owner
    return certification.submit(
        actor="admin",
        requester=mine.owner,
        profile="person",
        csr=certs.make_csr("alice"),
        owner=mine.owner,
        device="phone",
        at=at,
    )


def revoke(pki: PKI, mine: Certificate, at: dt.datetime) -> object:
    return revocation.revoke(actor="admin", certificate=mine, reason="superseded", at=at)


def publish(pki: PKI, mine: Certificate, at: dt.datetime) -> object:
    return crl.publish(authority=pki.issuing, actor="admin", at=at)


VERBS: dict[str, Verb] = {
    "request.submit": issue,
    "certificate.revoke": revoke,
    "crl.publish": publish,
}


@pytest.fixture
def mine(pki: PKI, alice: User, at: dt.datetime) -> Certificate:
    return make_device(alice, pki.issuing, at=at).certificate


def swept_in(action: str, at: dt.datetime) -> None:
    """What waited is in the trail now, with the time it happened at."""
    assert audit.sweep_backlog(at=at) == 1
    assert not AuditBacklog.objects.exists()
    [entry] = refused_entries()
    assert (entry.action, entry.actor) == (f"{action}.refused", "admin")
    assert entry.detail["happened_at"]
    assert audit.verify() == AuditEntry.objects.count()


# --- The clock and the master key -----------------------------------------------------------


@pytest.mark.parametrize(("action", "verb"), VERBS.items(), ids=VERBS.keys())
def test_clock_set_back(
    pki: PKI, mine: Certificate, at: dt.datetime, action: str, verb: Verb
) -> None:
    AuditHead.objects.update(at=timezone.now() + HOUR)
    with refused_unsealed(ClockError, "The clock of this machine", action=action, actor="admin"):
        verb(pki, mine, at)

    AuditHead.objects.update(at=timezone.now())  # as if the clock were right again
    swept_in(action, at)
    assert verb(pki, mine, at)


@pytest.mark.parametrize(("action", "verb"), VERBS.items(), ids=VERBS.keys())
@pytest.mark.parametrize("trouble", ["missing", "wrong"])
def test_master_key_missing_or_wrong(
    pki: PKI,
    mine: Certificate,
    at: dt.datetime,
    settings,
    tmp_path: Path,
    trouble: str,
    action: str,
    verb: Verb,
) -> None:
    right, other = settings.SIGNET_MASTER_KEY_FILE, tmp_path / "other.key"
    settings.SIGNET_MASTER_KEY_FILE = other
    if trouble == "wrong":
        masterkey.create(other)
    error, sentence = {
        "missing": (MasterKeyMissingError, "is missing"),
        "wrong": (MasterKeyInvalidError, "is another one"),
    }[trouble]
    with refused_unsealed(error, sentence, action=action, actor="admin"):
        verb(pki, mine, at)

    settings.SIGNET_MASTER_KEY_FILE = right
    swept_in(action, at)
    assert verb(pki, mine, at)


TROUBLES = {
    "clock": "The clock of",
    "master key": "is missing",
    "audit trail": "The audit trail cannot be written",
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("way", ["file", "csr"])
def test_link_is_not_used_up_by_trouble(
    pki: PKI, alice: User, at: dt.datetime, settings, trouble: str, way: str
) -> None:
    """Whoever opens it gets a sentence, and may try again."""
    _, token = enrolment.invite(actor="admin", user=alice, device="phone", at=at)
    before, right = state(), settings.SIGNET_MASTER_KEY_FILE
    match trouble:
        case "clock":
            AuditHead.objects.update(at=timezone.now() + HOUR)
        case "master key":
            settings.SIGNET_MASTER_KEY_FILE = Path("missing.key")
        case "audit trail":  # the next entry's number is taken
            AuditHead.objects.update(sequence=F("sequence") - 1)
    csr = certs.make_csr("alice").public_bytes(Encoding.PEM).decode()
    path, fields, kind = {
        "file": (f"/enrol/{token}/", FILE_FIELDS, "application/x-pkcs12"),
        "csr": (f"/enrol/{token}/csr/", {"csr": csr}, "application/json"),
    }[way]
    visitor = Visitor(serves="enrol")
    page = visitor.post(path, fields)
    assert page.status_code == 400
    assert TROUBLES[trouble] in page.content.decode()
    assert state() == before
    assert AuditBacklog.objects.get().actor == "alice"

    settings.SIGNET_MASTER_KEY_FILE = right
    AuditHead.objects.update(at=timezone.now(), sequence=AuditEntry.objects.count())
    answer = visitor.post(path, fields)
    assert (answer.status_code, answer["Content-Type"]) == (200, kind)


# --- The token ------------------------------------------------------------------------------


@pytest.fixture
def on_token(
    pki: PKI, at: dt.datetime, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[PKI, Token]:
    """The PKI, with an issuing CA whose key is on a token."""
    token = make_token(tmp_path / "hsm", monkeypatch)
    settings.SIGNET_PKCS11_MODULE = token.module
    settings.SIGNET_PKCS11_TOKEN = LABEL
    settings.SIGNET_PKCS11_PIN_FILE = token.pin_file
    made = authorities.create_authority(
        actor="admin", name="Token CA", parent=pki.root, backend="pkcs11", at=at
    )
    return PKI(root=pki.root, issuing=made, truststore=pki.truststore), token


def issue_from_token(pki: PKI, mine: Certificate, at: dt.datetime) -> object:
    assert mine.owner
    return make_device(mine.owner, pki.issuing, device="phone", at=at)


@pytest.mark.parametrize(
    ("action", "actor", "verb"),
    [
        ("certificate.issue", "tests", issue_from_token),
        ("certificate.revoke", "admin", revoke),
        ("crl.publish", "admin", publish),
    ],
    ids=["issue", "revoke", "publish"],
)
def test_token_pulled_out_in_the_middle_of_a_signature(
    on_token: tuple[PKI, Token],
    alice: User,
    at: dt.datetime,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    actor: str,
    verb: Verb,
) -> None:
    pki, token = on_token
    mine = make_device(alice, pki.issuing, at=at).certificate
    find = tokens._one

    class Pulled:
        """The key as the token gives it, until it is to sign."""

        def __init__(self, key: object) -> None:
            self.key = key

        def __getattr__(self, name: str) -> object:
            return getattr(self.key, name)

        def sign(self, *_: object, **__: object) -> bytes:
            if token.tokens.exists():
                token.take_away()
            raise pkcs11.exceptions.DeviceRemoved()

    monkeypatch.setattr(tokens, "_one", lambda *which: Pulled(find(*which)))
    with refused(KeyBackendError, "Nothing was signed", action=action, actor=actor):
        verb(pki, mine, at)
    assert not token.tokens.exists()

    monkeypatch.setattr(tokens, "_one", find)
    token.bring_back()
    assert verb(pki, mine, at)


# --- Two at once ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round", range(5))
def test_two_who_revoke_and_release_at_once(at: dt.datetime, round: int) -> None:
    """Both looked at a certificate on hold; exactly one has their way."""
    pki, people = make_pki(at=at), make_people()
    held = make_device(people.alice, pki.issuing, at=at).certificate
    revocation.revoke(actor="admin", certificate=held, reason="certificateHold", at=at)
    start, outcomes = Barrier(2), dict[str, PKIError | None]()

    def act(name: str, verb: Callable[[Certificate], object]) -> None:
        certificate = Certificate.objects.get(pk=held.pk)
        start.wait(timeout=30)
        try:
            verb(certificate)
            outcomes[name] = None
        except PKIError as error:
            outcomes[name] = error
        finally:
            connections.close_all()

    def revoke_it(certificate: Certificate) -> object:
        return revocation.revoke(
            actor="one", certificate=certificate, reason="keyCompromise", at=at
        )

    def release_it(certificate: Certificate) -> object:
        return revocation.release(actor="two", certificate=certificate, at=at)

    threads = [Thread(target=act, args=work) for work in (("one", revoke_it), ("two", release_it))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    [winner] = [name for name, error in outcomes.items() if error is None]
    [(loser, error)] = [pair for pair in outcomes.items() if pair[1] is not None]
    assert isinstance(error, StateError)
    held.refresh_from_db()
    expected = {"one": "keyCompromise", "two": ""}
    assert held.revocation_reason == expected[winner]
    assert (held.revoked_at is None) == (winner == "two")
    [entry] = refused_entries()
    actions = {"one": "certificate.revoke.refused", "two": "certificate.release.refused"}
    assert (entry.action, entry.actor) == (actions[loser], loser)
    assert audit.verify() == AuditEntry.objects.count()


@pytest.mark.parametrize("first", ["revoke", "release"])
def test_second_of_two_who_looked_at_the_same_hold(
    pki: PKI, mine: Certificate, at: dt.datetime, first: str
) -> None:
    """Both orders, so that no lucky race hides one."""
    revocation.revoke(actor="admin", certificate=mine, reason="certificateHold", at=at)
    seen = Certificate.objects.get(pk=mine.pk)
    if first == "release":
        revocation.release(actor="one", certificate=mine, at=at)
        with refused(StateError, "released meanwhile", action="certificate.revoke", actor="two"):
            revocation.revoke(actor="two", certificate=seen, reason="superseded", at=at)
    else:
        revocation.revoke(actor="one", certificate=mine, reason="superseded", at=at)
        with refused(StateError, "for good", action="certificate.release", actor="two"):
            revocation.release(actor="two", certificate=seen, at=at)


def test_revoked_twice(pki: PKI, mine: Certificate, at: dt.datetime) -> None:
    revocation.revoke(actor="one", certificate=mine, reason="superseded", at=at)
    with refused(AlreadyRevokedError, "revoked already", action="certificate.revoke", actor="two"):
        revocation.revoke(actor="two", certificate=mine, reason="superseded", at=at)
