"""Lists of people who each get a certificate: checked whole, issued in steps, run again at will."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from pki import audit, roster
from pki import people as accounts
from pki.errors import ProfileError, RequestError, RowsError, StoppedError
from pki.handout import Format
from pki.models import AuditEntry, Certificate, CertificateProfile, User
from pki.revocation import revoke
from pki.roster import Checked, Handed, Row
from tests import certs
from tests.factories import PKI, People, make_device

HOW: dict[str, Any] = {"actor": "admin", "create_people": True}


def row(number: int, username: str, device: str = "laptop", **fields: Any) -> Row:
    return Row(number, username, device, **fields)


def csr_row(number: int, username: str, device: str = "laptop", **fields: Any) -> Row:
    return row(number, username, device, csr=certs.make_csr(username), **fields)


def run(rows: list[Row], at: dt.datetime, **changes: Any) -> tuple[Checked, list[Handed]]:
    """As the command does it: check, then issue."""
    kept: list[Handed] = []
    keep, how = changes.pop("keep", kept.append), HOW | {"at": at} | changes
    packing = {name: how.pop(name) for name in ("format", "password", "progress") if name in how}
    checked = roster.check(rows=rows, **how)
    roster.issue(checked=checked, keep=keep, **how, **packing)
    return checked, kept


def owners() -> list[str]:
    rows = Certificate.objects.of_people().order_by("pk")
    return [one.owner.username for one in rows.select_related("owner") if one.owner]


def test_certificates_for_requests(pki: PKI, people: People, at: dt.datetime) -> None:
    rows = [csr_row(2, "alice"), csr_row(3, "dora", name="Dora D.", email="dora@example.org")]
    _, kept = run(rows, at)
    assert owners() == ["alice", "dora"]
    dora = User.objects.get(username="dora")
    assert (dora.name, dora.email, dora.has_usable_password()) == (
        "Dora D.",
        "dora@example.org",
        False,
    )
    for asked, handed in zip(rows, kept, strict=True):
        found = x509.load_pem_x509_certificates(handed.content)
        assert asked.csr
        assert found[0].public_key() == asked.csr.public_key()
        assert [one.subject.rfc4514_string() for one in found[1:]] == [
            "CN=Test Issuing",
            "CN=Test Root",
        ]
        assert handed.password is None
        assert b"PRIVATE KEY" not in handed.content
    assert AuditEntry.objects.filter(action="person.created", target="dora").count() == 1
    audit.verify()


@pytest.mark.parametrize("password", [None, "one for all of them"])
def test_keys_made_here_are_packed_each_with_its_password(
    pki: PKI, at: dt.datetime, password: str | None
) -> None:
    _, kept = run([row(2, "dora"), row(3, "emil")], at, password=password)
    for handed in kept:
        assert handed.password
        opened = pkcs12.load_pkcs12(handed.content, handed.password.encode())
        assert opened.cert
        assert opened.key
        assert opened.cert.certificate.public_key() == opened.key.public_key()  # type: ignore[union-attr]
    assert len({handed.password for handed in kept}) == (1 if password else 2)


def test_keys_as_pem(pki: PKI, at: dt.datetime) -> None:
    _, [handed] = run([row(2, "dora")], at, format=Format.PEM)
    key = load_pem_private_key(handed.content, None)
    assert x509.load_pem_x509_certificate(handed.content).public_key() == key.public_key()
    assert handed.password is None


def test_refused_rows_are_listed_together_and_nothing_is_issued(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    key = certs.make_key()
    CertificateProfile.objects.filter(name="mail").update(per_person=1)
    rows = [
        csr_row(2, "alice"),
        csr_row(3, "Dora"),
        csr_row(4, "bob", profile="emperor"),
        csr_row(5, "bob", device=""),
        csr_row(6, "alice", device="Laptop"),
        csr_row(7, "bob", profile="code"),
        row(8, "bob", csr=certs.make_csr("x", key=key)),
        row(9, "charlie", csr=certs.make_csr("x", key=key)),
        csr_row(10, "bob", profile="mail"),
        csr_row(11, "bob", profile="mail", device="phone"),
    ]
    with pytest.raises(RowsError) as refused:
        run(rows, at)
    assert [which for which, _ in refused.value.refused] == [
        "row 3 (Dora)",
        "row 4 (bob)",
        "row 5 (bob)",
        "row 6 (alice)",
        "row 7 (bob)",
        "row 9 (charlie)",
        "row 11 (bob)",
    ]
    sentences = [
        "small letters",
        "no profile 'emperor'",
        "Name the device",
        r"same file as row 2 \(alice\)",
        "must approve",
        "belongs to somebody else",
        "1 valid certificates",
    ]
    for sentence in sentences:
        assert refused.match(sentence)
    assert owners() == []
    assert not User.objects.filter(username="dora").exists()


def test_people_are_created_only_where_that_is_wanted(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(RowsError, match=r"row 2 \(dora\): There is no person 'dora'"):
        run([csr_row(2, "dora")], at, create_people=False)
    assert not User.objects.filter(username="dora").exists()


def test_going_on_leaves_out_what_is_refused(pki: PKI, people: People, at: dt.datetime) -> None:
    rows = [csr_row(2, "alice"), csr_row(3, "bob", profile="emperor"), csr_row(4, "charlie")]
    checked, kept = run(rows, at, keep_going=True)
    assert [handed.row.number for handed in kept] == [2, 4]
    [(refused, error)] = checked.refused
    assert (refused.number, type(error)) == (3, ProfileError)
    entry = AuditEntry.objects.get(action="certificate.issue.refused")
    assert (entry.actor, entry.target) == ("admin", "bob")
    assert "emperor" in entry.detail["reason"]


def test_run_again_it_issues_nothing_twice(pki: PKI, people: People, at: dt.datetime) -> None:
    rows = [csr_row(2, "alice"), row(3, "dora", "phone  of Dora")]
    run(rows, at)
    checked, kept = run([*rows, csr_row(4, "bob")], at)
    assert [one.number for one, _ in checked.done] == [2, 3]
    assert [handed.row.number for handed in kept] == [4]
    assert owners() == ["alice", "dora", "bob"]
    with_another_key = csr_row(2, "alice")
    checked, kept = run([with_another_key], at)
    assert [handed.row for handed in kept] == [with_another_key]


def test_what_expired_or_was_revoked_is_issued_anew(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    """What was revoked is no longer held, and neither is what expired (`active`)."""
    held = make_device(people.alice, pki.issuing, at=at).certificate
    assert roster.check(rows=[row(2, "alice")], **HOW, at=at).done == [(row(2, "alice"), held)]
    assert roster.check(rows=[row(2, "alice")], **HOW, at=at + dt.timedelta(days=366)).ready
    revoke(actor="admin", certificate=held, reason="superseded", at=at)
    checked, kept = run([row(2, "alice")], at)
    assert (len(checked.done), len(kept)) == (0, 1)


def test_stopped_between_two_steps_it_can_be_gone_on_with(
    pki: PKI, at: dt.datetime, monkeypatch
) -> None:
    monkeypatch.setattr(roster, "STEP", 2)
    rows = [csr_row(number, f"person-{number}") for number in range(2, 7)]

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise StoppedError(done, total)

    with pytest.raises(StoppedError):
        run(rows, at, progress=stop)
    assert owners() == ["person-2", "person-3", "person-4", "person-5"]
    checked, kept = run(rows, at)
    assert len(checked.done) == 4
    assert [handed.row.number for handed in kept] == [6]
    assert User.objects.filter(username__startswith="person-").count() == 5


def test_a_file_that_cannot_be_kept_undoes_its_step(pki: PKI, at: dt.datetime, monkeypatch) -> None:
    monkeypatch.setattr(roster, "STEP", 2)

    def keep(handed: Handed) -> None:
        if handed.row.number == 5:
            raise OSError("the disk is full")

    rows = [csr_row(number, f"person-{number}") for number in range(2, 7)]
    with pytest.raises(OSError, match="full"):
        run(rows, at, keep=keep)
    assert owners() == ["person-2", "person-3"]
    assert User.objects.filter(username__startswith="person-").count() == 2
    audit.verify()


def rows_with_bob() -> list[Row]:
    names = ["dora", "bob", "emil", "alice", "emil"]
    return [csr_row(n, name, f"device {n}") for n, name in enumerate(names, 2)]


def test_who_is_disabled_meanwhile_is_named(
    pki: PKI, people: People, at: dt.datetime, monkeypatch
) -> None:
    checked = roster.check(rows=rows_with_bob(), **HOW, at=at)
    disable(at)
    with pytest.raises(
        RowsError, match=r"^One row .*\nrow 3 \(bob\): The account of Bob is disabled"
    ):
        roster.issue(checked=checked, keep=print, **HOW, at=at)
    assert owners() == []
    assert not User.objects.filter(username__in=["dora", "emil"]).exists()


def test_others_go_on_without_who_is_disabled_meanwhile(
    pki: PKI, people: People, at: dt.datetime, monkeypatch
) -> None:
    """Drafts of people that were rolled back are drafts again: no number of theirs is kept."""
    monkeypatch.setattr(roster, "STEP", 3)
    checked = roster.check(rows=rows_with_bob(), **HOW, keep_going=True, at=at)
    disable(at)
    kept: list[Handed] = []
    roster.issue(checked=checked, keep=kept.append, **HOW, keep_going=True, at=at)
    assert owners() == ["dora", "emil", "alice", "emil"]
    assert [one.number for one, _ in checked.refused] == [3]
    for handed in kept:
        assert handed.certificate.owner
        assert handed.certificate.subject == f"CN={handed.certificate.owner.username}"
        assert handed.row.username == handed.certificate.owner.username


def disable(at: dt.datetime) -> None:
    accounts.disable_person(actor="admin", user=User.objects.get(username="bob"), at=at)


@pytest.mark.parametrize("count", [0, 3])
def test_lists_have_rows_and_not_too_many(
    pki: PKI, at: dt.datetime, monkeypatch, count: int
) -> None:
    monkeypatch.setattr(roster, "MOST_ROWS", 2)
    with pytest.raises(RequestError, match=f"this one has {count}"):
        roster.check(rows=[row(n, f"person-{n}") for n in range(count)], **HOW, at=at)


def test_check_changes_nothing(pki: PKI, at: dt.datetime) -> None:
    before = AuditEntry.objects.count(), User.objects.count()
    seen: list[tuple[int, int]] = []
    roster.check(
        rows=[row(2, "dora"), row(3, "emil")],
        **HOW,
        at=at,
        progress=lambda *numbers: seen.append(numbers),
    )
    assert (AuditEntry.objects.count(), User.objects.count()) == before
    assert seen == [(2, 2)]
