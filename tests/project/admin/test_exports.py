"""Exports in the console: only for those with the right, by their row, and each step recorded."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.utils import timezone

from chat import file_views
from pki.models import AuditEntry, Operation, User
from project import exports
from project.models import Export
from tests.pki.admin.conftest import entry_of, said, text_of

pytestmark = pytest.mark.django_db

LIST = "/console/project/export/"
CONTENT = b"PK" + bytes(range(256)) * 1000


@pytest.fixture
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    (tmp_path / "exports").mkdir()
    return tmp_path


@pytest.fixture
def make(home):
    """An export with its file, as if it had been made here."""

    def made(subject, *, is_whole=True):
        size = len(CONTENT) if is_whole else None
        operation = Operation.objects.create(title=f"Export {subject}", actor="bob", state="done")
        row = Export.objects.create(
            subject=subject, made_by="admin", at=timezone.now(), size=size, operation=operation
        )
        (home / "exports" / f"{row.pk.hex}.zip").write_bytes(CONTENT)
        return row

    return made


@pytest.fixture
def den(make):
    return make("room:den")


def page(made, name="change"):
    return f"{LIST}{getattr(made, 'pk', made)}/{name}/"


def content_of(response):
    async def collected():
        return b"".join([block async for block in response])

    return async_to_sync(collected)() if response.streaming else response.content


def downloads():
    return AuditEntry.objects.filter(action="export.downloaded").count()


def test_download_is_a_file_that_nobody_keeps(clerk, den):
    visitor = clerk("export_room")
    response = visitor.get(page(den, "download"))

    assert response.status_code == 200
    assert response.streaming
    assert content_of(response) == CONTENT
    assert response["Content-Disposition"] == f'attachment; filename="{den.file_name}"'
    assert response["Content-Type"] == "application/zip"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in response["Cache-Control"]
    entry = entry_of("export.downloaded")
    assert (entry.actor, entry.target) == ("bob", "room:den")


async def without_right():
    await Permission.objects.filter(codename="export_room").adelete()


async def out_of_the_console():
    await User.objects.filter(username="bob").aupdate(is_staff=False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lose", [without_right, out_of_the_console])
def test_download_under_way_ends_with_the_right_to_it(clerk, make, monkeypatch, lose):
    monkeypatch.setattr(file_views, "ASKED_AFTER", file_views.BLOCK)
    response = clerk("export_room").get(page(make("room:den"), "download"))

    async def read():
        blocks = aiter(response)
        got = await anext(blocks)
        await lose()
        return got + b"".join([block async for block in blocks])

    assert async_to_sync(read)() == CONTENT[: file_views.BLOCK]


def test_export_of_somebody_of_the_console_is_for_administrators(clerk, console, make):
    kept = make("admin")
    visitor = clerk("export_room")

    assert console.get(page(kept, "download")).status_code == 200
    assert visitor.get(page(kept, "download")).status_code in (302, 404)
    assert str(kept.pk) not in text_of(visitor.get(LIST))
    assert downloads() == 1


def test_page_and_list_offer_it(console, den):
    shown = text_of(console.get(LIST))
    assert "room den" in shown
    shown = text_of(console.get(page(den)))
    assert page(den, "download") in shown
    assert page(den, "remove") in shown
    assert den.file_name in shown


def test_removal_is_a_post_and_recorded(clerk, den, home):
    visitor = clerk("export_room")
    assert visitor.get(page(den, "remove")).status_code == 405
    assert said(visitor, visitor.post(page(den, "remove"))) == [
        "The export is removed from the server."
    ]
    assert list((home / "exports").iterdir()) == []
    assert entry_of("export.removed").actor == "bob"
    assert visitor.get(page(den, "download")).status_code == 404


@pytest.mark.parametrize("right", ["view_room", "view_user", "view_export", "change_export"])
def test_nothing_of_it_is_there_without_the_right(clerk, den, home, right):
    """Not even for who made it, and may watch how it was made."""
    visitor = clerk(right)
    for path in (LIST, page(den), page(den, "download")):
        assert visitor.get(path).status_code == 404, path
    assert visitor.post(page(den, "remove")).status_code == 404
    assert exports.is_here(den)
    assert downloads() == 0
    assert "/project/export/" not in text_of(visitor.get("/console/"))
    watched = visitor.get(f"/console/pki/operation/{den.operation_id}/state/")
    assert watched.json()["leads_to"] == ""


def test_right_that_was_taken_away_opens_nothing_any_more(clerk, people, den):
    visitor = clerk("export_room")
    people.bob.user_permissions.remove(Permission.objects.get(codename="export_room"))
    assert visitor.get(page(den, "download")).status_code == 404
    assert downloads() == 0


@pytest.mark.parametrize(
    "name",
    [
        "../master.key",
        "..%2Fmaster.key",
        "%2e%2e/%2e%2e/master.key",
        "master.key",
        "{hex}.zip",
        "{hex}.zip%00",
        "/etc/passwd",
        "00000000-0000-0000-0000-000000000007",
    ],
)
def test_no_name_from_outside_reaches_the_disk(console, den, home, name):
    (home / "master.key").write_text("secret")
    (home / "exports" / "master.key").write_text("secret")
    given = name.format(hex=den.pk.hex)
    for method in (console.get, console.post):
        for last in ("download", "remove"):
            response = method(f"{LIST}{given}/{last}/", follow=True)
            assert b"secret" not in content_of(response)
            assert "Content-Disposition" not in response
    assert downloads() == 0
    assert (home / "exports" / "master.key").exists()
    assert exports.is_here(den)


def test_each_id_opens_its_own_file_alone(console, make, home):
    den, square = make("room:den"), make("room:square")
    (home / "exports" / f"{den.pk.hex}.zip").write_bytes(b"of the den")
    assert content_of(console.get(page(den, "download"))) == b"of the den"
    assert content_of(console.get(page(square, "download"))) == CONTENT
    assert said(console, console.post(page(square, "remove")))
    assert exports.is_here(den)


def test_what_is_not_whole_is_not_there(console, make):
    begun = make("room:den", is_whole=False)
    assert console.get(page(begun, "download")).status_code == 404
    assert console.post(page(begun, "remove")).status_code == 404
    assert exports.is_here(begun)


def test_one_of_another_machine_says_so(console, den, home):
    (home / "exports" / f"{den.pk.hex}.zip").unlink()
    shown = text_of(console.get(page(den)))
    assert exports.ELSEWHERE in shown
    assert page(den, "download") not in shown
    assert said(console, console.get(page(den, "download"))) == [exports.ELSEWHERE]
    assert said(console, console.post(page(den, "remove"))) == [exports.ELSEWHERE]
    assert downloads() == 0


def test_operation_leads_to_what_it_made(console, den):
    path = f"/console/pki/operation/{den.operation_id}/"
    assert f'href="{page(den)}"' in text_of(console.get(f"{path}change/"))
    watched = console.get(f"{path}state/").json()
    assert (watched["leads_to"], watched["leads_label"]) == (page(den), "To the export")
