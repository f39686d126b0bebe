"""Files over HTTP, through all middleware: pieces, CSRF, what a browser may make of an answer."""

from __future__ import annotations

import io
import json
import uuid

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from PIL import Image

from chat import attachments, file_views, files, messages, rooms
from chat.errors import StorageFullError
from chat.models import Attachment, Message
from tests.chat.verbs import post
from tests.client import Visitor
from tests.factories import make_device

pytestmark = pytest.mark.django_db
ORIGIN = "https://testserver"
HELLO = b"hello world"


class Uploader(Visitor):
    """As the page does it: the token once, and then with every request that changes something."""

    def __init__(self, chain):
        super().__init__(chain)
        self.client.handler.enforce_csrf_checks = True
        self.token = ""

    def ask(self, method, path, data=b"", *, origin=ORIGIN, **headers):
        call = async_to_sync(getattr(self.client, method))
        kind = "application/json" if method == "post" else "application/octet-stream"
        headers = {"origin": origin, "x-csrftoken": self.token, **headers}
        return call(path, data=data, content_type=kind, secure=True, headers=headers)

    def allowance(self, room):
        told = self.get(f"/rooms/{room}/files/").json()
        self.token = told.get("csrf", "")
        return told

    def begin(self, room, **fields):
        wish = {"name": "a.txt", "size": len(HELLO), "type": "text/plain"} | fields
        return self.ask("post", f"/rooms/{room}/files/", json.dumps(wish))

    def put(self, room, key, data, offset=0, **headers):
        return self.ask("put", f"/rooms/{room}/files/{key}/?offset={offset}", data, **headers)

    def upload(self, room, data=HELLO, **fields):
        key = self.begin(room, size=len(data), **fields).json()["id"]
        return self.put(room, key, data).json()["attachment"]


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    return tmp_path


@pytest.fixture
def bob(pki, people, den):
    uploader = Uploader(make_device(people.bob, pki.issuing).chain)
    uploader.allowance(den)
    return uploader


@pytest.fixture
def alice(pki, people):
    return Uploader(make_device(people.alice, pki.issuing, device="phone").chain)


@pytest.fixture
def charlie(pki, people):
    return Uploader(make_device(people.charlie, pki.issuing, device="phone").chain)


def uploaded(actor, room, data, *, at):
    """A whole file, in one piece however large."""
    begun = attachments.begin(
        actor=actor, room=room, name="a", size=len(data), media_type="", at=at
    )
    attachments.receive(actor=actor, room=room, upload=begun.pk, offset=0, data=data)
    return begun.pk


def content(response):
    async def read():
        return b"".join([block async for block in response])

    assert response.is_async
    return async_to_sync(read)()


def png():
    into = io.BytesIO()
    Image.new("RGB", (1000, 500)).save(into, "PNG")
    return into.getvalue()


class TestUploading:
    def test_limits_are_told_before(self, bob, den, settings):
        told = bob.allowance(den)
        assert told.pop("csrf")
        assert told == {
            "file_bytes": 25 * 1024**2,
            "quota_bytes": 1024**3,
            "used_bytes": 0,
            "per_message": 10,
            "chunk_bytes": settings.SIGNET_BODY_BYTES,
        }

    def test_file_comes_in_pieces(self, bob, den):
        begun = bob.begin(den)
        assert begun.status_code == 201
        key = begun.json()["id"]
        assert begun.json() == {"id": key, "received": 0, "chunk_bytes": 256 * 1024}
        assert bob.put(den, key, HELLO[:5]).json() == {"received": 5}
        assert bob.put(den, key, HELLO[5:], 5).json() == {
            "received": 11,
            "attachment": {"id": key, "name": "a.txt", "size": 11, "type": "text/plain"},
        }
        assert files.path(uuid.UUID(key)).read_bytes() == HELLO

    def test_piece_from_elsewhere_is_told_where_it_goes_on(self, bob, den):
        key = bob.begin(den).json()["id"]
        bob.put(den, key, HELLO[:5])
        answer = bob.put(den, key, HELLO[7:], 7)
        assert (answer.status_code, answer.json()["received"]) == (409, 5)

    def test_upload_is_cancelled(self, bob, den):
        key = bob.begin(den).json()["id"]
        assert bob.ask("delete", f"/rooms/{den}/files/{key}/").status_code == 204
        assert bob.ask("delete", f"/rooms/{den}/files/{key}/").status_code == 404
        assert not Attachment.objects.exists()

    @pytest.mark.parametrize(
        "wish",
        [
            b"",
            b"[]",
            b'{"name": "a", "size": 1}',
            b'{"name": "a", "size": 1, "type": "", "room": "den"}',
            b'{"name": 1, "size": 1, "type": ""}',
            b'{"name": "a", "size": "1", "type": ""}',
            b'{"name": "a", "size": -1, "type": ""}',
            b'{"name": "a", "size": 1, "type": []}',
            b'{"name": "\\ud800", "size": 1, "type": ""}',
        ],
    )
    def test_wish_that_cannot_be_read(self, bob, den, wish):
        answer = bob.ask("post", f"/rooms/{den}/files/", wish)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("offset", ["", "-1", "x", "²", "1" * 30])
    def test_offset_that_cannot_be_read(self, bob, den, offset):
        key = bob.begin(den).json()["id"]
        assert bob.put(den, key, HELLO, offset).status_code == 400

    def test_piece_must_be_as_long_as_it_says(self, bob, cast, den, rf):
        key = bob.begin(den).json()["id"]
        request = rf.put("/?offset=0", HELLO)
        assert request.body == HELLO
        request.META["CONTENT_LENGTH"], request.identity = "12", cast.bob
        assert file_views.upload(request, den, key).status_code == 400
        assert Attachment.objects.get().received == 0

    def test_piece_has_a_limit(self, bob, den, settings):
        key = bob.begin(den).json()["id"]
        settings.SIGNET_BODY_BYTES = 10
        assert bob.put(den, key, HELLO).status_code == 400
        assert Attachment.objects.get().received == 0

    def test_refusals_have_their_status(self, bob, den, settings, monkeypatch):
        settings.SIGNET_UPLOAD_BYTES = 5
        refused = bob.begin(den)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
        assert bob.begin("nowhere").status_code == 404
        key = bob.begin(den, size=5).json()["id"]

        def refuse(*_, **__):
            raise StorageFullError

        monkeypatch.setattr(files, "write", refuse)
        assert bob.put(den, key, b"hello").status_code == 507

    def test_no_certificate_no_upload(self, bob, den):
        nobody = Uploader(())
        assert "file_bytes" not in nobody.get(f"/rooms/{den}/files/").content.decode()
        assert nobody.begin(den).status_code in (400, 401, 403, 404)
        assert not Attachment.objects.exists()


