"""The verbs of attachments: who may upload, see and remove what, and what remains of it on disk."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import sys
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image

from chat import attachments, files, rooms
from chat.errors import (
    BadRequestError,
    HarmfulFileError,
    NotAllowedError,
    NotFoundError,
    OffsetError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
)
from chat.models import Attachment, Membership, Message, Room
from tests.chat.verbs import at_once, post

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    return tmp_path


@pytest.fixture
def commit(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


def begin(actor, room, at, *, name="a.txt", size=5, media_type="text/plain"):
    return attachments.begin(
        actor=actor, room=room, name=name, size=size, media_type=media_type, at=at
    )


def receive(actor, room, upload, data, offset=0):
    return attachments.receive(actor=actor, room=room, upload=upload.pk, offset=offset, data=data)


def uploaded(actor, room, at, data=b"hello", **fields):
    upload = begin(actor, room, at, size=len(data), **fields)
    return receive(actor, room, upload, data)


def posted(actor, room, at, *uploads):
    message = Message.objects.get(pk=post(actor, room, at=at).event.pk)
    ids = [str(upload.pk) for upload in uploads]
    attachments.claim(actor=actor, ids=ids, message=message)
    return message


def find(actor, room, upload):
    return attachments.find(actor=actor, room=room, file=upload.pk)


def on_disk(home):
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def picture():
    into = io.BytesIO()
    Image.new("RGB", (1000, 500)).save(into, "PNG")
    return into.getvalue()


class TestUploading:
    def test_pieces_become_a_file(self, cast, den, at, home):
        upload = begin(cast.bob, den, at, size=11)
        assert receive(cast.bob, den, upload, b"hello ").received == 6
        assert on_disk(home) == [f"{upload.pk.hex}.part"]
        whole = receive(cast.bob, den, upload, b"world", offset=6)

        assert whole.complete
        assert attachments.wire(whole) == {
            "id": str(upload.pk),
            "name": "a.txt",
            "size": 11,
            "type": "text/plain",
        }
        assert whole.sha256 == hashlib.sha256(b"hello world").hexdigest()
        assert files.path(upload.pk).read_bytes() == b"hello world"
        assert on_disk(home) == [upload.pk.hex]

    def test_picture_is_known_by_what_is_in_it(self, cast, den, at):
        whole = uploaded(cast.bob, den, at, picture(), name="a.txt", media_type="text/plain")
        told = attachments.wire(whole)
        assert told["type"] == "image/png"
        assert (told["width"], told["height"], told["thumbnail"]) == (640, 320, True)
        assert files.path(whole.pk, files.THUMBNAIL).read_bytes()[:4] == b"RIFF"

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ("image/png", "application/octet-stream"),
            ("image/svg+xml", "image/svg+xml"),
            ("TEXT/HTML; charset=utf-8", "text/html"),
            ("", "application/octet-stream"),
            ("text/plain\r\nX: y", "application/octet-stream"),
        ],
    )
    def test_type_is_what_is_said_unless_it_would_be_believed(self, cast, den, at, said, kept):
        assert uploaded(cast.bob, den, at, media_type=said).media_type == kept

    def test_piece_twice_changes_nothing(self, cast, den, at):
        upload = begin(cast.bob, den, at, size=6)
        receive(cast.bob, den, upload, b"abc")
        assert receive(cast.bob, den, upload, b"abc").received == 3
        receive(cast.bob, den, upload, b"def", offset=3)
        assert receive(cast.bob, den, upload, b"XXX", offset=3).complete
        assert files.path(upload.pk).read_bytes() == b"abcdef"

    def test_row_is_locked_while_bytes_are_written(self, cast, den, at, monkeypatch):
        upload = begin(cast.bob, den, at)
        write, before = files.write, []

        def look(*piece, **at_offset):
            before.extend(query["sql"] for query in queries)
            write(*piece, **at_offset)

        monkeypatch.setattr(files, "write", look)
        with CaptureQueriesContext(connection) as queries:
            receive(cast.bob, den, upload, b"hello")
        assert before
        if connection.features.has_select_for_update:  # elsewhere every transaction locks all
            assert "FOR UPDATE" in before[-1]

    def test_piece_from_elsewhere_is_told_where_it_goes_on(self, cast, den, at):
        upload = begin(cast.bob, den, at, size=9)
        receive(cast.bob, den, upload, b"abc")
        for offset in (2, 4, 9 - 3):
            with pytest.raises(OffsetError) as caught:
                receive(cast.bob, den, upload, b"abc", offset=offset)
            assert caught.value.received == 3

    def test_piece_beyond_the_size_is_refused(self, cast, den, at):
        upload = begin(cast.bob, den, at, size=5)
        with pytest.raises(TooLargeError, match="more than the size"):
            receive(cast.bob, den, upload, b"hello!")
        assert receive(cast.bob, den, upload, b"hello").complete

    def test_upload_is_its_uploaders_alone_and_of_its_room(self, cast, den, square, at):
        upload = begin(cast.bob, den, at)
        for actor, room in ((cast.alice, den), (cast.charlie, den), (cast.alice, square)):
            for deed in (
                lambda a=actor, r=room: receive(a, r, upload, b"hello"),
                lambda a=actor, r=room: attachments.cancel(actor=a, room=r, upload=upload.pk),
            ):
                with pytest.raises(NotFoundError):
                    deed()
        assert receive(cast.bob, den, upload, b"hello").complete

    def test_who_has_left_uploads_no_more(self, cast, den, at):
        upload = begin(cast.bob, den, at)
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            receive(cast.bob, den, upload, b"hello")

    def test_cancelled_upload_is_gone(self, cast, den, at, home, commit):
        upload, whole = begin(cast.bob, den, at), uploaded(cast.bob, den, at, picture())
        receive(cast.bob, den, upload, b"he")
        for one in (upload, whole):
            with commit():
                attachments.cancel(actor=cast.bob, room=den, upload=one.pk)
            with pytest.raises(NotFoundError):
                receive(cast.bob, den, upload, b"hello")
        assert on_disk(home) == []

    def test_upload_that_was_cancelled_while_it_was_checked_leaves_nothing(
        self, cast, den, at, home, monkeypatch
    ):
        upload = begin(cast.bob, den, at)
        monkeypatch.setattr(
            attachments.scanning, "check", lambda _: Attachment.objects.all().delete()
        )
        with pytest.raises(NotFoundError):
            receive(cast.bob, den, upload, b"hello")
        assert on_disk(home) == []


class TestRefusing:
    def test_room_must_be_open_to_their_words(self, cast, den, square, at):
        with pytest.raises(NotFoundError, match="no such room"):
            begin(cast.charlie, den, at)
        with pytest.raises(NotAllowedError, match="Join"):
            begin(cast.bob, square, at)
        Room.objects.update(archived_at=at)
        with pytest.raises(NotAllowedError, match="may not write"):
            begin(cast.bob, den, at)
        assert not Attachment.objects.exists()

    def test_only_moderators_attach_where_only_they_write(self, cast, den, at):
        Room.objects.update(posting=Room.Posting.MODERATORS)
        begin(cast.alice, den, at)
        with pytest.raises(NotAllowedError):
            begin(cast.bob, den, at)

    def test_size_is_looked_at_before_any_byte(self, cast, den, at, settings):
        settings.SIGNET_UPLOAD_BYTES = 2 * 1024**2
        begin(cast.bob, den, at, size=2 * 1024**2)
        with pytest.raises(TooLargeError, match=r"at most 2\.0\xa0MB"):
            begin(cast.bob, den, at, size=2 * 1024**2 + 1)
        with pytest.raises(BadRequestError, match="empty"):
            begin(cast.bob, den, at, size=0)

    def test_share_of_a_person_counts_all_their_files(self, cast, den, at, settings, commit):
        settings.SIGNET_UPLOAD_QUOTA = 10
        message = posted(cast.bob, den, at, uploaded(cast.bob, den, at))
        begin(cast.bob, den, at, size=5)
        with pytest.raises(TooLargeError, match="10\xa0bytes of the 10\xa0bytes"):
            begin(cast.bob, den, at, size=1)
        begin(cast.alice, den, at, size=10)
        attachments.discard(message)
        begin(cast.bob, den, at, size=5)

    def test_files_that_nobody_posts_are_bounded(self, cast, den, at, monkeypatch):
        monkeypatch.setattr(attachments, "UNPOSTED", 1)
        posted(cast.bob, den, at, uploaded(cast.bob, den, at))
        begin(cast.bob, den, at)
        with pytest.raises(NotAllowedError, match="Post some"):
            begin(cast.bob, den, at)

    @pytest.mark.parametrize(("status", "error"), [(1, HarmfulFileError), (2, UnavailableError)])
    def test_file_that_is_not_clean_is_gone(
        self, cast, den, at, home, settings, commit, status, error
    ):
        settings.SIGNET_SCAN_COMMAND = [sys.executable, "-c", f"raise SystemExit({status})"]
        with commit(), pytest.raises(error):
            uploaded(cast.bob, den, at)
        assert not Attachment.objects.exists()
        assert on_disk(home) == []

    def test_full_disk_leaves_nothing_half(self, cast, den, at, home, monkeypatch, commit):
        upload = begin(cast.bob, den, at)
        receive(cast.bob, den, upload, b"he")

        def refuse(*_, **__):
            raise StorageFullError

        monkeypatch.setattr(files, "write", refuse)
        with commit(), pytest.raises(StorageFullError):
            receive(cast.bob, den, upload, b"llo", offset=2)
        assert not Attachment.objects.exists()
        assert on_disk(home) == []

    def test_directory_that_cannot_be_written_is_unavailable(self, cast, den, at, home):
        (home / "uploads").write_text("in the way")
        with pytest.raises(UnavailableError, match="cannot be stored"):
            uploaded(cast.bob, den, at)

    def test_repeat_of_the_last_piece_finds_the_file_that_the_first_finished(
        self, cast, den, at, monkeypatch
    ):
        """The answer was late, the client asked again, and the first one renamed the file."""
        upload = begin(cast.bob, den, at)

        def overtaken(_):
            files.keep(upload.pk)
            Attachment.objects.update(complete=True)
            raise UnavailableError

        monkeypatch.setattr(attachments.scanning, "check", overtaken)
        assert receive(cast.bob, den, upload, b"hello").complete
        assert files.path(upload.pk).exists()


class TestSeeing:
    def test_unposted_file_is_seen_by_its_uploader_alone(self, cast, den, at):
        upload = uploaded(cast.bob, den, at)
        assert find(cast.bob, den, upload) == upload
        with pytest.raises(NotFoundError, match="no such file"):
            find(cast.alice, den, upload)

    def test_posted_file_is_seen_by_members_while_they_are_in_the_room(self, cast, den, at):
        upload = uploaded(cast.alice, den, at)
        posted(cast.alice, den, at, upload)
        assert find(cast.bob, den, upload) == upload
        rooms.leave(actor=cast.bob, room=den, at=at)
        with pytest.raises(NotFoundError):
            find(cast.bob, den, upload)

    def test_unknown_and_forbidden_look_alike(self, cast, den, square, at):
        upload = uploaded(cast.alice, square, at)
        posted(cast.alice, square, at, upload)
        missing = Attachment(pk=uuid.uuid4())
        for actor, room, one in (
            (cast.bob, square, upload),  # may join it, but has not
            (cast.charlie, den, upload),
            (cast.alice, den, upload),
            (cast.alice, "nowhere", upload),
            (cast.alice, square, missing),
        ):
            with pytest.raises(NotFoundError) as caught:
                find(actor, room, one)
            assert str(caught.value) == "There is no such file."

    def test_what_is_still_coming_is_not_there(self, cast, den, at):
        upload = begin(cast.bob, den, at)
        receive(cast.bob, den, upload, b"he")
        with pytest.raises(NotFoundError):
            find(cast.bob, den, upload)

    @pytest.mark.parametrize("field", ["deleted_at", "expired_at"])
    def test_files_of_what_is_not_there_any_more_are_not_there(self, cast, den, at, field):
        upload = uploaded(cast.bob, den, at)
        posted(cast.bob, den, at, upload)
        Message.objects.update(**{field: at})
        with pytest.raises(NotFoundError):
            find(cast.bob, den, upload)


class TestPosting:
    def test_files_go_with_the_message_in_the_order_of_the_ids(self, cast, den, at):
        first, second = uploaded(cast.bob, den, at), uploaded(cast.bob, den, at)
        message = Message.objects.get(pk=post(cast.bob, den, at=at).event.pk)
        ids = [str(second.pk), str(first.pk)]
        told = attachments.offered(actor=cast.bob, room=message.room, ids=ids)
        attachments.claim(actor=cast.bob, ids=ids, message=message)
        assert [one["id"] for one in told] == ids
        assert message.attachments.count() == 2

    def test_only_whole_unposted_files_of_ones_own_in_this_room(self, cast, den, square, at):
        room = Room.objects.get(slug=den)
        taken = uploaded(cast.bob, den, at)
        posted(cast.bob, den, at, taken)
        Membership.objects.create(room=Room.objects.get(slug=square), user_id=cast.bob.user_id)
        for upload in (
            taken,
            begin(cast.bob, den, at),
            uploaded(cast.alice, den, at),
            uploaded(cast.bob, square, at),
        ):
            with pytest.raises(NotFoundError, match="Attach it again"):
                attachments.offered(actor=cast.bob, room=room, ids=[str(upload.pk)])

    def test_file_that_went_since_it_was_offered_is_not_claimed(self, cast, den, at):
        upload = uploaded(cast.bob, den, at)
        message = Message.objects.get(pk=post(cast.bob, den, at=at).event.pk)
        ids = [str(upload.pk)]
        attachments.offered(actor=cast.bob, room=message.room, ids=ids)
        Attachment.objects.all().delete()
        with pytest.raises(NotFoundError, match="Attach it again"):
            attachments.claim(actor=cast.bob, ids=ids, message=message)

    def test_files_of_a_message_are_bounded(self, cast, den, at):
        ids = [str(uuid.uuid4()) for _ in range(11)]
        with pytest.raises(BadRequestError, match="at most 10"):
            attachments.offered(actor=cast.bob, room=Room.objects.get(slug=den), ids=ids)

    def test_posted_file_cannot_be_cancelled_but_goes_with_its_message(
        self, cast, den, at, home, commit
    ):
        upload = uploaded(cast.bob, den, at, picture())
        message = posted(cast.bob, den, at, upload)
        with pytest.raises(NotFoundError):
            attachments.cancel(actor=cast.bob, room=den, upload=upload.pk)
        assert len(on_disk(home)) == 2
        with commit():
            attachments.discard(message)
            assert len(on_disk(home)) == 2
        assert on_disk(home) == []
        assert not Attachment.objects.exists()


class TestSweeping:
    def test_what_nobody_finished_or_posted_goes_after_an_hour(self, cast, den, at, home, commit):
        kept = uploaded(cast.bob, den, at)
        posted(cast.bob, den, at, kept)
        uploaded(cast.bob, den, at, picture())
        receive(cast.bob, den, begin(cast.bob, den, at), b"he")
        with commit():
            assert attachments.sweep(at + HOUR) == 0
        with commit():
            assert attachments.sweep(at + HOUR + MINUTE) == 2
        assert on_disk(home) == [kept.pk.hex]

    def test_bytes_without_a_row_go_in_their_turn(self, cast, den, at, home):
        kept = uploaded(cast.bob, den, at)
        posted(cast.bob, den, at, kept)
        stray = uuid.uuid4()
        files.write(stray, b"x", offset=0)
        for minute in range(61, 61 + files.DIRECTORIES):
            attachments.sweep(at + minute * MINUTE)
        assert on_disk(home) == [kept.pk.hex]

    def test_fresh_bytes_are_left_alone(self, cast, den, at, home):
        uploaded(cast.bob, den, at)
        stray = uuid.uuid4()
        files.write(stray, b"x", offset=0)
        assert attachments.remove_strays(stray.bytes[0], before=at - HOUR) == 0

    def test_empty_database_empties_no_disk(self, at, home):
        stray = uuid.uuid4()
        files.write(stray, b"x", offset=0)
        assert attachments.remove_strays(stray.bytes[0], before=at + HOUR) == 0
        assert on_disk(home) == [f"{stray.hex}.part"]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\bob\\photo.jpg", "photo.jpg"),
        ("/", "file"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("a\x00b\r\nc.txt", "abc.txt"),
        ("cod\u202etxt.exe", "codtxt.exe"),
        ("a\u200b\u2800b", "ab"),
        ("thumbnail", "_thumbnail"),
        ("Ärger 🎉.txt", "Ärger 🎉.txt"),
        ("x" * 300 + ".txt", "x" * 146 + ".txt"),
        ("x." + "y" * 300, "x." + "y" * 148),
        ("trailing. .", "trailing"),
    ],
)
def test_name_is_made_fit_to_be_shown_and_saved(name, clean):
    assert attachments.clean_name(name) == clean


@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    def test_two_uploads_do_not_both_take_what_is_left(self, cast, den, at, settings):
        settings.SIGNET_UPLOAD_QUOTA = 9
        results = at_once(*[lambda: begin(cast.bob, den, at, size=5)] * 4)
        assert sum(isinstance(result, TooLargeError) for result in results) == 3

    def test_copies_of_the_last_piece_make_one_whole_file(self, cast, den, at, home):
        upload = begin(cast.bob, den, at)
        results = at_once(*[lambda: receive(cast.bob, den, upload, b"hello")] * 4)
        assert all(result.complete for result in results), results
        assert files.path(upload.pk).read_bytes() == b"hello"
        assert on_disk(home) == [upload.pk.hex]

    def test_file_is_posted_or_swept_but_not_both(self, cast, den, at, home):
        upload = uploaded(cast.bob, den, at - 2 * HOUR)
        message, swept = at_once(
            lambda: posted(cast.bob, den, at, upload), lambda: attachments.sweep(at)
        )
        is_posted = isinstance(message, Message)
        assert is_posted == (swept == 0)
        assert bool(on_disk(home)) == is_posted

    def test_nobody_waits_for_the_connection_of_who_waits_for_the_scanner(
        self, cast, den, at, monkeypatch
    ):
        seen = []
        monkeypatch.setattr(
            attachments.scanning, "check", lambda _: seen.append(connection.connection)
        )
        assert uploaded(cast.bob, den, at).complete
        assert seen == [None]
