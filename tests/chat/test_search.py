"""Finding messages: alike on SQLite and PostgreSQL, and never those of rooms one is not in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chat import log, messages, retention, rooms, search
from chat.errors import BadRequestError, NotAllowedError, NotFoundError
from chat.models import Attachment, Event, Message, Room
from chat.search_query import Term
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


@pytest.fixture
def find(cast, at):
    """The texts that Bob, or somebody else, finds; newest first."""

    def found(query, *, actor=cast.bob, **where):
        hits = search.search(actor=actor, query=query, at=at, **where)["hits"]
        return [hit["event"]["data"]["body"] for hit in hits]

    return found


def say(actor, room, *bodies, at):
    return [
        str(post(actor, room, body, at=at + dt.timedelta(seconds=n)).event.pk)
        for n, body in enumerate(bodies)
    ]


def test_words_are_all_there_newest_first(cast, den, at, find):
    say(cast.bob, den, "big plan", "plan", "the plan is big", "big", at=at)
    assert find("big plan") == ["the plan is big", "big plan"]
    assert find('"big plan"') == ["big plan"]
    assert find("plan -big") == ["plan"]
    assert find('plan -"is big"') == ["plan", "big plan"]


def test_last_word_may_go_on_the_others_may_not(cast, den, at, find):
    say(cast.bob, den, "budget plans", "bud", at=at)
    assert find("bud") == ["bud", "budget plans"]
    assert find("budget plan") == ["budget plans"]
    assert find("bud plans") == []
    assert find('"bud"') == ["bud"]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ("Ärger im Café", "arger CAFÉ"),
        ("Привет всем", "ПРИВЕТ"),
        ("see https://example.org/a_path/file-name.txt?x=1", "path file"),
        ("see https://example.org/a", "example.org"),
        ("a well-known state-of-the-art thing", "well known"),
        ("a well-known thing", '"well known"'),
        ("a well-known thing", "well-known"),
        ("write to bob@example.org", "example"),
        ("version 2.17.4", "17"),
        ("costs -5 or 1e5", "5"),
        ("C'est l'été", "ete"),
        ("“quoted” – dashed…", "quoted dashed"),
        ("<b>bold</b>", "bold"),
        ("日本語 テスト", "日本"),
        ("snake_case_name", "case"),
    ],
)
def test_words_are_found_however_they_are_written(cast, den, at, find, body, query):
    say(cast.bob, den, body, "something else", at=at)
    assert find(query) == [body]


class TestFilters:
    def test_person_and_room(self, cast, den, square, at, find):
        rooms.join(actor=cast.bob, room=square, at=at)
        say(cast.bob, den, "plan b", at=at)
        say(cast.alice, den, "plan a", at=at + dt.timedelta(minutes=1))
        say(cast.alice, square, "plan c", at=at + dt.timedelta(minutes=2))
        assert find("plan from:alice") == ["plan c", "plan a"]
        assert find("plan from:alice from:bob in:den") == ["plan a", "plan b"]
        assert find("in:den") == ["plan a", "plan b"]
        assert find("plan", room=square) == ["plan c"]
        assert find("plan from:nobody") == []

    def test_days_are_outside_and_of_utc(self, cast, den, at, find):
        noon = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)
        for days, body in enumerate(("first plan", "second plan", "third plan")):
            say(cast.bob, den, body, at=noon + dt.timedelta(days=days))
        assert find("plan after:2026-05-05 before:2026-05-07") == ["second plan"]
        assert find("plan before:2026-05-05") == []
        assert find("plan after:2026-05-06") == ["third plan"]

    @pytest.mark.parametrize("kind", ["link", "file", "image", "code"])
    def test_what_it_contains(self, cast, den, at, find, kind):
        plain, other = say(cast.bob, den, "plain plan", "other plan", at=at)
        Message.objects.filter(pk=plain).update(has_link=False, has_code=False)
        Message.objects.filter(pk=other).update(**{f"has_{kind}": True})
        assert find(f"plan has:{kind}") == ["other plan"]

    def test_pins_and_threads(self, cast, den, at, find):
        root, reply, other = say(cast.bob, den, "root plan", "reply plan", "plan", at=at)
        Message.objects.filter(pk=reply).update(thread_id=root)
        Message.objects.filter(pk=other).update(pinned_at=at)
        assert find("has:thread") == ["reply plan", "root plan"]
        assert find("plan has:pin") == ["plan"]


class TestWhoFinds:
    def test_stranger_finds_nothing_in_private_or_public_rooms(self, cast, den, square, at, find):
        say(cast.alice, den, "secret plan", at=at)
        say(cast.alice, square, "open plan", at=at)
        assert sorted(find("plan", actor=cast.alice)) == ["open plan", "secret plan"]
        for query in ("plan", "in:den", "from:alice", "plan -x"):
            assert find(query, actor=cast.charlie) == []

    def test_who_has_left_finds_nothing_any_more(self, cast, den, at, find):
        hit, _ = say(cast.bob, den, "plan", "plan of bob", at=at)
        assert len(find("plan")) == 2

        rooms.leave(actor=cast.bob, room=den, at=at)

        assert find("plan") == find("from:bob") == []
        with pytest.raises(NotFoundError, match="no such room"):
            find("plan", room=den)
        with pytest.raises(NotFoundError, match="go on from"):
            find("plan", before=hit)

    def test_stranger_cannot_tell_a_private_room_from_a_missing_one(self, cast, den, square, find):
        for room in (den, "nowhere"):
            with pytest.raises(NotFoundError, match="no such room"):
                find("plan", room=room, actor=cast.charlie)
        with pytest.raises(NotAllowedError, match="Join the room first"):
            find("plan", room=square, actor=cast.charlie)


class TestWhatIsThere:
    def test_edited_text_is_found_by_its_new_words_and_shown_with_them(self, cast, den, at, find):
        (message,) = say(cast.bob, den, "old words", at=at)
        assert find("old") == ["old words"]
        edit(cast.bob, den, message, "new words", at=at)

        assert find("old") == []
        assert find("new words") == ["new words"]
        hit = search.search(actor=cast.bob, query="new", at=at)["hits"][0]
        assert hit["event"]["id"] == message
        assert hit["event"]["data"]["html"] == "<p>new words</p>"
        assert hit["event"]["data"]["client_id"]

    def test_who_is_put_out_meanwhile_sees_no_later_edit(self, cast, den, at, monkeypatch):
        (message,) = say(cast.bob, den, "first words", at=at)
        edit(cast.bob, den, message, "second words", at=at)
        real = search._edits

        def edited_meanwhile(found):
            rooms.leave(actor=cast.bob, room=den, at=at)
            edit(cast.alice, den, message, "words of later", at=at)
            return real(found)

        monkeypatch.setattr(search, "_edits", edited_meanwhile)
        (hit,) = search.search(actor=cast.bob, query="words", at=at)["hits"]
        assert hit["event"]["data"]["html"] == "<p>second words</p>"

    @pytest.mark.parametrize("field", ["deleted_at", "expired_at"])
    def test_what_is_gone_is_not_found(self, cast, den, at, find, field):
        (message,) = say(cast.bob, den, "gone plan", at=at)
        assert find("gone") == ["gone plan"]
        Message.objects.filter(pk=message).update(**{field: at})  # its text still being there
        assert find("gone") == find("from:bob") == find("gone -x") == []

    def test_words_of_what_is_gone_leave_the_index(self, cast, den, at):
        (message,) = say(cast.bob, den, "gone plan", at=at)
        assert indexed("gone") == 1
        Message.objects.filter(pk=message).update(body="")
        assert indexed("gone") == 0

    def test_words_of_a_room_that_is_gone_leave_the_index(self, cast, den, at):
        say(cast.bob, den, "gone plan", at=at)
        Event.objects.filter(room__slug=den).update(message=None)
        Room.objects.get(slug=den).delete()
        assert indexed("gone") == 0


def edit(actor, room, message, body, *, at):
    """What the verb leaves behind."""
    found = Room.objects.get(slug=room)
    log.take_number(Room.objects.filter(pk=found.pk))
    found.refresh_from_db()
    log.append(
        room=found,
        type=Event.Type.MESSAGE_EDITED,
        actor=actor,
        data={"message": message, "body": body, "html": f"<p>{body}</p>"},
        at=at,
        message=Event.objects.get(pk=message),
    )
    Message.objects.filter(pk=message).update(body=body, edited_at=at)


def indexed(word):
    """How often the database's own index has the word."""
    ask = {
        "sqlite": "SELECT count(*) FROM chat_message_words WHERE chat_message_words MATCH %s",
        "postgresql": "SELECT count(*) FROM chat_message WHERE words @@ to_tsquery('simple', %s)",
    }
    with connection.cursor() as cursor:
        cursor.execute(ask[connection.vendor], [word])
        return cursor.fetchone()[0]