class TestOtherSites:
    """A certificate goes with every request, whoever's page makes it."""

    def test_page_of_another_origin_changes_nothing(self, bob, den):
        key = bob.begin(den).json()["id"]
        for origin in ("https://elsewhere.example", "null"):
            wish = b'{"name": "a", "size": 1, "type": ""}'
            answers = [
                bob.ask("post", f"/rooms/{den}/files/", wish, origin=origin),
                bob.ask("put", f"/rooms/{den}/files/{key}/?offset=0", HELLO, origin=origin),
                bob.ask("delete", f"/rooms/{den}/files/{key}/", origin=origin),
            ]
            assert [answer.status_code for answer in answers] == [400] * 3
        assert Attachment.objects.get().received == 0

    def test_token_is_needed(self, bob, den):
        key, bob.token = bob.begin(den).json()["id"], ""
        assert bob.begin(den).status_code == 400
        assert bob.put(den, key, HELLO).status_code == 400
        assert bob.ask("delete", f"/rooms/{den}/files/{key}/").status_code == 400
        assert Attachment.objects.get().received == 0


class TestDownloading:
    @pytest.mark.parametrize(
        ("name", "disposition"),
        [
            ("a.txt", 'attachment; filename="a.txt"'),
            ('a"b.txt', 'attachment; filename="a\\"b.txt"'),
            ("Ärger.txt", "attachment; filename*=utf-8''%C3%84rger.txt"),
            ("evil\r\nSet-Cookie: a=b", 'attachment; filename="evilSet-Cookie: a=b"'),
        ],
    )
    def test_file_is_saved_under_its_name(self, bob, den, name, disposition):
        key = bob.upload(den, name=name)["id"]
        answer = bob.get(f"/rooms/{den}/files/{key}/whatever")
        assert content(answer) == HELLO
        assert answer["Content-Disposition"] == disposition

    @pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "image/png"])
    def test_no_browser_runs_or_shows_it(self, bob, den, kind):
        key = bob.upload(den, b"<script>alert(1)</script>", type=kind)["id"]
        answer = bob.get(f"/rooms/{den}/files/{key}/a.html")
        content(answer)
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer["Cache-Control"] == "private, no-store"
        assert bob.get(f"/rooms/{den}/files/{key}/thumbnail").status_code == 404

    def test_picture_has_a_thumbnail(self, bob, den):
        told = bob.upload(den, png(), name="a.png")
        assert told["thumbnail"]
        shown = bob.get(f"/rooms/{den}/files/{told['id']}/thumbnail")
        assert Image.open(io.BytesIO(content(shown))).size == (told["width"], told["height"])
        assert shown["Content-Type"] == "image/webp"
        assert shown["Cache-Control"] == "private, no-store"
        whole = bob.get(f"/rooms/{den}/files/{told['id']}/a.png")
        assert content(whole) == png()
        assert whole["Content-Disposition"].startswith("attachment")

    def test_large_file_comes_whole(self, bob, den):
        data = bytes(range(256)) * 1000
        key = bob.upload(den, data)["id"]
        answer = bob.get(f"/rooms/{den}/files/{key}/a")
        assert content(answer) == data
        assert answer["Content-Length"] == str(len(data))

    @pytest.mark.parametrize(
        ("asked", "status", "part", "said"),
        [
            ("bytes=0-4", 206, b"hello", "bytes 0-4/11"),
            ("bytes=6-", 206, b"world", "bytes 6-10/11"),
            ("bytes=-3", 206, b"rld", "bytes 8-10/11"),
            ("bytes=-99", 206, HELLO, "bytes 0-10/11"),
            ("bytes=6-99", 206, b"world", "bytes 6-10/11"),
            ("bytes=4-2", 200, HELLO, None),
            ("bytes=0-1,3-4", 200, HELLO, None),
            ("bytes=-", 200, HELLO, None),
            ("lines=1-2", 200, HELLO, None),
        ],
    )
    def test_range(self, bob, den, asked, status, part, said):
        key = bob.upload(den)["id"]
        answer = bob.get(f"/rooms/{den}/files/{key}/a", headers={"range": asked})
        assert (answer.status_code, content(answer)) == (status, part)
        assert (answer.get("Content-Range"), answer["Content-Length"]) == (said, str(len(part)))

    @pytest.mark.parametrize("asked", ["bytes=11-", "bytes=-0"])
    def test_range_that_is_not_there(self, bob, den, asked):
        key = bob.upload(den)["id"]
        answer = bob.get(f"/rooms/{den}/files/{key}/a", headers={"range": asked})
        assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */11")

    def test_head_tells_the_size_alone(self, bob, den):
        key = bob.upload(den)["id"]
        answer = async_to_sync(bob.client.head)(f"/rooms/{den}/files/{key}/a", secure=True)
        assert (answer.content, answer["Content-Length"]) == (b"", "11")


