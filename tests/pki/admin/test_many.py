"""Adding many people in the console: looked at, carried out, handed out once."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import time
from types import SimpleNamespace

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.utils import timezone

from pki import audit, enrolment, invitations, revocation, upkeep
from pki.models import AuditEntry, Invitation, InvitationList, Operation, User
from tests.factories import make_device, make_person
from tests.locks import held_up, needs_row_locks
from tests.operations import finished
from tests.pki.admin.conftest import said, text_of
from tests.pki.client import PASSWORD, ConsoleVisitor

pytestmark = pytest.mark.django_db(transaction=True)
MANY = "/console/pki/user/many/"
LIST = "username,name,email,device\ndora,Dora Diaz,dora@example.org,laptop\nemil,,,\n"
RIGHTS = ("add_user", "view_user", "issue_certificate")


def form(text=LIST, **fields):
    return {"people": text, "device": "phone", "days": "1", **fields}


def looked_at(console, text=LIST, **fields):
    shown = console.post(MANY, form(text, **fields))
    assert shown.status_code == 200, text_of(shown)
    return shown


def seen_in(shown):
    return re.search(r'name="seen" value="([^"]+)"', text_of(shown))[1]


def begin(console, text=LIST, **fields):
    seen = seen_in(looked_at(console, text))
    return console.post(MANY, form(text, go="1", seen=seen, **fields))


def carried_out(console, text=LIST, **fields):
    """The list, after its operation has ended."""
    response = begin(console, text, **fields)
    assert response.status_code == 302, text_of(response)
    started = InvitationList.objects.latest("pk")
    finished(started.operation, seconds=60)
    started.refresh_from_db()
    return started


def page(started, name=""):
    return f"{MANY}{started.pk}/{name}"


def links_in(response):
    text = response.content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def token_of(row):
    return re.search(r"/enrol/([^/]+)/$", row["link"])[1]


def outlooks(shown):
    return [(row.outlook.line.username, row.outlook.fate.name) for row in shown.context["rows"]]


# --- The way through ------------------------------------------------------------------------


def test_list_becomes_people_and_links_that_work(console, pki, people):
    shown = looked_at(console)
    assert outlooks(shown) == [("dora", "NEW"), ("emil", "NEW")]
    assert "no-store" in shown["Cache-Control"]
    assert not User.objects.filter(username="dora").exists()

    started = carried_out(console, days="3")
    dora = User.objects.get(username="dora")
    assert (dora.name, dora.email, dora.is_staff) == ("Dora Diaz", "dora@example.org", False)
    assert AuditEntry.objects.filter(action="person.created", actor="admin").count() == 2
    assert AuditEntry.objects.filter(action="invitation.created", actor="admin").count() == 2

    file = console.post(page(started, "file/"))

    assert "no-store" in file["Cache-Control"]
    assert 'filename="enrolment-links.csv"' in file["Content-Disposition"]
    first, second = links_in(file)
    assert (first["username"], first["email"], first["device"]) == (
        "dora",
        "dora@example.org",
        "laptop",
    )
    assert (second["username"], second["device"]) == ("emil", "phone")
    link = enrolment.find(token=token_of(first), at=timezone.now())
    assert (link.user, link.device) == (dora, "laptop")
    assert 2.9 < (link.expires_at - timezone.now()).total_seconds() / 86400 < 3


def test_page_of_the_operation_leads_to_the_links(console, pki, people):
    started = carried_out(console)
    shown = text_of(console.get(f"/console/pki/operation/{started.operation_id}/change/"))
    assert page(started) in shown
    assert "2 links were made." in shown
    assert "Download 2 links" in text_of(console.get(page(started)))
    assert page(started) in text_of(console.get(MANY))


def test_operation_says_what_there_is_to_fetch(console, halfway):
    state = f"/console/pki/operation/{halfway.operation_id}/state/"

    def label():
        watched = console.get(state).json()
        assert watched["leads_to"] == page(halfway)
        return watched["leads_label"]

    assert label() == "Go on or fetch what is there"
    Operation.objects.update(state="done")
    assert label() == "Fetch the 25 links"
    shown = text_of(console.get(f"/console/pki/operation/{halfway.operation_id}/change/"))
    assert re.search(r'<a href="[^"]+many/\d+/"[^>]*bg-primary-600[^>]*>\s*<span data-leads', shown)
    some = list(Invitation.objects.values_list("pk", flat=True)[:24])
    Invitation.objects.filter(pk__in=some).update(redeemed_at=timezone.now())
    assert label() == "Fetch the link"
    Invitation.objects.update(redeemed_at=timezone.now())
    assert label() == "See what became of the list"


def test_links_are_kept_nowhere(console, pki, people, caplog):
    """Not in the database, the audit trail, the log, a page or an address; only in the file."""
    started = carried_out(console)
    pages = [console.get(path) for path in (page(started), MANY)]
    pages.append(console.get(f"/console/pki/operation/{started.operation_id}/change/"))
    tokens = [token_of(row) for row in links_in(console.post(page(started, "file/")))]
    kept = repr(
        [
            list(model.objects.values())
            for model in (AuditEntry, Operation, Invitation, InvitationList)
        ]
    )
    for token in tokens:
        assert token not in kept + caplog.text + "".join(map(text_of, pages))
    assert not InvitationList.objects.exists()


def test_file_is_made_once(console, pki, people):
    started = carried_out(console)
    assert len(links_in(console.post(page(started, "file/")))) == 2

    again = console.post(page(started, "file/"))

    assert "/enrol/" not in text_of(again)
    assert "add the same people again" in said(console, again)[0]
    assert "add the same people again" in said(console, console.get(page(started)))[0]
    assert AuditEntry.objects.filter(action="invitation_list.handed_out").count() == 1


def test_what_works_once_is_offered_until_it_is_sent(console, halfway):
    """The script hides what stands in `data-until-submit`, and shows the rest with the time."""
    form_of_file = text_of(console.get(page(halfway))).split(page(halfway, "file/"))[1]
    before = form_of_file.split("data-after-submit")[0]
    assert before.count("data-until-submit") == 2
    buttons = re.split(r'<div class="sg-buttons" data-until-submit', form_of_file)[1]
    assert "Download 25 links" in buttons.split("</div>")[0]
    assert "Downloaded at <span data-time></span> UTC" in form_of_file


def test_file_is_made_once_for_two_who_ask_at_the_same_time(console, pki, people):
    """Both have found the list before either got its links."""
    started = carried_out(console)
    console.post(page(started, "file/"))
    with pytest.raises(invitations.StateError, match="handed out already"):
        invitations.hand_out(actor="admin", started=started, at=timezone.now())


def test_file_is_only_asked_for_by_post(console, pki, people):
    started = carried_out(console)
    assert console.get(page(started, "file/")).status_code == 405
    assert console.get(page(started, "go-on/")).status_code == 405
    assert InvitationList.objects.exists()


def test_another_admin_gets_no_links(console, pki, people):
    started = carried_out(console)
    eve = make_person("eve", is_staff=True, is_superuser=True, password=PASSWORD)
    other = ConsoleVisitor(make_device(eve, pki.issuing).chain)
    other.unlock()

    for path in ("file/", "go-on/"):
        assert "handed out, or too old" in said(other, other.post(page(started, path)))[0]
    assert "handed out, or too old" in said(other, other.get(page(started)))[0]
    assert page(started) not in text_of(other.get(MANY))
    with pytest.raises(invitations.NotAllowedError):
        invitations.hand_out(actor="eve", started=started, at=timezone.now())
    assert len(links_in(console.post(page(started, "file/")))) == 2


@pytest.mark.parametrize("missing", ["add_user", "issue_certificate"])
def test_list_needs_both_rights(clerk, pki, missing):
    visitor = clerk(*(right for right in RIGHTS if right != missing))
    assert visitor.get(MANY).status_code == 404
    assert visitor.post(MANY, form()).status_code == 404
    assert "Add many" not in text_of(visitor.get("/console/pki/user/"))
    assert not InvitationList.objects.exists()


def test_clerk_with_the_rights_adds_many_but_nobody_of_the_console(clerk, pki, people):
    bob = clerk(*RIGHTS)
    assert "Add many" in text_of(bob.get("/console/pki/user/"))
    refused = bob.post(MANY, form("username\nadmin\n"))
    assert outlooks(refused) == [("admin", "FAULT")]
    assert "administrators alone invite them" in text_of(refused)
    assert len(links_in(bob.post(page(carried_out(bob), "file/")))) == 2


# --- What is looked at ----------------------------------------------------------------------


def test_faults_are_shown_at_their_lines_and_nothing_is_lost_or_created(console, pki, people):
    people.charlie.is_active = False
    people.charlie.save()
    text = (
        "username,name,email,device\n"
        "dora,Dora,dora@example.org,laptop\n"
        "Not Allowed,,,\n"
        "charlie,,,\n"
        "dora,Dora,,Laptop\n"
        "fay,Fay\N{RIGHT-TO-LEFT OVERRIDE}ylF,,\n"
        "gus,=1+1,,\n"
        "hal,Hal,not an address,\n"
        "signet,,,\n"
        "dora,Doris,,phone\n"
        ",Nobody,,\n"
    )
    shown = console.post(MANY, form(text))

    assert shown.status_code == 400
    assert outlooks(shown)[0] == ("dora", "NEW")
    faults = {one.outlook.line.number: one.outlook.said[0] for one in shown.context["rows"][1:]}
    assert sorted(faults) == list(range(3, 12))
    assert "small letters" in faults[3]
    assert "disabled" in faults[4]
    assert faults[5] == "Line 2 has the same person and device."
    assert faults[6] == "The name has an invisible character (U+202E)."
    assert "formula" in faults[7]
    assert "email" in faults[8]
    assert "audit trail" in faults[9]
    assert "calls dora otherwise" in faults[10]
    assert "no username" in faults[11]
    assert "9 lines have faults" in text_of(shown)
    assert ">Line 10 (<bdi>dora</bdi>)</a>:" in text_of(shown)
    assert ">Line 11</a>:" in text_of(shown)
    assert "<td><bdi>Fay\N{RIGHT-TO-LEFT OVERRIDE}ylF</bdi></td>" in text_of(shown)
    assert "Not Allowed,,," in text_of(shown)
    assert 'name="go"' not in text_of(shown)
    forced = console.post(MANY, form(text, go="1", seen=seen_in(shown)))
    assert forced.status_code == 400
    assert not InvitationList.objects.exists()
    assert not User.objects.filter(username="dora").exists()


def test_people_who_are_here_are_told_apart(console, pki, people):
    make_device(people.alice, pki.issuing, device="phone")
    enrolment.invite(actor="eve", user=people.bob, device="phone", at=timezone.now())

    shown = looked_at(console, "username,name\nalice,\nbob,Robert\ncharlie,\nal1ce,\n")

    assert outlooks(shown) == [
        ("alice", "HAS"),
        ("bob", "AGAIN"),
        ("charlie", "LINK"),
        ("al1ce", "NEW"),
    ]
    assert "The name stays as it is here." in text_of(shown)
    assert "Looks like alice: is it somebody else?" in text_of(shown)
    started = carried_out(console, "alice\nbob\n")
    assert [row["username"] for row in links_in(console.post(page(started, "file/")))] == ["bob"]
    assert Invitation.objects.open(timezone.now()).filter(user=people.bob).count() == 1


def test_file_is_read_as_it_was_uploaded(console, pki):
    data = "username;name\r\ndora;Dörte\r\n".encode("utf-8-sig")
    shown = console.post(MANY, form("", file=SimpleUploadedFile("p.csv", data)))
    assert outlooks(shown) == [("dora", "NEW")]
    assert "dora;Dörte" in text_of(shown)
    assert 'enctype="multipart/form-data"' in text_of(shown)
    assert re.search(r'name="device" value="phone"', text_of(shown))
    assert re.search(r'name="days"[^>]* value="1"[^>]* checked', text_of(shown))
    latin = SimpleUploadedFile("p.csv", "dora;Dörte".encode("cp1252"))
    assert "CSV UTF-8" in text_of(console.post(MANY, form("", file=latin)))


def test_limits_are_said_before_and_kept(console, pki, settings):
    assert "At most 3000 lines and 240 KiB" in text_of(console.get(MANY))
    many = "\n".join(f"p{n}" for n in range(3001))
    assert "more than 3000 lines" in text_of(console.post(MANY, form(many)))
    wide = SimpleUploadedFile("p.csv", ("dor," + "ö" * (120 * 1024)).encode())
    assert "larger than 240 KiB" in text_of(console.post(MANY, form("", file=wide)))


def test_what_has_changed_since_is_shown_again(console, pki):
    seen = seen_in(looked_at(console))
    other_list = console.post(MANY, form(LIST + "fay,,,\n", go="1", seen=seen))
    make_person("emil")
    other_people = console.post(MANY, form(go="1", seen=seen))
    for refused in (other_list, other_people):
        assert "have changed since" in text_of(refused)
    assert outlooks(other_people) == [("dora", "NEW"), ("emil", "LINK")]
    assert not InvitationList.objects.exists()


def test_nobody_needs_a_link(console, pki, people):
    make_device(people.alice, pki.issuing, device="phone")
    shown = looked_at(console, "alice\n")
    assert "Nobody on this list needs a link." in text_of(shown)
    assert 'name="go"' not in text_of(shown)


def test_formulas_of_people_who_are_here_are_made_text(console, pki, people):
    User.objects.filter(username="alice").update(name="=HYPERLINK(1)")
    started = carried_out(console, "username,device\nalice,-phone\n")
    (row,) = links_in(console.post(page(started, "file/")))
    assert (row["name"], row["device"]) == ("'=HYPERLINK(1)", "'-phone")


# --- Interrupted, twice, and by others ------------------------------------------------------


@pytest.fixture
def halfway(console, pki, monkeypatch):
    """A list of 30 whose process has died after its first step."""
    monkeypatch.setattr(invitations, "STEP", 25)
    text = "\n".join(f"p{n}" for n in range(30))
    step, steps = invitations._step, []

    def dying(*args):
        if steps:
            raise MemoryError
        steps.append(step(*args))
        return steps[0]

    monkeypatch.setattr(invitations, "_step", dying)
    started = carried_out(console, text)
    monkeypatch.setattr(invitations, "_step", step)
    return started


def test_list_goes_on_where_it_was(console, halfway):
    assert halfway.operation.state == "failed"
    assert Invitation.objects.count() == invitations.STEP
    shown = text_of(console.get(page(halfway)))
    assert "5 people have no" in shown
    made = set(Invitation.objects.values_list("token_sha256", flat=True))

    console.post(page(halfway, "go-on/"))
    halfway.refresh_from_db()
    finished(halfway.operation, seconds=60)

    assert Invitation.objects.open(timezone.now()).count() == 30
    assert made < set(Invitation.objects.values_list("token_sha256", flat=True))
    assert len(links_in(console.post(page(halfway, "file/")))) == 30
    assert User.objects.filter(username__startswith="p").count() == 30


def test_others_get_their_turn_between_two_steps(console, pki, monkeypatch):
    """Seen: a message waited 20 seconds, because the next step took the lock at once."""
    step, pauses = invitations._step, []

    def slow(*args):
        pauses.append("step")
        time.sleep(0.1)
        return step(*args)

    def sleep(seconds):
        assert not connection.in_atomic_block
        pauses.append(seconds)

    sleeping = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(invitations, "_step", slow)
    monkeypatch.setattr(invitations, "time", sleeping)

    carried_out(console, "\n".join(f"p{n}" for n in range(2 * invitations.STEP)))

    assert [one == "step" for one in pauses] == [True, False] * 2
    assert all(0.1 <= pause < 2 for pause in pauses[1::2])
    assert invitations.STEP <= 5
    assert invitations.PAUSE >= 0.05


def test_link_that_was_used_meanwhile_is_not_made_again(console, halfway):
    Invitation.objects.filter(user__username="p0").update(redeemed_at=timezone.now())
    console.post(page(halfway, "go-on/"))
    halfway.refresh_from_db()
    assert finished(halfway.operation, seconds=60).state == "done"
    assert "used or has ended" in text_of(console.get(page(halfway)))
    assert len(links_in(console.post(page(halfway, "file/")))) == 29


def test_line_that_has_a_fault_by_now_is_left_out_and_told(console, halfway):
    make_person("p29", is_active=False)
    console.post(page(halfway, "go-on/"))
    halfway.refresh_from_db()
    assert finished(halfway.operation, seconds=60).state == "done"
    assert "is disabled" in text_of(console.get(page(halfway)))
    assert AuditEntry.objects.get(action="invitation.create.refused").target == "p29"
    assert len(links_in(console.post(page(halfway, "file/")))) == 29


def test_added_again_the_old_links_end(console, pki, people):
    first = links_in(console.post(page(carried_out(console), "file/")))
    second = links_in(console.post(page(carried_out(console), "file/")))
    with pytest.raises(enrolment.InvitationError):
        enrolment.find(token=token_of(first[0]), at=timezone.now())
    assert enrolment.find(token=token_of(second[0]), at=timezone.now())


def test_of_two_lists_at_once_the_second_waits(console, pki, people):
    started = carried_out(console, "fay\n")
    Operation.objects.filter(pk=started.operation_id).update(
        state="running", seen_at=timezone.now()
    )
    assert "A list is being carried out already" in text_of(begin(console))
    refused = console.post(page(started, "file/"))
    assert refused.status_code == 409
    assert "being carried out" in text_of(refused)
    assert "Download" not in text_of(console.get(page(started)))


def test_rights_are_asked_before_each_step(console, halfway, people):
    User.objects.filter(username="admin").update(is_superuser=False)
    with pytest.raises(invitations.NotAllowedError):
        invitations.carry_out(actor="admin", started=halfway, progress=lambda done, total: None)
    assert Invitation.objects.count() == invitations.STEP


def test_links_end_with_the_certificate_that_made_them(console, halfway, people):
    revocation.revoke(
        actor="admin", certificate=halfway.asked_with, reason="keyCompromise", at=timezone.now()
    )
    with pytest.raises(invitations.NotAllowedError, match="not valid now"):
        invitations.carry_out(actor="admin", started=halfway, progress=lambda done, total: None)
    assert not Invitation.objects.open(timezone.now()).exists()


def test_lists_are_forgotten_after_a_week(console, pki, people):
    started = carried_out(console)
    week_later = started.created_at + invitations.KEPT
    upkeep.DUTIES["forget lists whose links nobody fetched"](week_later)
    assert InvitationList.objects.exists()
    upkeep.DUTIES["forget lists whose links nobody fetched"](week_later + dt.timedelta(seconds=1))
    assert not InvitationList.objects.exists()
    assert said(console, console.post(page(started, "file/")))


def test_links_are_not_handed_out_while_the_list_goes_on(console, halfway):
    """It was found before somebody let it go on."""
    running = Operation.objects.create(title="Links", actor="admin", seen_at=timezone.now())
    InvitationList.objects.update(operation=running)
    with pytest.raises(invitations.StateError, match="being carried out"):
        invitations.hand_out(actor="admin", started=halfway, at=timezone.now())
    assert InvitationList.objects.exists()


def test_links_are_not_handed_out_to_whoever_may_not_make_them_any_more(console, halfway):
    User.objects.filter(username="admin").update(is_superuser=False)
    with pytest.raises(invitations.NotAllowedError):
        invitations.hand_out(actor="admin", started=halfway, at=timezone.now())


def recorded(actor="somebody"):
    audit.record(actor=actor, action="test", target="", detail={}, at=timezone.now())


@needs_row_locks
def test_list_is_locked_before_the_audit_trail(console, halfway, people):
    def go_on():
        now, admin = timezone.now(), people.admin
        invitations.go_on(actor="admin", inviter=admin, started=halfway, at=now)

    with transaction.atomic():
        InvitationList.objects.select_for_update().get()
        going_on = held_up(go_on)
        recorded()
    going_on.result(30)
    assert finished(halfway.operation, seconds=60).state == "done"


@needs_row_locks
def test_links_that_end_are_locked_before_the_audit_trail(console, halfway):
    """As whoever enrols by one does."""
    p29 = make_person("p29")
    now = timezone.now()
    earlier, _ = enrolment.invite(actor="admin", user=p29, device="phone", at=now)

    def carry_out():
        return invitations.carry_out(
            actor="admin", started=halfway, progress=lambda done, total: None
        )

    with transaction.atomic():
        Invitation.objects.filter(pk=earlier.pk).update(redeemed_at=now)
        carrying_out = held_up(carry_out)
        recorded("p29")
    assert carrying_out.result(30).startswith("5 links")
