"""The page around the chat; the sockets do the rest."""

from __future__ import annotations

import json
import re

import pytest
from django.http import Http404
from django.template import engines
from django.test import RequestFactory
from django.urls import Resolver404, resolve

from chat import views

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def template(settings):
    """The real template belongs to the pages; here only what it is given matters."""
    loaders = [
        (
            "django.template.loaders.locmem.Loader",
            {"chat/chat.html": '{{ page|json_script:"bootstrap" }}'},
        )
    ]
    backend = {**settings.TEMPLATES[0], "APP_DIRS": False}
    backend["OPTIONS"] = {**backend["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [backend]
    assert engines.templates


def page(identity, slug=None, method="get"):
    request = getattr(RequestFactory(), method)("/")
    request.identity = identity
    response = views.chat(request, slug) if slug else views.chat(request)
    if response.status_code != 200:
        return response.status_code
    (data,) = re.findall(r'type="application/json">(.*)</script>', response.content.decode())
    assert "no-store" in response["Cache-Control"]
    return json.loads(data)


def test_page_is_told_who_it_is_for(cast):
    assert page(cast.bob) == {
        "socket": "/ws/chat/",
        "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
        "room": None,
    }


def test_room_is_shown_to_those_who_may_know_of_it(cast, den, square):
    assert page(cast.bob, den)["room"] == den
    assert page(cast.bob, square)["room"] == square


def test_private_room_looks_missing_to_a_stranger(cast, den):
    for slug in (den, "nowhere"):
        with pytest.raises(Http404, match="no such room"):
            page(cast.charlie, slug)


@pytest.mark.parametrize("slug", ["a\x00b", "a b", "a/b", "ä"])
def test_address_that_no_room_can_have_is_no_page(slug):
    assert resolve("/rooms/den/", "chat.urls").kwargs == {"slug": "den"}
    with pytest.raises(Resolver404):
        resolve(f"/rooms/{slug}/", "chat.urls")


def test_page_is_read_only(cast):
    assert page(cast.bob, method="post") == 405
