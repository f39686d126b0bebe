"""Delta CRLs, partitions, and what is kept of them. OpenSSL is the judge."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from django.db import transaction

from pki import audit, crl, crl_publication, crl_tbs, issuance
from pki.errors import AuthorityError, ClockError, RequestError
from pki.models import AuditEntry, AuditHead, Certificate, CertificateAuthority, RevocationList
from pki.revocation import release, revoke
from tests import certs
from tests.factories import PKI, Device, People, make_device
from tests.locks import held_up, needs_row_locks
from tests.openssl import openssl

DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)


def configured(
    pki: PKI, at: dt.datetime, *, partitions: int = 0, deltas: bool = False
) -> CertificateAuthority:
    return crl.configure(
        actor="admin",
        authority=pki.issuing,
        crl_partitions=partitions,
        has_delta_crls=deltas,
        at=at,
    )


def newest(pki: PKI, kind: str = "full", partition: int = 0) -> RevocationList:
    row = crl.latest(pki.issuing, crl.Scope(kind, partition), with_der=True)
    assert row is not None
    return row


def listed(row: RevocationList) -> dict[int, str]:
    return {serial: entry.reason for serial, entry in crl_tbs.read(bytes(row.der)).items()}


def number_of(device: Device) -> int:
    return device.x509.serial_number


def stop(device: Device, at: dt.datetime, reason: str = "superseded") -> None:
    revoke(actor="admin", certificate=device.certificate, reason=reason, at=at)


class Judge:
    """`openssl verify` over a chain, with the CRLs it is given."""

    def __init__(self, pki: PKI, folder: Path) -> None:
        self.pki, self.folder = pki, folder
        self.write("root.pem", bytes(pki.root.certificate.der))
        self.write("issuing.pem", bytes(pki.issuing.certificate.der))

    def write(self, name: str, der: bytes) -> Path:
        pem = x509.load_der_x509_certificate(der).public_bytes(crl.Encoding.PEM)
        (self.folder / name).write_bytes(pem)
        return self.folder / name

    def verdict(
        self, device: Device, *rows: RevocationList, fails: bool, deltas: bool = False
    ) -> str:
        leaf = self.write("leaf.pem", device.der)
        (self.folder / "crls.pem").write_bytes(b"".join(crl.crl_pem(row) for row in rows))
        return openssl(
            *("verify", "-x509_strict", "-crl_check", "-extended_crl"),
            *(["-use_deltas"] if deltas else []),
            *("-CRLfile", self.folder / "crls.pem", "-CAfile", self.folder / "root.pem"),
            *("-untrusted", self.folder / "issuing.pem", leaf),
            fails=fails,
        )


@pytest.fixture
def judge(pki: PKI, tmp_path: Path) -> Judge:
    return Judge(pki, tmp_path)


# --- Deltas ---------------------------------------------------------------------------------


def test_delta_shares_the_number_and_points_to_its_base(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    configured(pki, at, deltas=True)
    stop(device, at)
    full, delta = newest(pki), newest(pki, "delta")
    assert (full.number, delta.number, delta.base_number) == (3, 3, 1)
    assert listed(delta) == listed(full) == {number_of(device): "superseded"}
    found = x509.load_der_x509_crl(bytes(delta.der)).extensions
    indicator = found.get_extension_for_class(x509.DeltaCRLIndicator)
    assert (indicator.critical, indicator.value.crl_number) == (True, 1)
    freshest = x509.load_der_x509_crl(bytes(full.der)).extensions.get_extension_for_class(
        x509.FreshestCRL
    )
    [point] = freshest.value
    assert [name.value for name in point.full_name or []] == [crl.url(pki.issuing, crl.CHANGES)]
    assert crl.url(pki.issuing, crl.CHANGES).endswith("/crl/test-issuing-delta.crl")


def test_openssl_learns_a_revocation_from_the_delta(
    pki: PKI, people: People, at: dt.datetime, judge: Judge
) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    configured(pki, at, deltas=True)
    full = newest(pki)
    assert "OK" in judge.verdict(device, full, newest(pki, "delta"), deltas=True, fails=False)
    stop(device, at)
    assert "OK" in judge.verdict(device, full, fails=False)
    shown = judge.verdict(device, full, newest(pki, "delta"), deltas=True, fails=True)
    assert "certificate revoked" in shown


def test_openssl_learns_a_release_from_the_delta(
    pki: PKI, people: People, at: dt.datetime, judge: Judge
) -> None:
    """Held after the base and released before the delta: some full CRL listed it (5.2.4)."""
    device = make_device(people.alice, pki.issuing, at=at)
    configured(pki, at, deltas=True)
    stop(device, at, "certificateHold")
    held = newest(pki)
    judge.verdict(device, held, newest(pki, "delta"), deltas=True, fails=True)
    release(actor="admin", certificate=device.certificate, at=at)
    delta = newest(pki, "delta")
    assert listed(delta) == {number_of(device): "removeFromCRL"}
    assert listed(newest(pki)) == {}
    assert "OK" in judge.verdict(device, held, delta, deltas=True, fails=False)


def test_removal_goes_on_until_no_current_crl_lists_it(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    configured(pki, at, deltas=True)
    stop(device, at, "certificateHold")
    release(actor="admin", certificate=device.certificate, at=at)
    seen = {}
    for day in (1, 3, 6, 9, 12, 15, 18):
        crl.publish(authority=pki.issuing, actor="admin", at=at + day * DAY)
        seen[day] = bool(listed(newest(pki, "delta")))
    assert seen == {1: True, 3: True, 6: True, 9: False, 12: False, 15: False, 18: False}


def test_base_is_older_than_every_current_crl(pki: PKI, at: dt.datetime) -> None:
    configured(pki, at, deltas=True)
    for hours in range(0, 12 * 24, 8):
        moment = at + dt.timedelta(hours=hours)
        crl.publish(authority=pki.issuing, actor="admin", at=moment)
        delta, fulls = newest(pki, "delta"), pki.issuing.crls.filter(kind="full")
        current = fulls.filter(next_update__gt=moment).order_by("number")
        assert delta.base_number is not None
        assert delta.base_number <= current[0].number
        base = fulls.get(number=delta.base_number)
        assert base.der
        assert base.this_update >= moment - 9 * DAY
        assert fulls.exclude(der=b"").count() <= 10


def test_changed_reason_is_in_the_delta(pki: PKI, people: People, at: dt.datetime) -> None:
    device = make_device(people.alice, pki.issuing, at=at)
    stop(device, at, "certificateHold")
    configured(pki, at, deltas=True)
    assert listed(newest(pki, "delta")) == {}
    stop(device, at + SECOND, "keyCompromise")
    assert listed(newest(pki, "delta")) == {number_of(device): "keyCompromise"}


def test_deltas_are_renewed_between_full_crls(pki: PKI, at: dt.datetime) -> None:
    configured(pki, at, deltas=True)
    rows = crl.publish_due(at=at + dt.timedelta(hours=13))
    assert [(row.kind, row.number) for row in rows] == [("delta", 3)]
    assert newest(pki).number == 2
    due = crl.publish_due(at=at + 4 * DAY)
    assert {row.kind for row in due if row.authority == pki.issuing} == {"full", "delta"}
    assert {row.number for row in due if row.authority == pki.issuing} == {4}


# --- Partitions -----------------------------------------------------------------------------


def partitioned(
    pki: PKI, people: People, at: dt.datetime, count: int = 8
) -> dict[int, list[Device]]:
    """Devices by the partition their certificate names."""
    found: dict[int, list[Device]] = {}
    authority = CertificateAuthority.objects.get(pk=pki.issuing.pk)
    for number in range(count):
        device = make_device(people.alice, authority, device=f"phone {number}", at=at)
        partition = crl_tbs.partition_in(device.der, authority.slug)
        found.setdefault(partition, []).append(device)
    return found


def test_certificate_is_listed_in_the_partition_it_names(
    pki: PKI, people: People, at: dt.datetime, judge: Judge
) -> None:
    configured(pki, at, partitions=2)
    devices = partitioned(pki, people, at)
    assert set(devices) == {1, 2}
    mine, other = devices[1][0], devices[2][0]
    judge.verdict(mine, newest(pki, partition=1), fails=False)
    wrong = judge.verdict(mine, newest(pki, partition=2), fails=True)
    assert "ifferent CRL scope" in wrong
    stop(mine, at)
    stop(other, at)
    assert listed(newest(pki, partition=1)) == {number_of(mine): "superseded"}
    assert listed(newest(pki, partition=2)) == {number_of(other): "superseded"}
    assert set(listed(newest(pki))) == {number_of(mine), number_of(other)}
    assert "certificate revoked" in judge.verdict(mine, newest(pki, partition=1), fails=True)
    assert "certificate revoked" in judge.verdict(mine, newest(pki), fails=True)


def test_partition_says_what_it_is(pki: PKI, at: dt.datetime) -> None:
    configured(pki, at, partitions=2)
    found = x509.load_der_x509_crl(bytes(newest(pki, partition=2).der)).extensions
    extension = found.get_extension_for_class(x509.IssuingDistributionPoint)
    assert extension.critical
    assert [name.value for name in extension.value.full_name or []] == [
        crl.url(pki.issuing, crl.Scope(partition=2))
    ]
    assert crl.url(pki.issuing, crl.Scope(partition=2)).endswith("/crl/test-issuing-2.crl")
    everything = x509.load_der_x509_crl(bytes(newest(pki).der)).extensions
    assert x509.IssuingDistributionPoint not in {type(one.value) for one in everything}


def test_only_the_partition_that_changed_is_published(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    configured(pki, at, partitions=2)
    devices = partitioned(pki, people, at)
    stop(devices[1][0], at)
    assert [newest(pki, partition=p).number for p in (0, 1, 2)] == [3, 3, 2]
    assert AuditEntry.objects.filter(action="crl.published")[0].detail["lists"] == [
        "full",
        "partition 1",
    ]
    renewed = crl.publish_due(at=at + 4 * DAY)
    mine = [row.partition for row in renewed if row.authority == pki.issuing]
    assert sorted(mine) == [0, 1, 2]
    assert len({row.number for row in renewed if row.authority == pki.issuing}) == 1


def test_certificates_of_before_keep_their_crl(
    pki: PKI, people: People, at: dt.datetime, judge: Judge
) -> None:
    old = make_device(people.alice, pki.issuing, at=at)
    configured(pki, at, partitions=2)
    stop(old, at)
    assert "certificate revoked" in judge.verdict(old, newest(pki), fails=True)
    assert listed(newest(pki, partition=1)) == listed(newest(pki, partition=2)) == {}


def test_more_partitions_leave_certificates_where_they_are(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    configured(pki, at, partitions=2)
    devices = partitioned(pki, people, at)
    configured(pki, at, partitions=5)
    for device in devices[1] + devices[2]:
        stop(device, at)
    for partition in (1, 2):
        expected = {number_of(device) for device in devices[partition]}
        assert set(listed(newest(pki, partition=partition))) == expected
    assert [listed(newest(pki, partition=p)) for p in (3, 4, 5)] == [{}, {}, {}]


def test_partitions_that_certificates_name_cannot_go(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    configured(pki, at, partitions=2)
    devices = partitioned(pki, people, at)
    with pytest.raises(AuthorityError, match="name partition"):
        configured(pki, at, partitions=0)
    pki.issuing.refresh_from_db()
    assert pki.issuing.crl_partitions == 2
    past = Certificate.objects.filter(pk__in=[d.certificate.pk for d in devices[2]])
    past.update(not_after=at - DAY)
    configured(pki, at, partitions=1)


def test_certificate_that_names_a_partition_given_up_is_not_issued(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    """It was prepared while there was one."""
    authority = configured(pki, at, partitions=2)
    first, second = (
        issuance.prepare(
            actor="admin",
            authority=authority,
            profile="person",
            public_key=certs.make_key().public_key(),
            owner=people.alice,
            at=at,
        )
        for _ in range(2)
    )
    configured(pki, at, partitions=4)
    issuance.issue(first).delete()
    configured(pki, at)
    with pytest.raises(AuthorityError, match="partition"):
        issuance.issue(second)
    assert not people.alice.certificates.exists()


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_partition_is_not_given_up_while_a_certificate_that_names_it_is_issued(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    authority = configured(pki, at, partitions=1)
    with transaction.atomic():
        make_device(people.alice, authority, at=at)
        configuring = held_up(lambda: configured(pki, at))
    with pytest.raises(AuthorityError, match="name partition 1"):
        configuring.result(30)


def test_partition_keeps_the_address_it_had(pki: PKI, at: dt.datetime, settings) -> None:
    configured(pki, at, partitions=1)
    before = crl.url(pki.issuing, crl.Scope(partition=1))
    settings.SIGNET_HOSTS = ["new.example.org"]
    crl.publish(authority=pki.issuing, actor="admin", at=at)
    names = crl_tbs.points(bytes(newest(pki, partition=1).der))
    assert names == (crl.url(pki.issuing, crl.Scope(partition=1)), before)
    assert "new.example.org" in names[0]


def test_settings_that_cannot_be(pki: PKI, at: dt.datetime) -> None:
    with pytest.raises(RequestError, match="0 to 256"):
        configured(pki, at, partitions=257)
    CertificateAuthority.objects.filter(pk=pki.root.pk).update(slug="test-issuing-2")
    with pytest.raises(AuthorityError, match="address of the CRL of Test Root"):
        configured(pki, at, partitions=2)
    configured(pki, at, partitions=1)


# --- What is kept ---------------------------------------------------------------------------


def test_old_ders_and_rows_go(pki: PKI, at: dt.datetime, monkeypatch) -> None:
    monkeypatch.setattr(crl_publication, "ROWS_KEPT", 5)
    for _ in range(8):
        crl.publish(authority=pki.issuing, actor="admin", at=at)
    rows = pki.issuing.crls.order_by("-number")
    assert [row.number for row in rows] == [9, 8, 7, 6, 5]
    assert [bool(row.der) for row in rows] == [True, False, False, False, False]


def test_expired_entry_leaves_each_kind_after_one_more_crl(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    configured(pki, at, partitions=1, deltas=True)
    [device] = partitioned(pki, people, at, count=1)[1]
    stop(device, at)
    end = device.certificate.not_after
    kinds = [("full", 0), ("full", 1)]
    counts = []
    for moment in (end - DAY, end + DAY, end + 2 * DAY):
        crl.publish(authority=pki.issuing, actor="admin", at=moment)
        counts.append([newest(pki, *kind).entries for kind in kinds])
    assert counts == [[1, 1], [1, 1], [0, 0]]
    assert listed(newest(pki, "delta")) == {number_of(device): "removeFromCRL"}


# --- Time -----------------------------------------------------------------------------------


def test_whoever_waited_for_the_lock_is_not_earlier(pki: PKI, at: dt.datetime) -> None:
    crl.publish(authority=pki.issuing, actor="b", at=at + 2 * SECOND)
    late = crl.publish(authority=pki.issuing, actor="a", at=at)
    assert (late.number, late.this_update) == (3, at + 2 * SECOND)


def test_clock_set_back_is_refused(pki: PKI, people: People, at: dt.datetime) -> None:
    """Until somebody says that it is right now; then the CRL of the future is replaced."""
    device = make_device(people.alice, pki.issuing, at=at)
    hour = dt.timedelta(hours=1)
    crl.publish(authority=pki.issuing, actor="a", at=at + hour)
    AuditHead.objects.update(at=at + hour)
    with pytest.raises(ClockError):
        crl.publish(authority=pki.issuing, actor="a", at=at)
    with pytest.raises(ClockError):
        stop(device, at)
    device.certificate.refresh_from_db()
    assert device.certificate.revoked_at is None
    assert newest(pki).number == 2

    audit.accept_clock(actor="admin", at=at)
    stop(device, at)
    assert (newest(pki).number, newest(pki).this_update) == (3, at)


@pytest.fixture
def ahead(at: dt.datetime) -> dt.datetime:
    """What the clock said before it was set right: later than any device here is valid."""
    return at + 800 * DAY


def set_right(at: dt.datetime) -> None:
    AuditHead.objects.update(at=at + 800 * DAY)
    audit.accept_clock(actor="admin", at=at)


def test_crl_of_the_future_is_due(pki: PKI, at: dt.datetime, ahead: dt.datetime) -> None:
    configured(pki, at, partitions=1, deltas=True)
    crl.publish(authority=pki.issuing, actor="a", at=ahead)
    set_right(at)
    assert crl.is_due(newest(pki), at=at)
    assert not crl.is_due(newest(pki), at=ahead)

    crl.publish_due(at=at)
    crl.publish_due(at=at)  # the delta, where the first made its base
    for kind, partition in (("full", 0), ("full", 1), ("delta", 0)):
        assert newest(pki, kind, partition).this_update == at
    number = newest(pki).number
    assert crl.publish_due(at=at) == []
    assert newest(pki).number == number


def test_crl_after_one_of_the_future_lists_what_ends_before_it(
    pki: PKI, people: People, at: dt.datetime, ahead: dt.datetime, judge: Judge
) -> None:
    """Each kind, and for every publication from then on."""
    configured(pki, at, partitions=1, deltas=True)
    device = partitioned(pki, people, at, count=1)[1][0]
    stop(device, at)
    assert device.certificate.not_after < ahead
    for _ in range(2):  # the first still lists what expired before it
        crl.publish(authority=pki.issuing, actor="a", at=ahead)
    assert not listed(newest(pki))
    set_right(at)
    for _ in range(3):
        crl.publish(authority=pki.issuing, actor="a", at=at)
        for kind, partition in (("full", 0), ("full", 1)):
            assert listed(newest(pki, kind, partition)) == {number_of(device): "superseded"}
        assert "removeFromCRL" not in listed(newest(pki, "delta")).values()
    assert "revoked" in judge.verdict(device, newest(pki), fails=True)


def test_delta_after_a_crl_of_the_future_has_a_base_of_the_past(
    pki: PKI, people: People, at: dt.datetime, ahead: dt.datetime
) -> None:
    configured(pki, at, deltas=True)
    base = newest(pki)
    crl.publish(authority=pki.issuing, actor="a", at=ahead)
    set_right(at)
    for days in (0, 8):
        crl.publish(authority=pki.issuing, actor="a", at=at + days * DAY)
    assert newest(pki, "delta").base_number > base.number
    kept = pki.issuing.crls.filter(kind="full").exclude(der=b"")
    assert ahead not in kept.values_list("this_update", flat=True)


def test_what_was_revoked_in_the_future_is_listed_now(
    pki: PKI, people: People, at: dt.datetime
) -> None:
    """Its date lies ahead, and stands in no CRL like that."""
    device, other = (make_device(who, pki.issuing, at=at) for who in (people.alice, people.bob))
    stop(device, at + 30 * DAY)
    AuditHead.objects.update(at=at + 30 * DAY)
    audit.accept_clock(actor="admin", at=at)
    stop(other, at)
    entries = crl_tbs.read(bytes(newest(pki).der))
    assert {entry.at for entry in entries.values()} == {at}
    assert entries.keys() == {number_of(device), number_of(other)}


def test_what_was_released_in_the_future_is_removed_now(
    pki: PKI, people: People, at: dt.datetime, ahead: dt.datetime
) -> None:
    configured(pki, at, deltas=True)
    device = make_device(people.alice, pki.issuing, at=at)
    stop(device, at, "certificateHold")
    release(actor="admin", certificate=device.certificate, at=ahead)
    set_right(at)
    for _ in range(3):
        crl.publish(authority=pki.issuing, actor="a", at=at)
        [entry] = crl_tbs.read(bytes(newest(pki, "delta").der)).values()
        assert entry == (number_of(device), at, "removeFromCRL")
