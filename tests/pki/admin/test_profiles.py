from __future__ import annotations

import pytest

from pki.models import AuditEntry, Certificate, CertificateProfile
from tests.factories import make_device
from tests.pki.admin.conftest import entry_of, queries_of, said, text_of

LIST = "/console/pki/certificateprofile/"


def page(row, name="change"):
    return f"{LIST}{row.pk}/{name}/"


def row(name):
    return CertificateProfile.objects.get(name=name)


def fields(of="person", /, **changes):
    """What the edit form of a profile would send as it stands."""
    there = row(of)
    sent = {
        "label": there.label,
        "validity_days": there.validity_days,
        "key_types": there.key_types,
        "key_usage": there.key_usage,
        "extended_key_usage": there.extended_key_usage,
        "names": there.names,
        "path_length": "" if there.path_length is None else there.path_length,
        "excess": there.excess,
        "approvals": there.approvals,
        "per_person": there.per_person or "",
    }
    return sent | changes


def test_list_shows_what_each_admits_and_how_many_there_are(console, pki, alice):
    make_device(alice, pki.issuing)
    shown = text_of(console.get(LIST))

    for word in ("Code signing", "20 years", "365 days", "P-256, P-384, Ed25519", "OCSP responder"):
        assert word in shown
    held = {one.name: one.held for one in console.get(LIST).context["cl"].queryset}
    assert held["person"] == Certificate.objects.filter(profile="person").count() == 2
    assert (held["server"], held["root"]) == (0, 1)


def test_list_takes_as_many_queries_for_many_profiles(console, pki):
    before = queries_of(console, LIST)
    for number in range(5):
        one = row("person")
        one.pk, one.name = None, f"copy-{number}"
        one.save()
    assert queries_of(console, LIST) == before


def test_page_says_what_the_profile_admits(console):
    shown = text_of(console.get(page(row("code"))))
    for word in ("codeSigning", "RSA from 2048 bits", "Approvals before it is issued", "365 days"):
        assert word in shown
    assert "signs in with it" not in shown
    assert "signs in with it" in text_of(console.get(page(row("person"))))


def test_edit(console):
    response = console.post(page(row("person"), "edit"), fields(validity_days=30, per_person=2))

    assert said(console, response) == [
        "Person who signs in: what is issued from now on follows this."
    ]
    assert (row("person").validity_days, row("person").per_person) == (30, 2)
    entry = entry_of("profile.changed")
    assert (entry.actor, entry.target) == ("admin", "profile person")
    assert entry.detail == {
        "validity_days": {"from": 365, "to": 30},
        "per_person": {"from": None, "to": 2},
    }


def test_form_as_it_stands_changes_nothing(console):
    for name in ("root", "person", "mail", "ocsp"):
        console.post(page(row(name), "edit"), fields(name))
    assert not AuditEntry.objects.filter(action="profile.changed").exists()


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("person", {"validity_days": 500}, "valid for at most 398 days"),
        ("person", {"extended_key_usage": ["emailProtection"]}, "needs the purpose clientAuth"),
        ("person", {"key_types": []}, "required"),
        ("person", {"approvals": 3}, "less than or equal to 2"),
        (
            "server",
            {"extended_key_usage": ["serverAuth", "clientAuth"]},
            "is no purpose of a server",
        ),
        ("ocsp", {"validity_days": 91}, "valid for at most 90 days"),
        ("mail", {"names": "person"}, "alternative names are not for e-mail"),
    ],
)
def test_nonsense_is_a_sentence_on_the_form(console, name, change, sentence):
    before = fields(name)
    response = console.post(page(row(name), "edit"), fields(name, **change))

    assert response.status_code in (200, 400)
    assert sentence in text_of(response)
    assert fields(name) == before


def test_copy_begins_with_what_the_other_admits(console):
    shown = text_of(console.get(page(row("mail"), "copy")))
    assert "Copy of “E-mail of a person”" in shown
    sent = fields("mail", label="Guests", name="mail-guest", purpose="mail", validity_days=30)
    console.post(page(row("mail"), "copy"), sent)

    made = row("mail-guest")
    assert (made.label, made.validity_days, made.built_in) == ("Guests", 30, False)
    assert made.extended_key_usage == ["emailProtection"]
    assert entry_of("profile.created").target == "profile mail-guest"


def test_taken_name_is_a_sentence_on_the_form(console):
    sent = fields("mail", label="Again", name="person", purpose="mail")
    assert "already exists" in text_of(console.post(f"{LIST}add/", sent))


def test_switch_off_and_on(console):
    console.post(page(row("code"), "switch-off"))
    assert not row("code").enabled
    assert "Nothing is issued by this profile" in text_of(console.get(page(row("code"))))
    console.post(page(row("code"), "switch-on"))
    assert row("code").enabled


def test_remove(console):
    one = row("mail")
    one.pk, one.name, one.built_in = None, "spare", False
    one.save()
    response = console.post(page(row("spare"), "remove"))
    assert said(console, response) == ["E-mail of a person is gone."]
    assert not CertificateProfile.objects.filter(name="spare").exists()


def test_built_in_profile_has_no_remove_button_and_stays(console):
    assert "/remove/" not in text_of(console.get(page(row("code"))))
    assert "came with the product" in text_of(console.post(page(row("code"), "remove")))
    assert row("code")


def test_clerk_who_may_only_look(clerk):
    visitor = clerk("view_certificateprofile")
    assert visitor.get(LIST).status_code == 200
    shown = text_of(visitor.get(page(row("person"))))
    assert "/edit/" not in shown
    assert "/copy/" not in shown
    for name in ("edit", "copy", "switch-off", "remove"):
        assert visitor.post(page(row("person"), name), fields()).status_code == 404
    assert visitor.post(f"{LIST}add/", fields()).status_code == 404
    assert row("person").enabled


def test_clerk_without_the_right_sees_nothing(clerk):
    visitor = clerk("view_user")
    assert visitor.get(LIST).status_code == 404
    assert LIST not in text_of(visitor.get("/console/pki/user/"))


def test_sidebar_leads_there(console):
    assert LIST in text_of(console.get("/console/"))
