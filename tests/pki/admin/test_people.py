from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import Group

from pki import enrolment
from pki.models import AuditEntry, Invitation, TrustStore, User
from tests.factories import make_device
from tests.pki.admin.conftest import entry_of, said, text_of
from tests.pki.client import ConsoleVisitor

PEOPLE = "/console/pki/user/"


def page(person, name="change"):
    return f"{PEOPLE}{person.pk}/{name}/"


# --- List -----------------------------------------------------------------------------------


def test_list_shows_accounts_and_certificates(console, pki, people, at):
    make_device(people.bob, pki.issuing)
    make_device(people.bob, pki.issuing, device="phone")
    people.charlie.is_active = False
    people.charlie.save()

    rows = text_of(console.get(PEOPLE)).split("<tr")

    bob = next(row for row in rows if "Bob · bob" in row)
    assert re.search(r"field-valid_certificates[^>]*>\s*2\s*<", bob)
    assert "in 364 days" in bob
    charlie = next(row for row in rows if "Charlie · charlie" in row)
    assert "disabled" in charlie


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("account=disabled", {"charlie"}),
        ("account=open", {"admin", "alice", "bob"}),
        ("certificate=yes", {"admin", "bob"}),
        ("certificate=no", {"alice", "charlie"}),
        ("q=bob", {"bob"}),
        ("q=charlie@example.org", {"charlie"}),
    ],
)
def test_list_is_filtered_and_searched(console, pki, people, query, expected):
    make_device(people.bob, pki.issuing)
    people.charlie.is_active = False
    people.charlie.save()

    found = console.get(f"{PEOPLE}?{query}").context["cl"].queryset

    assert {person.username for person in found} == expected


def test_page_says_that_there_are_no_groups_and_where_to_make_one(console, people):
    shown = text_of(console.get(page(people.bob)))
    assert 'No groups yet. <a class="sg-link" href="/console/auth/group/add/">Make one</a>' in shown
    assert "What somebody may do there" not in shown

    Group.objects.create(name="Clerks")

    shown = text_of(console.get(page(people.bob)))
    assert "No groups yet" not in shown
    assert "What somebody may do there" in shown


# --- Create and change ----------------------------------------------------------------------


def test_new_person_is_made_by_the_verb(console):
    response = console.post(
        f"{PEOPLE}add/", {"username": "dora", "name": "Dora", "email": "d@example.org"}
    )

    dora = User.objects.get(username="dora")
    assert said(console, response) == ["Dora exists now. Next: a link to their certificate."]
    assert not dora.is_staff
    assert not dora.has_usable_password()
    assert entry_of("person.created").actor == "admin"


def test_new_administrator_has_all_rights(console):
    console.post(f"{PEOPLE}add/", {"username": "dora", "admin": "on"})

    assert User.objects.get(username="dora").is_superuser


def test_refusal_of_the_verb_is_shown_on_the_form(console, people):
    taken = console.post(f"{PEOPLE}add/", {"username": "bob"})
    wrong = console.post(f"{PEOPLE}add/", {"username": "Not Allowed"})

    assert "exists already" in text_of(taken)
    assert "small letters" in text_of(wrong)
    assert User.objects.count() == 4


def test_clerk_who_adds_people_cannot_make_administrators(clerk):
    bob = clerk("add_user", "view_user")

    assert "Administrator" not in text_of(bob.get(f"{PEOPLE}add/"))
    bob.post(f"{PEOPLE}add/", {"username": "dora", "admin": "on"})

    assert not User.objects.get(username="dora").is_superuser


def test_change_is_recorded_with_what_was_changed(console, people):
    response = console.post(page(people.bob), {"name": "Robert", "email": people.bob.email})

    assert response.status_code == 302
    people.bob.refresh_from_db()
    assert people.bob.name == "Robert"
    assert entry_of("person.changed").detail == {"name": "Robert"}
    assert entry_of("person.changed").target == "bob"


def test_change_does_not_undo_what_happened_meanwhile(console, people, monkeypatch):
    """The form was read before somebody disabled the account; saving it must not enable it."""
    from pki.admin.people import PersonAdmin

    original = PersonAdmin.save_model

    def disabled_meanwhile(self, request, obj, form, change):
        User.objects.filter(pk=obj.pk).update(is_active=False)
        original(self, request, obj, form, change)

    monkeypatch.setattr(PersonAdmin, "save_model", disabled_meanwhile)
    console.post(page(people.bob), {"name": "Robert", "email": people.bob.email})

    people.bob.refresh_from_db()
    assert people.bob.name == "Robert"
    assert not people.bob.is_active


