"""What is taken out of the chat: whole or not at all, for its owner alone, and recorded."""

from __future__ import annotations

import datetime as dt
import json
import stat
import zipfile
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from chat import export, files, messages, retention, rooms
from chat.errors import BadRequestError, UnavailableError
from chat.models import Attachment, Event, Room
from pki.models import AuditEntry, User
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


def unwatched(done, total):
    pass


@pytest.fixture
def attached(cast, den, at, settings, tmp_path):
    """A message of Bob's with a file."""
    settings.SIGNET_HOME = tmp_path / "home"
    event = post(cast.bob, den, "see file", at=at).event
    made = Attachment.objects.create(
        room=event.room,
        uploader_id=cast.bob.user_id,
        message_id=event.pk,
        name="plan.txt",
        media_type="text/plain",
        size=4,
        complete=True,
    )
    place = files.path(made.pk)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"plan")
    return made


def export_room(den, out, at, *, progress=unwatched):
    room = Room.objects.get(slug=den)
    return export.export_room(actor="tests", room=room, out=out, at=at, progress=progress)


def lines(out, name):
    with zipfile.ZipFile(out) as archive:
        return [json.loads(line) for line in archive.read(name).splitlines()]


def test_room_is_exported_with_all_that_belongs_to_it(cast, den, attached, at, tmp_path):
    post(cast.alice, den, "“hello” <b>", at=at)
    out = tmp_path / "den.zip"

    done = export_room(den, out, at)

    assert done.sentence == "4 events, 1 files"
    assert lines(out, "events.jsonl") == [e.wire for e in Event.objects.order_by("seq")]
    assert lines(out, "room.json")[0]["slug"] == "den"
    assert [m["user"]["username"] for m in lines(out, "members.jsonl")] == ["alice", "bob"]
    assert {c["serial"] for c in lines(out, "certificates.jsonl")} == {
        cast.alice.serial, cast.bob.serial,
    }  # fmt: skip
    (file,) = lines(out, "files.jsonl")
    with zipfile.ZipFile(out) as archive:
        assert archive.read(file["file"]) == b"plan"
        assert archive.testzip() is None


@pytest.mark.parametrize("name", ["計" * 150 + ".pdf", 'a:b*?"<c>|.pdf'])
def test_file_has_a_name_in_the_archive_that_every_system_takes(den, attached, at, tmp_path, name):
    Attachment.objects.update(name=name)
    export_room(den, tmp_path / "den.zip", at)
    (file,) = lines(tmp_path / "den.zip", "files.jsonl")
    last = file["file"].rpartition("/")[2]
    assert file["name"] == name
    assert len(last.encode()) <= 255
    assert last.endswith(".pdf")
    assert not set('<>:"|?*') & set(last)
    with zipfile.ZipFile(tmp_path / "den.zip") as archive:
        archive.extractall(tmp_path)
    assert (tmp_path / file["file"]).read_bytes() == b"plan"


def test_person_is_exported_with_what_they_did_in_all_rooms(
    cast, den, square, attached, at, tmp_path
):
    rooms.join(actor=cast.bob, room=square, at=at)
    post(cast.alice, den, "words of alice", at=at)
    post(cast.bob, square, "words of bob", at=at)
    out = tmp_path / "bob.zip"

    export.export_person(
        actor="tests", subject=User.objects.get(username="bob"), out=out, at=at, progress=unwatched
    )

    events = lines(out, "events.jsonl")
    assert {e["data"].get("body") for e in events} == {None, "see file", "words of bob"}
    assert "words of alice" not in str(events)
    assert [r["room"] for r in lines(out, "rooms.jsonl")] == ["den", "square"]
    assert lines(out, "person.json")[0]["username"] == "bob"
    assert len(lines(out, "files.jsonl")) == 1


def test_export_is_for_its_owner_alone_and_recorded(cast, den, at, tmp_path):
    out = tmp_path / "den.zip"
    export_room(den, out, at)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    entry = AuditEntry.objects.get(action="room.exported")
    assert (entry.actor, entry.target) == ("tests", "room:den")
    assert entry.detail == {"events": 2, "files": 0, "missing": 0}


