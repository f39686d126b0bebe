"""The page around the chat; the sockets do the rest."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.http import Http404
from django.template import engines
from django.test import RequestFactory
from django.urls import Resolver404, resolve

from chat import views
from chat.models import Room
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db
BARE = '{{ page|json_script:"bootstrap" }}{{ shell|json_script:"shell" }}'


@pytest.fixture(autouse=True)
def template(settings):
    """The real template belongs to the pages; here mostly what it is given matters."""
    loaders = [
        (
            "django.template.loaders.locmem.Loader",
            {"chat/chat.html": BARE},
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
    data, _shell = json_in(response)
    assert "no-store" in response["Cache-Control"]
    return data


def json_in(response):
    found = re.findall(r'type="application/json">(.*?)</script>', response.content.decode())
    return [json.loads(data) for data in found]


def test_page_is_told_who_it_is_for(cast):
    assert page(cast.bob) == {
        "socket": "/ws/chat/",
        "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
        "room": None,
    }


def test_room_is_shown_to_those_who_may_know_of_it(cast, den, square):
    assert page(cast.bob, den)["room"] == den
    assert page(cast.bob, square)["room"] == square


def test_page_brings_the_rooms_and_the_end_of_the_open_one(cast, den, square, at):
    post(cast.alice, den, "welcome", at=at)
    request = RequestFactory().get("/")
    request.identity = cast.bob
    _page, shell = json_in(views.chat(request, den))
    assert [room["room"] for room in shell["rooms"]] == ["den"]
    assert shell["log"]["sync"]["rooms"][den]["events"][-1]["data"]["body"] == "welcome"


def test_page_brings_nothing_of_a_room_that_may_only_be_joined(cast, square, at):
    post(cast.alice, square, "for members", at=at)
    request = RequestFactory().get("/")
    request.identity = cast.charlie
    assert b"for members" not in views.chat(request, square).content


def test_first_paint_holds_the_list_and_the_head_of_the_room(cast, den, at, settings):
    Room.objects.filter(slug=den).update(name="The <Den>", description="Where bears live")
    post(cast.alice, den, "welcome", at=at)
    html = real_page(settings, cast.bob, den)
    (link,) = re.findall(r'<a class="room-link".*?</a>', html)
    assert 'href="/rooms/den/"' in link
    assert 'aria-current="page"' in link
    assert "The &lt;Den&gt;</bdi>" in link
    assert '<span class="badge">1<span class="visually-hidden"> unread' in link
    assert '<h2 id="room-name" dir="auto">The &lt;Den&gt;</h2>' in html
    assert "Where bears live</p>" in html
    assert 'id="loading" class="stage-note soft" hidden' in html


def test_first_paint_of_a_room_that_may_be_joined_opens_none(cast, den, square, settings):
    html = real_page(settings, cast.bob, square)
    assert '<h2 id="room-name" dir="auto"></h2>' in html
    assert 'aria-labelledby="room-name" hidden' in html


def test_page_names_all_its_modules_so_that_none_waits_for_another(cast, settings):
    """Each import that is found late costs a round trip."""
    static = Path(settings.BASE_DIR) / "chat/static/chat"
    needed, waiting = set(), ["main.js"]
    while waiting:
        source = (static / waiting.pop()).read_text()
        found = set(re.findall(r'^(?:.*\bfrom|import) "\./(\w+\.js)";', source, re.MULTILINE))
        waiting += found - needed
        needed |= found
    html = real_page(settings, cast.bob, None)
    named = re.findall(r'<link rel="modulepreload" href="/static/\w+/chat/(\w+\.js)"', html)
    assert sorted(needed) == sorted(named)


def real_page(settings, identity, slug):
    options = {**settings.TEMPLATES[0]["OPTIONS"]}
    del options["loaders"]
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": True, "OPTIONS": options}]
    request = RequestFactory().get(f"/rooms/{slug}/" if slug else "/")
    request.identity = identity
    return views.chat(request, slug).content.decode()


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


def test_the_manifest_names_icons_that_are_there_in_their_sizes():
    response = views.manifest(RequestFactory().get("/manifest.webmanifest"))
    assert response["Content-Type"] == "application/manifest+json"
    about = json.loads(response.content)
    assert (about["start_url"], about["scope"], about["display"]) == ("/", "/", "standalone")
    pngs = [icon for icon in about["icons"] if icon["type"] == "image/png"]
    assert {icon.get("purpose", "any") for icon in pngs} == {"any", "maskable"}
    for icon in pngs:
        header = Path(finders.find(icon["src"].split("/", 3)[3])).read_bytes()[16:24]
        assert "{}x{}".format(*struct.unpack(">II", header)) == icon["sizes"]


def test_pictures_are_shown_before_they_are_uploaded_and_nothing_else_is_let_in(cast):
    request = RequestFactory().get("/")
    request.identity = cast.alice
    assert views.chat(request)._csp_update == {"img-src": ["blob:"]}
