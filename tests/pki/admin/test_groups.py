from __future__ import annotations

import re

from django.contrib.auth.models import Group

from tests.factories import make_device
from tests.pki.admin.conftest import entry_of, text_of
from tests.pki.client import PASSWORD, ConsoleVisitor


def test_group_gives_its_people_their_rights(console, pki, people):
    form = text_of(console.get("/console/auth/group/add/"))
    (right,) = re.findall(r'value="(\d+)"[^>]*>\s*<span[^>]*>\s*certificates: view', form)
    console.post("/console/auth/group/add/", {"name": "Lookers", "permissions": [right]})
    lookers = Group.objects.get(name="Lookers")
    assert entry_of("group.changed").detail == {"permissions": ["view_certificate"]}

    people.bob.set_password(PASSWORD)
    people.bob.save()
    granted = {"name": "Bob", "email": "", "is_staff": "on", "groups": [lookers.pk]}
    console.post(f"/console/pki/user/{people.bob.pk}/change/", granted)

    bob = ConsoleVisitor(make_device(people.bob, pki.issuing).chain)
    bob.unlock()
    assert bob.get("/console/pki/certificate/").status_code == 200
    assert bob.get("/console/pki/user/").status_code == 404


def test_groups_offer_no_right_over_groups(console):
    form = text_of(console.get("/console/auth/group/add/"))

    assert "people: change" in form
    assert "CRLs: publish" in form
    assert "groups:" not in form
    assert "sessions:" not in form
