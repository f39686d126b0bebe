from __future__ import annotations

import datetime as dt
import re

import pytest
from cryptography import x509
from django.utils import timezone

from pki import enrolment, revocation
from pki.admin import revoking
from pki.errors import StoppedError
from pki.models import Certificate, Endpoint, Invitation, Operation, PlannedRevocation
from tests.factories import make_device, make_server_certificate
from tests.operations import finished
from tests.pki.admin.conftest import entry_of, said, text_of

LIST = "/console/pki/certificate/"
ADD = f"{LIST}add/"


def page(certificate, name="change"):
    return f"{LIST}{certificate.pk}/{name}/"


@pytest.fixture
def device(pki, people):
    return make_device(people.bob, pki.issuing)


@pytest.fixture
def certificate(device):
    return device.certificate


def of_bob():
    return Certificate.objects.filter(owner__username="bob")


# --- Find and look --------------------------------------------------------------------------


@pytest.fixture
def every_status(pki, people, at):
    """One of Bob's certificates in each state, by the name of its device."""
    old = make_pki_in_the_past(at)
    revoked = make_device(people.bob, pki.issuing, device="revoked").certificate
    revocation.revoke(actor="tests", certificate=revoked, reason="superseded", at=at)
    make_device(people.bob, pki.issuing, device="valid")
    make_device(people.bob, old, device="expired", at=at - dt.timedelta(days=400))
    make_device(people.bob, old, device="soon", at=at - dt.timedelta(days=350))


def make_pki_in_the_past(at):
    from pki import authorities

    then = at - dt.timedelta(days=500)
    root = authorities.create_authority(actor="tests", name="Old Root", at=then)
    return authorities.create_authority(actor="tests", name="Old Issuing", parent=root, at=then)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=valid", {"valid", "soon"}),
        ("status=expired", {"expired"}),
        ("status=revoked", {"revoked"}),
        ("status=not+yet+valid", set()),
        ("expires=30", {"soon"}),
        ("expires=nonsense", {"valid", "soon", "expired", "revoked"}),
        ("profile=server", set()),
        ("holder=others", set()),
    ],
)
def test_list_is_filtered(console, every_status, query, expected):
    found = console.get(f"{LIST}?{query}").context["cl"].queryset

    assert {c.device for c in found if c.owner and c.owner.username == "bob"} == expected


def test_list_shows_a_badge_for_each_status(console, every_status):
    shown = text_of(console.get(f"{LIST}?q=bob"))

    for tone, words in {
        "sg-good": "valid",
        "sg-warn": "expiring soon",
        "sg-bad": "revoked",
    }.items():
        assert f'<span class="sg-badge {tone}">{words}</span>' in shown
    assert '<span class="sg-badge ">expired</span>' in shown


def test_search_finds_by_serial_fingerprint_and_name(console, certificate):
    for words in (certificate.serial, certificate.fingerprint, certificate.sha256, "CN=bob"):
        found = console.get(LIST, data={"q": words}).context["cl"].queryset
        assert [c.pk for c in found] == [certificate.pk]
    assert not console.get(LIST, data={"q": "nobody"}).context["cl"].queryset


def test_page_shows_all_facts(console, pki, certificate):
    shown = text_of(console.get(page(certificate)))

    for fact in (
        "CN=bob",
        "bob@example.org",
        certificate.serial,
        certificate.fingerprint,
        certificate.spki_sha256,
        "Test Issuing",
        "P-256",
        "digital signature",
        "clientAuth",
        "/crl/test-issuing.crl",
        "/ocsp/test-issuing/",
    ):
        assert fact in shown


def test_page_changes_nothing(console, certificate):
    console.post(page(certificate), {"device": "other", "revoked_at": ""})

    certificate.refresh_from_db()
    assert certificate.device == "laptop"


def test_downloads_are_the_certificate(console, certificate):
    pem, der = console.get(page(certificate, "pem")), console.get(page(certificate, "der"))

    expected = x509.load_der_x509_certificate(bytes(certificate.der))
    assert x509.load_pem_x509_certificate(pem.content) == expected
    assert x509.load_der_x509_certificate(der.content) == expected
    assert pem["Content-Disposition"] == f'attachment; filename="{certificate.serial}.pem"'
    assert der["Content-Type"] == "application/pkix-cert"