class TestSeeing:
    def test_members_see_what_was_posted_and_while_they_are_members(
        self, bob, alice, cast, den, at
    ):
        key = bob.upload(den, png(), name="a.png")["id"]
        places = [f"/rooms/{den}/files/{key}/{last}" for last in ("a.png", "thumbnail")]
        assert [alice.get(place).status_code for place in places] == [404, 404]
        message = Message.objects.get(pk=post(cast.bob, den, at=at).event.pk)
        attachments.claim(actor=cast.bob, ids=[key], message=message)
        assert [alice.get(place).status_code for place in places] == [200, 200]
        assert [bob.get(place).status_code for place in places] == [200, 200]
        rooms.leave(actor=cast.bob, room=den, at=at)
        assert [bob.get(place).status_code for place in places] == [404, 404]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("end", ["leaves", "is deleted", "is disabled"])
    def test_download_that_is_under_way_ends_with_the_right_to_it(
        self, bob, cast, den, people, at, end
    ):
        data = bytes(3 * file_views.ASKED_AFTER)
        key = str(uploaded(cast.bob, den, data, at=at))
        message = post(cast.bob, den, attachments=[key], at=at).event
        answer = bob.get(f"/rooms/{den}/files/{key}/a")

        async def read():
            blocks = aiter(answer)
            got = len(await anext(blocks))
            if end == "leaves":
                await sync_to_async(rooms.leave)(actor=cast.bob, room=den, at=at)
            elif end == "is disabled":
                people.bob.is_active = False
                await people.bob.asave()
            else:
                about = {"actor": cast.bob, "room": den, "message": str(message.pk)}
                await sync_to_async(messages.delete_message)(**about, at=at)
            return got + sum([len(block) async for block in blocks])

        assert async_to_sync(read)() == file_views.ASKED_AFTER

    def test_unknown_and_forbidden_look_alike(self, bob, charlie, cast, den, at):
        key = bob.upload(den)["id"]
        message = Message.objects.get(pk=post(cast.bob, den, at=at).event.pk)
        attachments.claim(actor=cast.bob, ids=[key], message=message)
        pages = {
            charlie.get(f"/rooms/{room}/files/{one}/a").content
            for room, one in ((den, key), (den, uuid.uuid4()), ("nowhere", key))
        }
        assert len(pages) == 1
        assert charlie.get(f"/rooms/{den}/files/{key}/a").status_code == 404
        hidden, missing = (charlie.get(f"/rooms/{room}/files/") for room in (den, "nowhere"))
        assert (hidden.status_code, hidden.content) == (404, missing.content)

    def test_file_that_goes_at_this_moment_is_not_found(self, bob, den):
        key = bob.upload(den)["id"]
        files.remove(uuid.UUID(key))
        assert bob.get(f"/rooms/{den}/files/{key}/a").status_code == 404