def test_administrator_without_console_is_refused(console, people):
    response = console.post(page(people.bob), {"is_superuser": "on"})

    assert "An administrator needs the console." in text_of(response)


def test_nobody_takes_the_console_from_themselves(console, people):
    console.post(page(people.admin), {"name": "Root", "email": ""})

    people.admin.refresh_from_db()
    assert people.admin.name == "Root"
    assert people.admin.is_superuser
    assert people.admin.is_staff


def test_clerk_gives_nobody_rights(clerk, people):
    bob = clerk("view_user", "change_user")
    granted = {"name": "Charlie", "email": "", "is_staff": "on", "is_superuser": "on"}
    bob.post(page(people.charlie), granted)

    people.charlie.refresh_from_db()
    assert people.charlie.email == ""
    assert not people.charlie.is_staff
    assert not people.charlie.is_superuser


@pytest.mark.parametrize("what", ["invite", "disable", "set-password"])
def test_clerk_has_no_power_over_people_of_the_console(clerk, people, what):
    bob = clerk("view_user", "change_user", "issue_certificate")
    assert bob.get(page(people.charlie, "invite")).status_code == 200

    refused = bob.post(page(people.admin, what), {"device": "mine"})

    assert refused.status_code == 404
    assert "Only administrators" in text_of(refused)
    people.admin.refresh_from_db()
    assert people.admin.is_active
    assert not Invitation.objects.exists()


def test_nobody_is_deleted(console, people):
    assert "delete_selected" not in text_of(console.get(PEOPLE))
    assert console.post(page(people.bob, "delete"), {"post": "yes"}).status_code == 404
    assert User.objects.filter(pk=people.bob.pk).exists()


# --- Certificates ---------------------------------------------------------------------------


def test_page_of_a_person_lists_their_certificates(console, pki, people):
    make_device(people.bob, pki.issuing, device="red phone")
    make_device(people.charlie, pki.issuing, device="blue phone")

    shown = text_of(console.get(page(people.bob)))

    assert "red phone" in shown
    assert "blue phone" not in shown


def test_clerk_without_the_right_sees_no_certificates_there(clerk, pki, people):
    make_device(people.charlie, pki.issuing, device="blue phone")

    assert "blue phone" not in text_of(clerk("view_user").get(page(people.charlie)))


def test_invitation_shows_a_working_link_once(console, people, at):
    response = console.post(page(people.bob, "invite"), {"device": "phone"})

    assert "no-store" in response["Cache-Control"]
    (token,) = re.findall(r'data-copy="https://[^/]+/enrol/([^/"]+)/"', text_of(response))
    invitation = enrolment.find(token=token, at=at)
    assert (invitation.user, invitation.device) == (people.bob, "phone")
    for path in ("/console/pki/invitation/", f"/console/pki/invitation/{invitation.pk}/change/"):
        later = text_of(console.get(path))
        assert "phone" in later
        assert token not in later
        assert invitation.token_sha256 not in later


def test_invitation_needs_a_device(console, people):
    response = console.post(page(people.bob, "invite"), {"device": "  "})

    assert response.status_code == 400
    assert not Invitation.objects.exists()


# --- Accounts -------------------------------------------------------------------------------


def test_account_is_disabled_and_enabled_after_a_question(console, people):
    asked = console.get(page(people.bob, "disable"))
    people.bob.refresh_from_db()
    assert "No certificate of this person signs in" in text_of(asked)
    assert people.bob.is_active

    console.post(page(people.bob, "disable"))
    people.bob.refresh_from_db()
    assert not people.bob.is_active

    console.post(page(people.bob, "enable"))
    people.bob.refresh_from_db()
    assert people.bob.is_active


def test_disabling_twice_is_a_sentence_and_no_error(console, people):
    console.post(page(people.bob, "disable"))

    response = console.post(page(people.bob, "disable"))

    assert "is disabled already" in text_of(response)


def test_nobody_disables_themselves(console, people):
    response = console.post(page(people.admin, "disable"))

    assert "Nobody disables their own account." in text_of(response)
    people.admin.refresh_from_db()
    assert people.admin.is_active


# --- Passwords ------------------------------------------------------------------------------


def test_password_of_staff_is_set_and_opens_their_console(console, pki, people):
    people.bob.is_staff = True
    people.bob.save()
    bob = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)
    assert "changepassword" in text_of(bob.get("/console/login/"))

    response = console.post(
        page(people.bob, "set-password"),
        {"password1": "correct horse staple", "password2": "correct horse staple"},
    )

    assert response.status_code == 302
    bob.unlock("correct horse staple")
    assert entry_of("person.password_set").target == "bob"