# --- Revoke ---------------------------------------------------------------------------------


def confirmed(visitor, keys, reason="keyCompromise", **fields):
    joined = ",".join(str(key) for key in keys)
    return visitor.post(f"{LIST}revoke/", {"certificates": joined, "reason": reason, **fields})


def test_revoking_asks_for_a_reason_and_then_revokes(console, certificate):
    asked = console.get(page(certificate, "revoke"))
    certificate.refresh_from_db()
    assert "Revoke 1 certificate" in text_of(asked)
    assert certificate.revoked_at is None

    done = confirmed(console, [certificate.pk])

    certificate.refresh_from_db()
    assert certificate.revocation_reason == "keyCompromise"
    assert said(console, done) == ["1 certificate is revoked, and the CRL is published."]


def test_selected_certificates_are_listed_counted_and_revoked(console, pki, people):
    devices = [make_device(people.bob, pki.issuing, device=f"phone {n}") for n in range(3)]
    keys = [d.certificate.pk for d in devices]
    other = make_device(people.charlie, pki.issuing).certificate

    listed = console.post(LIST, {"action": "revoke_selected", "_selected_action": keys})
    assert "Revoke 3 certificates" in text_of(listed)
    for number in range(3):
        assert f"phone {number}" in text_of(listed)
    assert other.serial[:16] not in text_of(listed)

    (shown,) = re.findall(r'name="certificates" value="([\d,]+)"', text_of(listed))
    assert sorted(map(int, shown.split(","))) == sorted(keys)
    done = confirmed(console, keys, "superseded")

    assert said(console, done) == ["3 certificates are revoked, and the CRL is published."]
    assert of_bob().filter(revoked_at__isnull=True).count() == 0
    other.refresh_from_db()
    assert other.revoked_at is None


def test_revoking_twice_is_a_sentence_and_no_error(console, certificate):
    said(console, confirmed(console, [certificate.pk]))

    again = confirmed(console, [certificate.pk])

    (sentence,) = said(console, again)
    assert "has been revoked already" in sentence
    assert "Nothing to revoke" in text_of(console.get(page(certificate, "revoke")))


def test_unknown_reason_and_list_are_refused(console, certificate):
    assert confirmed(console, [certificate.pk], "boredom").status_code == 400
    certificate.refresh_from_db()
    assert certificate.revoked_at is None


@pytest.mark.parametrize("key", ["all", "999999", "9" * 40, "9" * 5000, "-1", "", "1_0", "0", "\0"])
def test_certificates_that_do_not_exist_are_a_sentence_and_no_error(console, certificate, key):
    for keys in ([key], [certificate.pk, key]):
        (sentence,) = said(console, confirmed(console, keys))
        assert "There is no such certificate" in sentence

    certificate.refresh_from_db()
    assert certificate.revoked_at is None


@pytest.mark.parametrize("key", ["all", "9" * 40])
def test_selected_rows_have_numbers(console, certificate, key):
    selected = {"action": "revoke_selected", "_selected_action": key, "index": "0"}
    assert console.post(LIST, selected).status_code == 400


def test_page_warns_of_what_revoking_breaks(console, pki, people):
    server = make_server_certificate(pki.issuing, hosts=("localhost",))
    Endpoint.objects.create(name="enrol", port=8444, certificate=server, serves="enrol")
    own = Certificate.objects.get(owner=people.admin)

    assert "browsers will refuse to connect" in text_of(console.get(page(server, "revoke")))
    assert "you will be signed out" in text_of(console.get(page(own, "revoke")))
    authority = text_of(console.get(page(pki.issuing.certificate, "revoke")))
    assert "can sign nothing afterwards" in authority
    assert "CA&#x27;s key was compromised" in authority


def test_root_cannot_be_revoked(console, pki):
    root = pki.root.certificate
    assert "Nothing to revoke" in text_of(console.get(page(root, "revoke")))

    (sentence,) = said(console, confirmed(console, [root.pk]))

    assert "signed itself" in sentence


