from __future__ import annotations

import re
import threading
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from pki import audit, console, revocation
from pki import people as people_verbs
from pki.errors import AuditError, NotAllowedError
from pki.models import AuditEntry, Certificate, User
from tests.certs import make_ca
from tests.factories import make_device
from tests.pki.client import PASSWORD, ConsoleVisitor

INDEX = "/console/"
LOGIN = "/console/login/"
WRONG = "not your console password"


@pytest.fixture(autouse=True)
def no_lockouts():
    cache.clear()


@pytest.fixture
def device(pki, people):
    return make_device(people.admin, pki.issuing)


@pytest.fixture
def visitor(device):
    return ConsoleVisitor(device.chain)


def is_inside(visitor):
    response = visitor.get(INDEX)
    return response.status_code == 200 and "Latest in the audit trail" in response.content.decode()


def audited(action):
    return list(AuditEntry.objects.filter(action=action).values_list("actor", "target"))


# --- In, and out again ----------------------------------------------------------------------


def test_certificate_and_password_open_the_console(visitor, device):
    asked = visitor.get(INDEX)
    assert asked.status_code == 302
    assert asked.url == f"{LOGIN}?next={INDEX}"
    assert not is_inside(visitor)

    visitor.unlock()

    assert is_inside(visitor)
    assert audited("console.unlocked") == [("admin", "admin")]


def test_login_page_says_who_you_are_and_asks_for_the_password_alone(visitor, device):
    page = visitor.get(LOGIN).content.decode()

    assert "You are Admin" in page
    assert device.certificate.serial[:12] in page
    assert 'type="password"' in page
    assert 'name="username" value="admin" autocomplete="username" hidden' in page


def test_password_without_certificate_opens_nothing(visitor, people):
    visitor.unlock()
    assert is_inside(visitor)

    visitor.present([])

    assert visitor.get(INDEX).status_code == 401
    assert visitor.try_password(PASSWORD).status_code == 401


def test_password_with_foreign_certificate_opens_nothing(people, pki):
    mallory = ConsoleVisitor(make_ca("Mallory CA").issue("admin").chain)

    refused = mallory.try_password(PASSWORD)

    assert refused.status_code == 401
    assert "not issued here" in refused.content.decode()


def test_session_is_bound_to_its_certificate(visitor, people, pki):
    visitor.unlock()
    assert is_inside(visitor)

    visitor.present(make_device(people.admin, pki.issuing, device="phone").chain)
    assert not is_inside(visitor)


def test_session_does_not_carry_over_to_another_person(visitor, people, pki):
    visitor.unlock()
    people.bob.is_staff = people.bob.is_superuser = True
    people.bob.set_password(PASSWORD)
    people.bob.save()

    visitor.present(make_device(people.bob, pki.issuing).chain)

    assert not is_inside(visitor)


def test_user_named_in_the_session_has_no_say(visitor, people):
    """Django's own login keys are not looked at: only the certificate says who somebody is."""
    visitor.client.force_login(people.admin)
    assert not is_inside(visitor)

    visitor.present([])
    assert visitor.get(INDEX).status_code == 401


def test_revoked_certificate_locks_the_console(visitor, device, at):
    visitor.unlock()
    assert is_inside(visitor)

    revocation.revoke(actor="tests", certificate=device.certificate, reason="keyCompromise", at=at)

    assert visitor.get(INDEX).status_code == 401


def test_disabled_account_locks_the_console(visitor, people, at):
    visitor.unlock()
    assert is_inside(visitor)

    people_verbs.disable_person(actor="tests", user=people.admin, at=at)

    assert visitor.get(INDEX).status_code == 401


def test_changed_password_locks_the_console(visitor, people):
    visitor.unlock()
    assert is_inside(visitor)

    people.admin.set_password("another sesame")
    people.admin.save()

    assert not is_inside(visitor)
    visitor.unlock("another sesame")
    assert is_inside(visitor)


