"""Static files: addresses that name a version, and how long browsers may keep what they answer."""

from __future__ import annotations

import os

import pytest
from django.contrib.staticfiles.finders import get_finder
from django.http import HttpResponse
from django.templatetags.static import static
from django.test import RequestFactory

from project import statics

NAMES = ["chat/main.js", "pki/console.css", "unfold/css/styles.css", "site/signet.svg"]
FIVE_MINUTES, FOR_GOOD, ASK_AGAIN = "max-age=300, public", statics.FOR_GOOD, statics.ASK_AGAIN
OTHER = "0123456789ab"


@pytest.fixture
def answer():
    middleware = statics.StaticMiddleware(lambda request: HttpResponse(status=404))

    def answer(path, **headers):
        return middleware(RequestFactory().get(path, headers=headers))

    return answer


def test_a_page_of_another_version_gets_the_file_and_keeps_it_not(answer):
    own, other = (answer(f"/static/{version}/chat/main.js") for version in (version(), OTHER))
    assert own["Cache-Control"] == FOR_GOOD
    assert (other.status_code, other["Cache-Control"]) == (200, ASK_AGAIN)
    assert b"".join(own) == b"".join(other)


def version():
    return statics.inventory().version


@pytest.mark.parametrize("name", NAMES)
def test_addresses_that_pages_name_are_kept_for_good(answer, name):
    address = static(name)
    assert address == f"/static/{version()}/{name}"
    response = answer(address)
    assert (response.status_code, response["Cache-Control"]) == (200, FOR_GOOD)


@pytest.mark.parametrize("name", NAMES)
def test_an_address_without_a_version_still_works_for_a_while(answer, name):
    response = answer(f"/static/{name}")
    assert (response.status_code, response["Cache-Control"]) == (200, FIVE_MINUTES)


def test_who_asks_again_for_what_is_there_is_told_so(answer):
    etag = answer(f"/static/{OTHER}/chat/main.js")["ETag"]
    again = answer(f"/static/{OTHER}/chat/main.js", if_none_match=etag)
    assert (again.status_code, again["Cache-Control"]) == (304, ASK_AGAIN)


@pytest.mark.parametrize(
    "path",
    [
        f"/static/{OTHER}/",
        f"/static/{OTHER}/no.js",
        "/static/{0}/{0}/chat/main.js",
        f"/{OTHER}/chat/main.js",
    ],
)
def test_what_is_no_file_is_not_there(answer, path):
    assert answer(path.format(version())).status_code == 404


@pytest.fixture
def folder(tmp_path, settings):
    """One app's static files that a test may change."""
    settings.STATICFILES_DIRS = [tmp_path]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    (tmp_path / "a.js").write_text("1")
    forget()
    yield tmp_path
    forget()


def forget():
    get_finder.cache_clear()
    statics.inventory.cache_clear()


def test_the_version_changes_with_contents_and_names_and_with_nothing_else(folder):
    versions = [version()]
    os.utime(folder / "a.js", (1, 1))
    statics.inventory.cache_clear()
    assert version() == versions[0]
    for change in (
        lambda: (folder / "a.js").write_text("2"),
        lambda: (folder / "a.js").rename(folder / "b.js"),
    ):
        change()
        statics.inventory.cache_clear()
        versions.append(version())
    assert len(set(versions)) == 3


def test_a_file_replaced_under_a_running_process_is_not_kept_under_the_old_name(folder, answer):
    before = answer(f"/static/{version()}/a.js")
    assert (before["Cache-Control"], b"".join(before)) == (FOR_GOOD, b"1")
    (folder / "a.js").write_text("other contents")
    after = answer(f"/static/{version()}/a.js")
    assert (after["Cache-Control"], b"".join(after)) == (ASK_AGAIN, b"other contents")
    (folder / "a.js").unlink()
    assert answer(f"/static/{version()}/a.js").status_code == 404


def test_while_developing_addresses_have_no_version(settings):
    settings.DEBUG = True
    assert static("chat/main.js") == "/static/chat/main.js"