def test_revoking_needs_the_right(clerk, pki, people):
    mine = make_device(people.charlie, pki.issuing).certificate
    looker = clerk("view_certificate")
    assert "revoke_selected" not in text_of(looker.get(LIST))
    assert looker.get(page(mine, "revoke")).status_code == 404
    assert confirmed(looker, [mine.pk]).status_code == 404
    mine.refresh_from_db()
    assert mine.revoked_at is None

    revoker = clerk("view_certificate", "revoke_certificate")
    confirmed(revoker, [mine.pk])
    mine.refresh_from_db()
    assert mine.revoked_at is not None


# --- Links that outlive it ------------------------------------------------------------------


def link_for(user, device="new phone", **fields):
    link, _ = enrolment.invite(actor="eve", user=user, device=device, at=timezone.now(), **fields)
    return link


def are_open(*links):
    found = Invitation.objects.open(timezone.now()).filter(pk__in=[link.pk for link in links])
    return found.count() == len(links)


def test_open_link_of_the_holder_is_told_and_ends_too(console, certificate, people):
    link, other = link_for(people.bob), link_for(people.charlie)
    asked = text_of(console.get(page(certificate, "revoke")))
    assert "Bob has 1 open enrolment link (new phone)" in asked
    assert "End it too" in asked
    assert re.search(r'name="end_links"[^>]* checked', asked)

    done = confirmed(console, [certificate.pk], end_links="on")

    assert said(console, done)[1:] == ["1 enrolment link has ended."]
    assert not are_open(link)
    assert are_open(other)
    entry = entry_of("invitation.withdrawn")
    assert (entry.actor, entry.target, entry.detail["device"]) == ("admin", "bob", "new phone")


def test_open_link_stays_where_the_box_is_not_ticked(console, certificate, people):
    link = link_for(people.bob)
    assert len(said(console, confirmed(console, [certificate.pk]))) == 1
    assert are_open(link)


def test_nothing_is_said_of_links_that_end_anyway(console, certificate, people):
    link_for(people.bob, asked_with=certificate.pk)
    used = link_for(people.bob, "old phone")
    Invitation.objects.filter(pk=used.pk).update(redeemed_at=timezone.now())
    assert 'name="end_links"' not in text_of(console.get(page(certificate, "revoke")))


def test_link_that_was_used_meanwhile_is_told(console, certificate, people, monkeypatch):
    link, revoke = link_for(people.bob), revocation.revoke

    def slow(**facts):
        Invitation.objects.filter(pk=link.pk).update(redeemed_at=timezone.now())
        return revoke(**facts)

    monkeypatch.setattr(revocation, "revoke", slow)
    sentences = said(console, confirmed(console, [certificate.pk], end_links="on"))
    assert "had been used" in sentences[1]
    certificate.refresh_from_db()
    assert certificate.revoked_at is not None


def test_links_end_with_certificates_of_several_people(console, pki, people):
    holders = (people.bob, people.charlie)
    keys = [make_device(one, pki.issuing).certificate.pk for one in holders]
    links = [link_for(people.bob), link_for(people.bob, "laptop"), link_for(people.charlie)]
    listed = console.post(LIST, {"action": "revoke_selected", "_selected_action": keys})
    assert "2 of these people have 3 open enrolment links" in text_of(listed)

    done = confirmed(console, keys, end_links="on")

    assert said(console, done)[1:] == ["3 enrolment links have ended."]
    assert not any(map(are_open, links))


def test_only_who_may_issue_ends_links(clerk, pki, people):
    certificate = make_device(people.charlie, pki.issuing).certificate
    link = link_for(people.charlie)
    revoker = clerk("view_certificate", "revoke_certificate")
    asked = text_of(revoker.get(page(certificate, "revoke")))
    assert "Charlie has 1 open enrolment link (new phone) that you may not end" in asked
    assert 'name="end_links"' not in asked

    confirmed(revoker, [certificate.pk], end_links="on")

    assert are_open(link)
    certificate.refresh_from_db()
    assert certificate.revoked_at is not None


# --- Hold, release, plan, and very many -----------------------------------------------------


def buttons_of(console, certificate):
    shown = text_of(console.get(page(certificate)))
    names = ("revoke", "hold", "release", "plan-revocation", "cancel-plan")
    return {name for name in names if f"{LIST}{certificate.pk}/{name}/" in shown}


