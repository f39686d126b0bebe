from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities, dashboard, enrolment, responder, revocation
from pki.models import Certificate, Endpoint, RevocationList
from tests.certs import make_ca
from tests.factories import make_device, make_server_certificate

DAY = dt.timedelta(days=1)


@pytest.fixture
def old(db, at):
    """A CA that could issue a year and more ago."""
    then = at - 500 * DAY
    root = authorities.create_authority(actor="tests", name="Old Root", at=then)
    return authorities.create_authority(actor="tests", name="Old Issuing", parent=root, at=then)


def figures(at):
    return {number.label: number.value for number in dashboard.numbers(at=at)}


def test_figures_count_the_certificates_of_people(pki, old, people, at):
    make_device(people.bob, pki.issuing)
    make_device(people.bob, old, at=at - 350 * DAY)
    make_device(people.bob, old, at=at - 400 * DAY)
    lost = make_device(people.charlie, pki.issuing).certificate
    revocation.revoke(actor="tests", certificate=lost, reason="keyCompromise", at=at)
    make_server_certificate(pki.issuing, hosts=("localhost",))
    enrolment.invite(actor="tests", user=people.alice, device="phone", at=at)
    enrolment.invite(actor="tests", user=people.alice, device="phone", at=at - 3 * DAY)

    assert figures(at) == {
        "People's valid certificates": 2,
        "Of them, expire within 30 days": 1,
        "Expired": 1,
        "Revoked": 1,
        "Open invitations": 1,
    }


def test_expiries_are_counted_by_month_from_this_one_on(old, people):
    at = dt.datetime.now(dt.UTC).replace(day=15, hour=12)
    make_device(people.bob, old, at=at - 365 * DAY + 1 * DAY)
    make_device(people.bob, old, at=at - 365 * DAY + 31 * DAY)
    make_device(people.bob, old, at=at - 365 * DAY + 32 * DAY)

    bars = dashboard.expiries_by_month(at=at)

    assert len(bars) == 13
    assert [bar.value for bar in bars[:3]] == [1, 2, 0]
    assert [bar.percent for bar in bars[:3]] == [50, 100, 0]
    assert bars[0].label == f"{at:%b}"


def test_certificate_of_today_is_among_the_expiries(pki, people, at):
    make_device(people.bob, pki.issuing, at=at)

    assert sum(bar.value for bar in dashboard.expiries_by_month(at=at)) == 1


def test_issues_are_counted_by_week_up_to_this_one(old, people):
    at = dt.datetime.now(dt.UTC)
    make_device(people.bob, old, at=at)
    make_device(people.bob, old, at=at - 7 * DAY)
    make_device(people.bob, old, at=at - 7 * DAY)
    make_device(people.bob, old, at=at - 200 * DAY)

    bars = dashboard.issues_by_week(at=at)

    assert [bar.value for bar in bars] == [0] * 10 + [2, 1]


def test_charts_of_nothing_are_flat(db, at):
    for bars in (dashboard.expiries_by_month(at=at), dashboard.issues_by_week(at=at)):
        assert {(bar.value, bar.percent) for bar in bars} == {(0, 0)}


def test_people_without_a_certificate_are_named_and_who_is_invited(pki, people, at):
    make_device(people.bob, pki.issuing)
    people.charlie.is_active = False
    people.charlie.save()
    enrolment.invite(actor="tests", user=people.alice, device="phone", at=at)

    rows = dashboard.people_without_certificate(at=at)

    assert [(row["username"], row["invited"]) for row in rows] == [
        ("admin", False),
        ("alice", True),
    ]


def alerts(at):
    context = {
        "authorities": dashboard.authorities(at=at),
        "endpoints": dashboard.endpoints(at=at),
    }
    return [alert.text for alert in dashboard.alerts(context)]


def test_all_is_well_when_nothing_ends_soon(pki, at):
    assert alerts(at) == []


def test_responder_that_could_not_be_renewed_is_an_alert(pki, at):
    made = responder.renew(actor="test", authority=pki.issuing, at=at)
    assert alerts(at) == []
    late = {"not_before": at - 20 * DAY, "not_after": at + 10 * DAY}
    Certificate.objects.filter(pk=made.pk).update(**late)
    (text,) = alerts(at)
    assert text.startswith(f"{pki.issuing.name}: its OCSP responder could not be renewed")


def test_old_crl_is_an_alert(pki, at):
    RevocationList.objects.filter(authority=pki.issuing).update(next_update=at - DAY)

    (text,) = alerts(at)

    assert text.startswith("Test Issuing: the CRL is out of date")


def test_ending_certificate_of_an_endpoint_is_an_alert(pki, at):
    soon = make_server_certificate(pki.issuing, hosts=("localhost",), at=at)
    for port, name in enumerate(("main", "enrol", "spare"), start=9000):
        Endpoint.objects.create(
            name=name, port=port, certificate=soon, serves="enrol", enabled=name != "spare"
        )
    assert alerts(at) == []

    later = soon.not_after - 10 * DAY
    RevocationList.objects.update(this_update=later, next_update=later + 7 * DAY)

    ending = "has a certificate that expires in 10 days and could not be renewed."
    assert alerts(later) == [f"Endpoint main {ending}", f"Endpoint enrol {ending}"]

    Certificate.objects.filter(pk=soon.pk).update(is_outside=True)
    assert "nobody but you can renew it" in alerts(later)[0]


def test_expiries_are_counted_by_week_from_this_one_on(old, people):
    at = dt.datetime.now(dt.UTC)
    for days in (7, 7, 14, 120):
        make_device(people.bob, old, at=at - (365 - days) * DAY)

    bars = dashboard.expiries_by_week(at=at)

    assert [bar.value for bar in bars] == [0, 2, 1] + [0] * 9


def test_ca_from_elsewhere_owes_no_crl_until_one_was_imported(pki, at):
    der = make_ca("Partner Root").certificate.public_bytes(Encoding.DER)
    outside = authorities.record_outside_authority(actor="tests", certificate=der, at=at)
    assert alerts(at) == []

    RevocationList.objects.create(
        authority=outside, number=1, this_update=at - 8 * DAY, next_update=at - DAY, entries=0
    )

    assert alerts(at) == ["Partner Root: the imported CRL is out of date. Import a newer one."]