def test_own_new_password_keeps_this_session_and_locks_the_others(visitor, device):
    other = ConsoleVisitor(device.chain)
    visitor.unlock()
    other.unlock()
    new = "correct horse battery staple"

    changed = visitor.post(
        "/console/password_change/",
        {"old_password": PASSWORD, "new_password1": new, "new_password2": new},
    )

    assert changed.status_code == 302
    assert is_inside(visitor)
    assert not is_inside(other)
    assert audited("person.password_changed") == [("admin", "admin")]


def test_unlocking_that_cannot_be_recorded_does_not_happen(visitor, monkeypatch):
    def broken(**_):
        raise AuditError("The audit trail cannot be written: disk full.")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "record", broken)
        assert "disk full" in visitor.try_password(PASSWORD).content.decode()

    assert not is_inside(visitor)


def test_password_sent_from_another_site_is_not_taken(visitor):
    visitor.client.handler.enforce_csrf_checks = True
    visitor.try_password(PASSWORD)
    visitor.client.handler.enforce_csrf_checks = False

    assert not is_inside(visitor)


def test_logging_out_locks_the_console(visitor):
    visitor.unlock()
    assert is_inside(visitor)

    response = visitor.post("/console/logout/")

    assert response.url == LOGIN
    assert not is_inside(visitor)
    assert visitor.get("/console/logout/").status_code == 302


# --- Wrong passwords ------------------------------------------------------------------------


def test_wrong_password_is_refused(visitor):
    response = visitor.try_password("open barley")

    assert WRONG in response.content.decode()
    assert not is_inside(visitor)
    assert audited("console.unlocked") == []


def test_five_wrong_passwords_lock_the_person_out_for_five_minutes(visitor, monkeypatch):
    for _ in range(4):
        assert WRONG in visitor.try_password("open barley").content.decode()
    assert "locked" in visitor.try_password("open barley").content.decode()
    assert audited("console.locked_out") == [("admin", "admin")]

    assert "locked" in visitor.try_password(PASSWORD).content.decode()
    assert not is_inside(visitor)

    pass_time(monkeypatch, seconds=301)
    visitor.unlock()
    assert is_inside(visitor)


def test_four_wrong_passwords_are_forgotten_after_five_minutes(visitor, monkeypatch):
    for _ in range(4):
        visitor.try_password("open barley")
    pass_time(monkeypatch, seconds=301)

    for _ in range(4):
        assert WRONG in visitor.try_password("open barley").content.decode()


def test_right_password_forgets_the_wrong_ones(visitor):
    for _ in range(4):
        visitor.try_password("open barley")
    visitor.unlock()
    visitor.post("/console/logout/")

    assert WRONG in visitor.try_password("open barley").content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_many_passwords_sent_at_once_five_are_looked_at(people, monkeypatch):
    looked_at, refusals = [], []
    monkeypatch.setattr(User, "check_password", lambda self, raw: looked_at.append(raw))
    start = threading.Barrier(60)

    def guess(number):
        request = SimpleNamespace(user=people.admin, identity=Mock(username="admin", serial="1"))
        request.identity.device = "laptop"
        start.wait()
        try:
            console.unlock(request=request, password=str(number), at=timezone.now())
        except NotAllowedError as error:
            refusals.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=guess, args=[number]) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(looked_at) == 5
    assert sorted(WRONG in refusal for refusal in refusals) == [False] * 56 + [True] * 4
    assert audited("console.locked_out") == [("admin", "admin")]


def test_lock_out_lasts_five_minutes_from_the_fifth_wrong_password(visitor, monkeypatch):
    for _ in range(4):
        visitor.try_password("open barley")
    pass_time(monkeypatch, seconds=240)
    visitor.try_password("open barley")

    pass_time(monkeypatch, seconds=240)  # on top of the first
    assert "locked" in visitor.try_password(PASSWORD).content.decode()


def test_lock_out_is_one_persons_alone(visitor, people, pki):
    for _ in range(5):
        visitor.try_password("open barley")
    people.bob.is_staff = True
    people.bob.set_password(PASSWORD)
    people.bob.save()

    ConsoleVisitor(make_device(people.bob, pki.issuing).chain).unlock()


def pass_time(monkeypatch, *, seconds):
    """Let the cache's clock run ahead."""
    real = time.time
    monkeypatch.setattr("django.core.cache.backends.locmem.time.time", lambda: real() + seconds)