def test_hold_and_release_by_buttons(console, certificate):
    assert buttons_of(console, certificate) == {"revoke", "hold", "plan-revocation"}
    asked = text_of(console.get(page(certificate, "hold")))
    reasons = re.findall(r'<input type="(\w+)" name="reason" value="(\w+)"', asked)
    assert reasons == [("hidden", "certificateHold")]
    assert re.search(r"pause</span>\s*Put on hold\s*</button>", asked)
    assert "bg-red-600" not in asked.split('name="reason"')[1]
    done = confirmed(console, [certificate.pk], "certificateHold")
    assert said(console, done) == ["1 certificate is on hold, and the CRL is published."]
    assert buttons_of(console, certificate) == {"revoke", "release", "plan-revocation"}
    assert "on hold" in text_of(console.get(LIST))
    assert "Release from hold" in text_of(console.get(page(certificate, "release")))

    done = console.post(page(certificate, "release"))

    assert said(console, done) == ["The certificate is released, and the CRL is published."]
    certificate.refresh_from_db()
    assert certificate.revoked_at is None
    again = console.post(page(certificate, "release"))
    assert again.status_code == 400
    assert "is not on hold" in text_of(again)


def test_plan_and_cancel_by_buttons(console, certificate):
    soon = (timezone.now() + dt.timedelta(days=2)).replace(second=0, microsecond=0)
    plan = {"at_time": f"{soon:%Y-%m-%dT%H:%M}", "reason": "superseded"}
    late = console.post(
        page(certificate, "plan-revocation"), plan | {"at_time": "2001-01-01T00:00"}
    )
    assert late.status_code == 400
    assert "ahead" in text_of(late)

    done = console.post(page(certificate, "plan-revocation"), plan)

    assert said(console, done) == ["The revocation is planned."]
    assert certificate.planned.at == soon
    assert certificate.planned.planned_by == "admin"
    assert "revocation planned" in text_of(console.get(LIST))
    assert buttons_of(console, certificate) == {"revoke", "hold", "cancel-plan"}
    done = console.post(page(certificate, "cancel-plan"))
    assert said(console, done) == ["The plan is cancelled."]
    assert buttons_of(console, certificate) == {"revoke", "hold", "plan-revocation"}


def test_steps_need_the_right(clerk, pki, people):
    mine = make_device(people.charlie, pki.issuing).certificate
    looker = clerk("view_certificate")
    plan = {"at_time": "2099-01-01T00:00", "reason": "superseded"}
    assert buttons_of(looker, mine) == set()
    for name in ("hold", "release", "plan-revocation", "cancel-plan"):
        assert looker.get(page(mine, name)).status_code == 404
        assert looker.post(page(mine, name), plan).status_code == 404
    assert not PlannedRevocation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_very_many_are_revoked_beside_the_console(console, pki, people, monkeypatch):
    monkeypatch.setattr(revoking, "DIRECTLY", 2)
    devices = [make_device(people.bob, pki.issuing, device=f"phone {n}") for n in range(5)]
    keys = [device.certificate.pk for device in devices]
    across = {"action": "revoke_selected", "_selected_action": keys[:1], "select_across": "1"}
    listed = text_of(console.post(f"{LIST}?q=bob", across))
    assert "Revoke 5 certificates" in listed
    assert "And 3 more" in listed

    link = link_for(people.bob)
    started = confirmed(console, keys, "superseded", end_links="on")

    operation = finished(Operation.objects.get())
    assert started.url == f"/console/pki/operation/{operation.pk}/change/"
    revoked, ended = "5 certificates are revoked, and the CRL is published.", "1 enrolment link has"
    assert operation.outcome == f"{revoked} {ended} ended."
    assert not are_open(link)
    assert of_bob().filter(revoked_at__isnull=True).count() == 0


@pytest.mark.django_db(transaction=True)
def test_links_end_also_where_the_rest_is_stopped(console, pki, people, monkeypatch):
    def stopped(**facts):
        raise StoppedError(1, 2)

    monkeypatch.setattr(revoking, "DIRECTLY", 1)
    monkeypatch.setattr(revocation, "revoke_many", stopped)
    keys = [make_device(one, pki.issuing).certificate.pk for one in (people.bob, people.charlie)]
    link = link_for(people.bob)

    confirmed(console, keys, end_links="on")

    assert finished(Operation.objects.get()).state == "stopped"
    assert not are_open(link)
