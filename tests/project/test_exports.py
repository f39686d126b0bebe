"""Exports of the console: kept by their row, on one machine, for a week."""

from __future__ import annotations

import datetime as dt
import os
import stat
import zipfile

import pytest

from chat import export, rooms
from chat.errors import UnavailableError
from chat.models import Room
from pki.errors import StateError
from pki.models import AuditEntry, Operation
from project import exports
from project.models import Export
from tests.factories import make_identity
from tests.operations import finished

pytestmark = pytest.mark.django_db(transaction=True)

WEEK = dt.timedelta(days=7)


@pytest.fixture
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    return tmp_path


@pytest.fixture
def den(pki, people, at, home):
    alice = make_identity(people.alice, pki.issuing)
    rooms.create_room(actor=alice, room="den", name="Den", kind="private", at=at)
    return Room.objects.get()


@pytest.fixture
def made(den, at):
    finished(exports.begin_room(actor="admin", room=den, at=at))
    return Export.objects.get()


def files(home):
    return sorted((home / "exports").iterdir())


def actions():
    entries = AuditEntry.objects.filter(action__startswith="export.").order_by("sequence")
    return [(entry.action, entry.actor, entry.target) for entry in entries]


def test_room_lies_by_a_drawn_name_for_the_server_alone(made, home):
    (file,) = files(home)
    assert file.name == f"{made.pk.hex}.zip"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert made.size == file.stat().st_size
    assert made.file_name.startswith("den-20")
    assert zipfile.is_zipfile(file)


def test_person(people, home, at):
    done = finished(exports.begin_person(actor="admin", subject=people.bob, at=at))
    made = Export.objects.get()
    assert (made.subject, made.operation, done.title) == ("bob", done, "Export of a person")
    with zipfile.ZipFile(files(home)[0]) as archive:
        assert "person.json" in archive.namelist()


def test_one_that_fails_leaves_nothing(den, home, at, monkeypatch):
    def fail(**_):
        raise UnavailableError("The disk is full.")

    monkeypatch.setattr(export, "export_room", fail)
    done = finished(exports.begin_room(actor="admin", room=den, at=at))
    assert (done.state, done.outcome) == (Operation.State.FAILED, "The disk is full.")
    assert not Export.objects.exists()
    assert files(home) == []


def test_one_that_is_not_whole_is_not_listed(home, at):
    Export.objects.create(subject="bob", made_by="admin", at=at)
    assert not exports.finished().exists()


def test_download_is_recorded(made, home, at):
    with exports.read(actor="bob", kept=made, at=at) as file:
        assert file.read() == files(home)[0].read_bytes()
    assert actions() == [("export.downloaded", "bob", "room:den")]
    assert AuditEntry.objects.get(action="export.downloaded").detail == {
        "export": str(made.pk),
        "bytes": made.size,
    }


def test_removal_is_recorded_and_done_once(made, home, at):
    exports.remove(actor="bob", kept=made, at=at)
    assert files(home) == []
    assert actions() == [("export.removed", "bob", "room:den")]
    with pytest.raises(StateError, match="removed already"):
        exports.remove(actor="bob", kept=made, at=at)


def test_one_of_another_machine_is_neither_read_nor_removed(made, home, at):
    files(home)[0].unlink()
    with pytest.raises(StateError, match="not on this machine"):
        exports.read(actor="bob", kept=made, at=at)
    with pytest.raises(StateError, match="not on this machine"):
        exports.remove(actor="bob", kept=made, at=at)
    assert exports.finished().get() == made
    assert actions() == []


def test_after_a_week_it_goes_from_list_and_disk(made, home, at):
    (file,) = files(home)
    os.utime(file, (at.timestamp(), at.timestamp()))
    assert exports.prune(at=at + WEEK) == 0
    assert (exports.finished().count(), files(home)) == (1, [file])

    assert exports.prune(at=at + WEEK + dt.timedelta(seconds=1)) == 1
    assert (exports.finished().count(), files(home)) == (0, [])
    assert actions() == [("export.removed", "upkeep", "room:den")]


def test_files_without_a_row_go_too(home, at):
    assert exports.prune(at=at) == 0
    folder = home / "exports"
    folder.mkdir()
    for name, age in ((".killed.zip.part", 8), ("young.zip", 6)):
        (folder / name).write_bytes(b"x")
        moment = (at - dt.timedelta(days=age)).timestamp()
        os.utime(folder / name, (moment, moment))
    assert exports.prune(at=at) == 1
    assert [file.name for file in files(home)] == ["young.zip"]