def test_weak_password_is_refused(console, people):
    people.bob.is_staff = True
    people.bob.save()

    response = console.post(
        page(people.bob, "set-password"), {"password1": "12345678", "password2": "12345678"}
    )

    assert "too common" in text_of(response)
    people.bob.refresh_from_db()
    assert not people.bob.has_usable_password()


def test_people_without_the_console_need_no_password(console, people):
    assert console.get(page(people.bob, "set-password")).status_code == 404


def test_history_is_the_audit_trail(console, people):
    console.post(page(people.bob), {"name": "Robert", "email": ""})

    response = console.get(page(people.bob, "history"))

    assert response.url == "/console/pki/auditentry/?q=bob"
    assert "person.changed" in text_of(console.get(response.url))


def test_page_of_somebody_with_many_certificates_shows_the_newest(
    console, pki, people, monkeypatch
):
    monkeypatch.setattr("pki.admin.people.CERTIFICATES_SHOWN", 2)
    for device in ("first", "second"):
        make_device(people.bob, pki.issuing, device=device)
    assert "All of them" not in text_of(console.get(page(people.bob)))

    make_device(people.bob, pki.issuing, device="third")
    text = text_of(console.get(page(people.bob)))

    assert all(f">{device}<" in text for device in ("third", "second"))
    assert ">first<" not in text
    url = "/console/pki/certificate/?q=bob"
    assert f'href="{url}">All of them' in text
    found = console.get(url).context["cl"].queryset
    assert {one.device for one in found} == {"first", "second", "third"}


# --- Where an e-mail address decides who somebody is ----------------------------------------


SENTENCE = "A trust store recognises people by their e-mail address"


@pytest.fixture
def by_email(pki):
    TrustStore.objects.update(recognises="email")


def set_email(visitor, person, email="mallory@partner.example"):
    return visitor.post(page(person), {"name": person.name, "email": email})


def test_clerk_without_the_right_to_issue_sets_no_email(by_email, clerk, people):
    visitor = clerk("view_user", "change_user", "add_user")
    refused = set_email(visitor, people.charlie)
    new = {"username": "eve", "email": "mallory@partner.example"}
    not_made = visitor.post("/console/pki/user/add/", new)

    people.charlie.refresh_from_db()
    assert people.charlie.email == "charlie@example.org"
    assert not User.objects.filter(username="eve").exists()
    assert SENTENCE in text_of(refused)
    assert SENTENCE in text_of(not_made)
    for action, target in (("change", "charlie"), ("create", "eve")):
        entry = AuditEntry.objects.get(action=f"person.{action}.refused")
        assert (entry.actor, entry.target) == ("bob", target)


def test_a_username_decides_for_those_who_may_issue(pki, console, clerk):
    """Who is created becomes whom a certificate from elsewhere names already, and that is said."""
    TrustStore.objects.update(recognises="subject")
    add = "/console/pki/user/add/"
    refused = clerk("view_user", "add_user").post(add, {"username": "eve"})
    assert "recognises people by their username" in text_of(refused)
    assert not User.objects.filter(username="eve").exists()
    assert AuditEntry.objects.get(action="person.create.refused").target == "eve"

    shown = text_of(console.post(add, {"username": "eve"}, follow=True))

    sentence = f"for 'eve' that trust store {pki.truststore} trusts signs in as eve"
    assert sentence in html.unescape(shown)
    (kept,) = AuditEntry.objects.get(action="person.created", target="eve").detail["recognised_by"]
    assert sentence in kept
    made = text_of(console.post(add, {"username": "root2", "admin": "on"}, follow=True))
    assert "not issued here" not in made


def test_clerk_changes_the_rest_where_an_email_decides(by_email, clerk, people):
    visitor = clerk("view_user", "change_user")
    same = {"name": "Charles", "email": people.charlie.email}
    assert visitor.post(page(people.charlie), same).status_code == 302
    people.charlie.refresh_from_db()
    assert people.charlie.name == "Charles"


@pytest.mark.parametrize("rights", [["issue_certificate"], None], ids=["issuer", "administrator"])
def test_who_may_issue_sets_an_email_where_it_decides(by_email, console, clerk, people, rights):
    visitor = clerk("view_user", "change_user", *rights) if rights else console
    assert set_email(visitor, people.charlie).status_code == 302
    people.charlie.refresh_from_db()
    assert people.charlie.email == "mallory@partner.example"


def test_clerk_sets_an_email_where_none_decides(clerk, people, pki):
    assert set_email(clerk("view_user", "change_user"), people.charlie).status_code == 302
    people.charlie.refresh_from_db()
    assert people.charlie.email == "mallory@partner.example"
