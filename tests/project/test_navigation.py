from __future__ import annotations

from django.contrib.auth.models import Permission
from django.test import RequestFactory

from project.navigation import sidebar


def titles(user):
    request = RequestFactory().get("/console/")
    request.user = user
    return [item["title"] for group in sidebar(request) for item in group["items"]]


def test_administrator_sees_every_group(people):
    request = RequestFactory().get("/console/")
    request.user = people.admin

    groups = [group["title"] for group in sidebar(request)]

    assert groups == ["", "Certificates", "People", "Trust", "System", "Chat"]


def test_links_stand_for_what_one_may_see(people):
    assert titles(people.bob) == ["Overview"]
    people.bob.is_staff = True
    people.bob.save()
    people.bob.user_permissions.add(Permission.objects.get(codename="view_endpoint"))
    again = type(people.bob).objects.get(pk=people.bob.pk)

    assert titles(again) == ["Overview", "Endpoints"]