# --- Who may not ----------------------------------------------------------------------------


def test_people_who_are_no_staff_get_a_plain_page_and_no_403(people, pki):
    bob = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)

    for path in (INDEX, LOGIN, "/console/pki/user/", "/console/no/such/page/"):
        response = bob.get(path)
        assert response.status_code == 404
        assert "The console is for administrators." in response.content.decode()
        assert "password" not in response.content.decode()


def test_staff_without_password_learn_how_to_get_one(visitor, people):
    people.admin.set_unusable_password()
    people.admin.save()

    page = visitor.get(LOGIN).content.decode()

    assert "manage.py changepassword admin" in page
    assert "enrolment link" in page
    assert 'type="password"' not in page
    assert visitor.try_password("").status_code == 200
    assert not is_inside(visitor)


def test_staff_see_what_they_have_the_right_to_and_no_403(people, pki):
    people.bob.is_staff = True
    people.bob.set_password(PASSWORD)
    people.bob.save()
    people.bob.user_permissions.add(Permission.objects.get(codename="view_certificate"))
    bob = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)
    bob.unlock()

    assert bob.get("/console/pki/certificate/").status_code == 200
    index = bob.get(INDEX).content.decode()
    assert "/console/pki/certificate/" in index
    assert "/console/pki/endpoint/" not in index
    assert "Latest in the audit trail" not in index
    for path in ("user", "endpoint", "truststore", "auditentry", "certificateauthority"):
        response = bob.get(f"/console/pki/{path}/")
        assert response.status_code == 404
        assert "may not" in response.content.decode()


# --- The frame ------------------------------------------------------------------------------


def test_login_goes_on_to_pages_of_this_site_alone(visitor):
    away = visitor.post(LOGIN, {"password": PASSWORD, "next": "https://mallory.example/console/"})
    assert away.url == INDEX

    visitor.post("/console/logout/")
    onward = visitor.post(LOGIN, {"password": PASSWORD, "next": "/console/pki/user/"})
    assert onward.url == "/console/pki/user/"


def test_console_has_its_own_policy_and_other_pages_keep_theirs(visitor):
    login = visitor.get(LOGIN)["Content-Security-Policy"]
    visitor.unlock()
    console = visitor.get(INDEX)["Content-Security-Policy"]
    other = visitor.get("/devices/")["Content-Security-Policy"]

    for policy in (login, console):
        assert directive(policy, "script-src") == ["'self'", "'unsafe-eval'"]
        assert directive(policy, "style-src") == ["'self'", "'unsafe-inline'"]
        assert directive(policy, "default-src") == ["'none'"]
        assert directive(policy, "frame-ancestors") == ["'none'"]
        assert "trusted-types" not in policy
    assert directive(other, "require-trusted-types-for") == ["'script'"]
    assert directive(other, "trusted-types") == ["signet"]
    assert directive(other, "script-src") == ["'self'"]
    assert directive(other, "style-src") == ["'self'"]


def directive(policy, name):
    found = {part.split()[0]: part.split()[1:] for part in policy.split(";") if part.strip()}
    return found[name]


INLINE_SCRIPT = re.compile(
    r"<script(?![^>]*\b(?:src=|type=.application/json))[^>]*>|\son[a-z]+\s*=|javascript:", re.I
)


@pytest.mark.parametrize(
    "path",
    [
        LOGIN,
        INDEX,
        "/console/pki/certificate/",
        "/console/pki/certificate/add/",
        "/console/pki/certificate/{}/change/",
        "/console/pki/certificate/{}/revoke/",
        "/console/pki/user/",
        "/console/pki/user/add/",
        "/console/pki/endpoint/add/",
        "/console/pki/truststore/",
        "/console/pki/auditentry/",
        "/console/auth/group/add/",
        "/console/password_change/",
    ],
)
def test_no_page_has_script_in_it_or_loads_from_elsewhere(visitor, path):
    if path != LOGIN:
        visitor.unlock()
    oldest = Certificate.objects.order_by("pk").first()
    page = visitor.get(path.format(oldest.pk)).content.decode()

    assert "<html" in page
    assert INLINE_SCRIPT.findall(page) == []
    assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page) == []