def attach(actor, room, *names, body="", at):
    """The id of a message with files of these names."""
    made = [upload(actor, room, name, at=at + dt.timedelta(n)) for n, name in enumerate(names)]
    ids = [str(one.pk) for one in made]
    return str(post(actor, room, body, at=at, attachments=ids).event.pk)


def upload(actor, room, name, *, at):
    return Attachment.objects.create(
        room=Room.objects.get(slug=room),
        uploader_id=actor.user_id,
        name=name,
        media_type="application/pdf",
        size=1,
        complete=True,
        created_at=at,
    )


class TestNamesOfFiles:
    @pytest.mark.parametrize(
        "query",
        [
            "quarterly",
            "report.pdf",
            "quart",
            "UBERSICHT quarterly rep",
            '"quarterly report"',
            "budget quarterly",
            "ubersicht has:file in:den from:bob",
            "quarterly -draft",
        ],
    )
    def test_message_is_found_by_them(self, cast, den, at, find, query):
        attach(cast.bob, den, "quarterly report.pdf", "Übersicht.png", body="The budget", at=at)
        say(cast.bob, den, "something else", at=at)
        assert find(query) == ["The budget"]

    @pytest.mark.parametrize("query", ["quarterly -pdf", "quarterly minutes", '"report quarterly"'])
    def test_message_is_not_found_by_other_words(self, cast, den, at, find, query):
        attach(cast.bob, den, "quarterly report.pdf", body="The budget", at=at)
        assert find(query) == []

    def test_phrase_stays_within_the_text_or_one_name(self, cast, den, at, find):
        attach(cast.bob, den, "quarterly report.pdf", "minutes of May.txt", body="See this", at=at)
        for phrase in ("see this", "quarterly report.pdf", "minutes of may txt"):
            assert find(f'"{phrase}"') == ["See this"]
        for phrase in ("this quarterly", "pdf minutes", "txt see", "txt quarterly"):
            assert find(f'"{phrase}"') == []

    @pytest.mark.parametrize("border", ["\ue000", "é", "e", " \ue000 ", " é "])
    def test_what_stands_between_two_names_cannot_be_looked_for(self, cast, den, at, find, border):
        attach(cast.bob, den, "report.pdf", "minutes.txt", body="See this", at=at)
        assert find("report minutes") == ["See this"]
        assert find(f'"pdf{border}minutes"') == find(f'"this{border}report"') == []

    def test_stranger_and_who_has_left_find_nothing(self, cast, den, at, find):
        attach(cast.alice, den, "quarterly.pdf", body="Here", at=at)
        assert find("quarterly") == find("quarterly has:file") == ["Here"]
        assert find("quarterly", actor=cast.charlie) == []
        rooms.leave(actor=cast.bob, room=den, at=at)
        assert find("quarterly") == find("quarterly has:file") == []

    def test_file_that_is_not_posted_is_not_found(self, cast, den, at):
        upload(cast.bob, den, "quarterly.pdf", at=at)
        assert indexed("quarterly") == 0

    def test_names_of_a_deleted_message_leave_the_index(self, cast, den, at, find):
        message = attach(cast.bob, den, "quarterly.pdf", body="Here", at=at)
        assert indexed("quarterly") == 1
        messages.delete_message(actor=cast.bob, room=den, message=message, at=at)
        assert indexed("quarterly") == 0
        assert Message.objects.get(pk=message).names == ""

    def test_names_of_an_expired_message_leave_the_index(self, cast, den, at):
        attach(cast.bob, den, "quarterly.pdf", "report.pdf", at=at)
        assert indexed("quarterly") == indexed("report") == 1
        Room.objects.filter(slug=den).update(retention_days=1)
        assert retention.expire_messages(at=at + dt.timedelta(days=9)) == 1
        assert indexed("quarterly") == indexed("report") == 0

    def test_name_leaves_the_index_with_its_file_and_the_others_stay(self, cast, den, at):
        attach(cast.bob, den, "quarterly.pdf", "report.pdf", body="Here", at=at)
        Attachment.objects.get(name="quarterly.pdf").delete()
        assert indexed("quarterly") == 0
        assert indexed("report") == indexed("here") == 1

    def test_names_of_a_room_that_is_gone_leave_the_index(self, cast, den, at):
        attach(cast.bob, den, "quarterly.pdf", at=at)
        Event.objects.filter(room__slug=den).update(message=None)
        Room.objects.get(slug=den).delete()
        assert indexed("quarterly") == 0

    def test_edit_leaves_the_names(self, cast, den, at, find):
        message = attach(cast.bob, den, "quarterly.pdf", body="old words", at=at)
        edit(cast.bob, den, message, "new words", at=at)
        assert find("new quarterly") == ["new words"]
        assert find("old quarterly") == []

    def test_file_takes_its_name_along(self, cast, den, at, find):
        attach(cast.bob, den, "quarterly.pdf", body="first", at=at)
        second = attach(cast.bob, den, "report.pdf", body="second", at=at)
        Attachment.objects.filter(name="quarterly.pdf").update(name="minutes.pdf")
        assert find("quarterly") == []
        assert find("minutes") == ["first"]
        Attachment.objects.filter(name="minutes.pdf").update(message=second)
        assert find("minutes") == ["second"]


