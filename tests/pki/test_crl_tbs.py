"""What a CRL says, and what a delta must say to lead from one to another."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import crl_tbs
from pki.crl_lint import sign_twin
from pki.crl_tbs import REMOVED, Contents, Entry, changes
from tests.factories import PKI, People, make_device

THEN = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NOW = THEN + 5 * DAY


def delta(
    base: list[Entry], now: list[Entry], before: list[Entry] | None = None
) -> dict[int, tuple[str, dt.datetime]]:
    found = changes(
        base={entry.serial: entry for entry in base},
        before={entry.serial: entry for entry in before or []},
        now={entry.serial: entry for entry in now},
        since=THEN,
        at=NOW,
    )
    assert len({entry.serial for entry in found}) == len(found)
    return {entry.serial: (entry.reason, entry.at) for entry in found}


def test_what_is_written_is_read_again(pki: PKI, at: dt.datetime) -> None:
    entries = [Entry(1, at, "unspecified"), Entry(2, at, "keyCompromise")]
    contents = Contents(
        issuer=x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der)),
        number=1,
        this_update=at,
        next_update=at + DAY,
        entries=entries,
        points=("http://a/crl/b-1.crl", "http://c/crl/b-1.crl"),
    )
    der = sign_twin(contents, algorithm="p256").public_bytes(Encoding.DER)
    assert list(crl_tbs.read(der).values()) == entries
    assert crl_tbs.points(der) == contents.points


def test_delta_of_the_same_is_empty() -> None:
    same = [Entry(1, THEN, "superseded")]
    assert delta(same, same) == {}


def test_delta_lists_what_is_new_or_other() -> None:
    base = [Entry(1, THEN, "certificateHold"), Entry(2, THEN, "superseded")]
    now = [Entry(1, THEN, "keyCompromise"), base[1], Entry(3, NOW, "unspecified")]
    assert delta(base, now) == {1: ("keyCompromise", THEN), 3: ("unspecified", NOW)}


def test_delta_removes_what_the_base_lists() -> None:
    assert delta([Entry(1, THEN, "certificateHold")], []) == {1: (REMOVED, NOW)}


def test_delta_removes_what_was_listed_in_between() -> None:
    held = Entry(1, THEN + DAY, "certificateHold")
    assert delta([], [], before=[held]) == {1: (REMOVED, NOW)}


def test_removal_keeps_its_date_until_the_base_has_passed_it() -> None:
    young, old = Entry(1, THEN + DAY, REMOVED), Entry(2, THEN - DAY, REMOVED)
    assert delta([], [], before=[young, old]) == {1: (REMOVED, THEN + DAY)}


def test_held_again_is_listed_and_not_removed() -> None:
    again = Entry(1, NOW, "certificateHold")
    assert delta([], [again], before=[Entry(1, THEN + DAY, REMOVED)]) == {
        1: ("certificateHold", NOW)
    }


def test_partition_in_a_certificate(pki: PKI, people: People, at: dt.datetime) -> None:
    assert crl_tbs.partition_in(bytes(pki.root.certificate.der), "test-root") == 0
    whole = make_device(people.alice, pki.issuing, at=at)
    assert crl_tbs.partition_in(whole.der, "test-issuing") == 0
    pki.issuing.crl_partitions = 1
    pki.issuing.save()
    part = make_device(people.alice, pki.issuing, at=at)
    assert crl_tbs.partition_in(part.der, "test-issuing") == 1
    assert crl_tbs.partition_in(part.der, "test") == 0