class TestWhatGoesMeanwhile:
    """Between the writing of its line and the end of the file."""

    @pytest.fixture
    def export_one(self, cast, den, at, tmp_path):
        """An export of Bob's words: of the room, or of himself."""

        def export_one(what):
            out, subject = tmp_path / "out.zip", User.objects.get(username="bob")
            wanted = {"actor": "tests", "out": out, "at": at, "progress": unwatched}
            if what == "room":
                export.export_room(room=Room.objects.get(slug=den), **wanted)
            else:
                export.export_person(subject=subject, **wanted)
            return out

        return export_one

    @pytest.fixture
    def meanwhile(self, monkeypatch):
        """Does something each time the lines of the log have been written."""

        def meanwhile(do):
            real = export._lines

            def lines(*args, **kwargs):
                yield from real(*args, **kwargs)
                do()

            monkeypatch.setattr(export, "_lines", lines)

        return meanwhile

    @pytest.mark.parametrize("what", ["room", "person"])
    def test_deleted_words_and_files_are_not_in_it(
        self, cast, den, attached, at, export_one, meanwhile, what
    ):
        message = str(attached.message_id)
        about = {"actor": cast.bob, "room": den, "at": at}
        meanwhile(lambda: messages.delete_message(**about, message=message))
        out = export_one(what)
        events = lines(out, "events.jsonl")
        assert "see file" not in str(events)
        assert next(e for e in events if e["id"] == message)["data"]["deleted"] is True
        assert lines(out, "files.jsonl") == []
        assert AuditEntry.objects.filter(action__endswith=".exported").count() == 1

    @pytest.mark.parametrize("what", ["room", "person"])
    def test_expired_words_are_not_in_it(self, cast, den, at, export_one, meanwhile, what):
        post(cast.bob, den, "old words", at=at - dt.timedelta(days=9))
        Room.objects.update(retention_days=5)
        meanwhile(lambda: retention.expire_messages(at=at))
        assert "old words" not in str(lines(export_one(what), "events.jsonl"))

    @pytest.mark.parametrize("what", ["room", "person"])
    def test_where_it_goes_on_and_on_nothing_is_left(
        self, cast, den, at, tmp_path, export_one, meanwhile, what
    ):
        mine = iter([str(post(cast.bob, den, at=at).event.pk) for _ in range(9)])
        about = {"actor": cast.bob, "room": den, "at": at}
        meanwhile(lambda: messages.delete_message(**about, message=next(mine)))
        with pytest.raises(UnavailableError, match="keep being deleted"):
            export_one(what)
        assert list(tmp_path.iterdir()) == []
        assert not AuditEntry.objects.filter(action__endswith=".exported").exists()

    def test_what_others_delete_elsewhere_does_not_matter(
        self, cast, den, square, at, export_one, meanwhile
    ):
        said = iter([str(post(cast.alice, square, at=at).event.pk) for _ in range(9)])
        about = {"actor": cast.alice, "room": square, "at": at}
        meanwhile(lambda: messages.delete_message(**about, message=next(said)))
        export_one("room")
        assert len(list(said)) == 8


def test_file_that_is_missing_is_counted(den, attached, at, tmp_path):
    files.path(attached.pk).unlink()
    done = export_room(den, tmp_path / "den.zip", at)
    assert done.sentence == "3 events, 0 files, 1 files are missing"


def test_nothing_is_overwritten(den, at, tmp_path):
    out = tmp_path / "den.zip"
    out.write_text("mine")
    with pytest.raises(BadRequestError, match="exists already"):
        export_room(den, out, at)
    assert out.read_text() == "mine"


def test_place_that_cannot_be_written_is_named(den, at, tmp_path):
    with pytest.raises(UnavailableError, match="No such file or directory"):
        export_room(den, tmp_path / "nowhere" / "den.zip", at)


def test_export_that_is_stopped_leaves_nothing_behind(den, attached, at, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        export_room(den, folder / "den.zip", at, progress=stop)
    assert list(folder.iterdir()) == []
    assert not AuditEntry.objects.filter(action="room.exported").exists()


def test_export_that_cannot_be_recorded_leaves_nothing_behind(den, at, tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError

    monkeypatch.setattr(export.audit, "record", fail)
    with pytest.raises(RuntimeError):
        export_room(den, tmp_path / "den.zip", at)
    assert list(tmp_path.iterdir()) == []


class TestCommands:
    def run(self, *arguments, **options):
        said = StringIO()
        call_command(*arguments, stdout=said, **options)
        return said.getvalue()

    def test_room_and_person(self, cast, den, at, tmp_path):
        post(cast.bob, den, at=at)
        one, two = tmp_path / "den.zip", tmp_path / "bob.zip"
        assert self.run("export_room", "den", out=str(one)) == f"{one}: 3 events, 0 files\n"
        assert self.run("export_person", "bob", out=str(two)).startswith(f"{two}: ")
        assert zipfile.is_zipfile(two)

    def test_refusals_are_one_sentence(self, den, tmp_path):
        with pytest.raises(CommandError, match="There is no room 'nowhere'"):
            self.run("export_room", "nowhere", out=str(tmp_path / "x.zip"))
        with pytest.raises(CommandError, match="exists already"):
            self.run("export_room", "den", out=str(tmp_path))

    def test_messages_expire(self, cast, den, at):
        post(cast.bob, den, at=at - dt.timedelta(days=9))
        Room.objects.update(retention_days=5)
        assert self.run("expire_messages") == "1 messages have expired\n"