@pytest.mark.django_db(transaction=True)
def test_upgrade_indexes_the_names_that_are_there(cast, den, at, find):
    attach(cast.bob, den, "quarterly report.pdf", "minutes.txt", body="See this", at=at)
    say(cast.bob, den, "plain words", at=at)
    try:
        migrate("0007_pinned")
        assert [indexed("quarterly"), indexed("this"), indexed("plain")] == [0, 1, 1]
    finally:
        migrate("0008_words_of_files")
    assert [indexed("quarterly"), indexed("this"), indexed("plain")] == [1, 1, 1]
    assert find("minutes report") == ["See this"]
    assert find('"pdf minutes"') == []

    attach(cast.bob, den, "later.txt", body="Another", at=at)
    assert find("later") == ["Another"]
    Attachment.objects.all().delete()
    Message.objects.filter(body="See this").update(body="nothing")
    assert [indexed("quarterly"), indexed("later"), indexed("this")] == [0, 0, 0]


def migrate(name):
    MigrationExecutor(connection).migrate([("chat", name)])


class TestPages:
    def test_hits_come_in_pages_without_holes_or_doubles(self, cast, den, at, find):
        for number in range(60):  # many at the same moment
            post(cast.bob, den, f"plan {number}", at=at + dt.timedelta(seconds=number // 9))
        seen, before = [], None
        for more in (True, True, False):
            page = search.search(
                actor=cast.bob, query="plan", at=at, **({"before": before} if before else {})
            )
            assert page["more"] is more
            seen += page["hits"]
            before = page["hits"][-1]["event"]["id"]
        assert [len(seen), len({hit["event"]["id"] for hit in seen})] == [60, 60]
        assert seen == sorted(seen, key=lambda hit: hit["event"]["at"], reverse=True)

    def test_hit_names_its_room(self, cast, at):
        rooms.create_room(
            actor=cast.alice, room="ab", name="x", kind="direct", members=["bob"], at=at
        )
        say(cast.alice, "ab", "plan", at=at)
        (hit,) = search.search(actor=cast.bob, query="plan", at=at)["hits"]
        assert (hit["room"], hit["name"], hit["event"]["room"]) == ("ab", "Alice", "ab")

    def test_page_takes_few_queries(self, cast, den, at, django_assert_num_queries):
        say(cast.bob, den, *["plan"] * 30, at=at)
        attach(cast.bob, den, "plan.pdf", at=at)
        with django_assert_num_queries(2):
            search.search(actor=cast.bob, query="plan", at=at)


def any_query():
    syntax = st.text(alphabet="\"'():*^+-&|!<>{}\\%_~ abAND ORNOTNEAR\u00e9\u0301ﬁ²", max_size=60)
    return syntax | st.text(max_size=60)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=any_query())
@example(text='" OR body:x')
@example(text='a" NOT "b')
@example(text="a' | 'b")
@example(text="a\\' | 'b:*")
@example(text="%s %(a)s")
@example(text="a NEAR(b c, 2)")
@example(text="x" * 200)
@example(text="-x -y")
@example(text="²")
@example(text="\u02b0\u0301")
@example(text="\u037a")
@example(text="x -\u037a")
def test_no_text_is_taken_for_the_syntax_of_the_database(cast, den, at, text):
    """It is found where it was said, if it has a word at all; it never fails."""
    try:
        result = search.search(actor=cast.bob, query=text, at=at)
    except BadRequestError:
        return
    assert result == {"hits": [], "more": False}


class TestSnippets:
    def marked(self, body, *terms):
        found = search.snippet(body, [Term(*term) for term in terms])
        units = found["text"].encode("utf-16-le")
        return found["text"], [units[2 * a : 2 * b].decode("utf-16-le") for a, b in found["marks"]]

    def test_marks_are_ranges_of_plain_text(self):
        text, marks = self.marked("<script>alert(1)</script> plan", ("plan",), ("script",))
        assert text == "<script>alert(1)</script> plan"
        assert marks == ["script", "script", "plan"]

    def test_marks_count_as_browsers_do(self):
        assert self.marked("😀😀 Plänen 😀 plan", ("plan", True))[1] == ["Plänen", "plan"]

    def test_phrase_is_marked_as_a_whole_only(self):
        assert self.marked("big plan, plan big plans", ("big plan",))[1] == ["big", "plan"]
        assert self.marked("big plans", ("big plan", True))[1] == ["big", "plans"]

    def test_long_text_is_shown_around_the_first_match(self):
        text, marks = self.marked("word\n" * 500 + "needle " + "word " * 500, ("needle",))
        assert marks == ["needle"]
        assert (text[0], text[-1]) == ("…", "…")
        assert len(text) <= 162
        assert "\n" not in text

    def test_short_text_is_shown_whole(self):
        assert self.marked("word " * 20 + "needle", ("needle",))[0] == "word " * 20 + "needle"

    def test_without_a_match_the_beginning_is_shown(self):
        assert self.marked("plan", ("other",)) == ("plan", [])

    @pytest.mark.parametrize(
        ("query", "files"),
        [
            ("budget", []),
            ("budget quarterly", [("quarterly report.pdf", ["quarterly"])]),
            ("pdf", [("quarterly report.pdf", ["pdf"]), ("old.pdf", ["pdf"])]),
            ('"report.pdf"', [("quarterly report.pdf", ["report", "pdf"])]),
            ("has:file", [("quarterly report.pdf", []), ("old.pdf", [])]),
        ],
    )
    def test_hit_shows_the_names_that_were_found(self, cast, den, at, query, files):
        attach(cast.bob, den, "quarterly report.pdf", "old.pdf", body="budget", at=at)
        (hit,) = search.search(actor=cast.bob, query=query, at=at)["hits"]
        shown = [(n["text"], [n["text"][a:b] for a, b in n["marks"]]) for n in hit["files"]]
        assert shown == files
        assert hit["snippet"]["text"] == "budget"


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL vacuums by itself")
def test_words_of_a_deleted_message_leave_the_file_of_the_database(cast, den, at):
    for number in range(40):
        post(cast.alice, den, f"words of every day {number}", at=at)
    gone = str(post(cast.bob, den, "the unforgettable codeword", at=at).event.pk)
    post(cast.alice, den, "and on it goes", at=at)
    assert in_file("codeword")

    messages.delete_message(actor=cast.bob, room=den, message=gone, at=at)
    search.forget_words(at=at.replace(minute=30))
    assert in_file("codeword")
    search.forget_words(at=at.replace(minute=0))

    assert not in_file("codeword")
    assert indexed("words") == 40


def in_file(word):
    """Whether it stands anywhere in the file, once the write-ahead log is empty."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert cursor.fetchone()[0] == 0
    return word.encode() in Path(connection.settings_dict["NAME"]).read_bytes()
