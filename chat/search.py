"""Finding messages by their words and by the names of their files.

What always holds:
  1. only messages in rooms that the actor is in at this moment are looked through: their
     membership is part of the query itself;
  2. only what a message says now is found, and the names of files that are there: not what it said
     before an edit, and nothing that was deleted or has expired.
The words are kept by the database (migrations 0003 and 0008): SQLite in an index of its own (FTS5),
PostgreSQL in a column of the table. Here is said how each of them is asked, and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections import defaultdict
from collections.abc import Sequence

from django.db import connection
from django.db.models import BooleanField, Exists, Func, OuterRef, Q, Value

from chat.errors import NotFoundError
from chat.models import Event, Message
from chat.places import own
from chat.protocol import Wire
from chat.querysets import MessageQuerySet
from chat.search_query import Query, Term, folded, parse
from chat.standing import standings
from pki.identity import Identity

PAGE = 25
SNIPPET = 160  # characters
LEAD = 40  # of them before the first word that was found
PIECE = 200  # pages of the index
MERGE = "INSERT INTO chat_message_words(chat_message_words, rank) VALUES ('merge', %s)"
TOKEN = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")


def search(
    *,
    actor: Identity,
    query: str,
    room: str | None = None,
    before: str | None = None,
    at: dt.datetime,
) -> Wire:
    """The newest messages of the actor's rooms that the query asks for, 25 at a time.

    With `before`, the id of the last hit, those after it; `more` where there are others. Refuses a
    query that asks for nothing or says what is not understood (BadRequestError), a room that is
    not the actor's, and a `before` that is no message of theirs (NotFoundError, NotAllowedError).
    """
    wanted = parse(query, today=at.date())
    messages = _matching(wanted, Message.objects.there().in_rooms_of(actor.user_id))
    if room is not None:
        messages = messages.filter(room=own(actor=actor, room=room).room)
    if before is not None:
        messages = _before(before, messages, actor=actor)
    rows = messages.select_related("event__room", "event__by").order_by("-at", "-event_id")
    found = list(rows[: PAGE + 1])
    return {"hits": _hits(found[:PAGE], wanted, actor=actor), "more": len(found) > PAGE}


def forget_words(*, at: dt.datetime) -> None:
    """Let go of words that nothing says any more, at a full hour.

    Nobody finds them, but SQLite keeps them in the index, with a note that they are gone, until it
    merges the two (FTS5, `merge`). Done in pieces of some milliseconds, so that posts go on in
    between. On PostgreSQL autovacuum does it.
    """
    if connection.vendor != "sqlite" or at.minute:
        return
    pages = -PIECE  # all of the index, and not only what is due by its size
    while _merge(pages):
        pages = PIECE


def _merge(pages: int) -> bool:
    """One piece of it; whether there was something to do."""
    with connection.cursor() as cursor:
        before = cursor.connection.total_changes
        cursor.execute(MERGE, [pages])
        changed: int = cursor.connection.total_changes - before
    return changed >= 2  # one is the command itself


# --- What is looked for ---------------------------------------------------------------------


def _matching(wanted: Query, messages: MessageQuerySet) -> MessageQuerySet:
    if wanted.terms:
        messages = messages.filter(_says(wanted.terms))
    if wanted.without:
        messages = messages.filter(_says_none(wanted.without))
    if wanted.people:
        messages = messages.filter(author__username__in=wanted.people)
    if wanted.rooms:
        messages = messages.filter(room__slug__in=wanted.rooms)
    if wanted.before:
        messages = messages.filter(at__lt=_midnight(wanted.before))
    if wanted.after:
        messages = messages.filter(at__gte=_midnight(wanted.after + dt.timedelta(days=1)))
    for kind in sorted(wanted.has):
        messages = messages.filter(_has(kind))
    return messages


def _midnight(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), tzinfo=dt.UTC)


def _has(kind: str) -> Q:
    if kind == "pin":
        return Q(pinned_at__isnull=False)
    if kind == "thread":
        replies = Message.objects.there().filter(thread=OuterRef("pk"))
        return Q(thread__isnull=False) | Q(Exists(replies))
    return Q(**{f"has_{kind}": True})


def _before(event_id: str, messages: MessageQuerySet, *, actor: Identity) -> MessageQuerySet:
    """Those that come after this one in a list that begins with the newest."""
    last = Message.objects.in_rooms_of(actor.user_id).filter(pk=uuid.UUID(event_id)).first()
    if last is None:
        raise NotFoundError("The message to go on from is not in a room of yours.")
    return messages.filter(Q(at__lt=last.at) | Q(at=last.at, pk__lt=last.pk), at__lte=last.at)


# --- How the databases are asked ------------------------------------------------------------

SQLITE = """(chat_message.room_id, chat_message.seq) IN (
    SELECT rowid >> 32, rowid & 4294967295 FROM chat_message_words
    WHERE chat_message_words MATCH %(expressions)s)"""
# What is left out is looked up by one number: SQLite compares a pair with each of many.
SQLITE_WITHOUT = """(chat_message.room_id * 4294967296 + chat_message.seq) NOT IN (
    SELECT rowid FROM chat_message_words WHERE chat_message_words MATCH %(expressions)s)"""
PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")  # of ASCII, as the migration has it
POSTGRESQL = "chat_message.words @@ to_tsquery('simple', %(expressions)s)"
POSTGRESQL_WITHOUT = f"NOT ({POSTGRESQL})"


def _says(terms: Sequence[Term]) -> Func:
    """It says all of this."""
    if connection.vendor == "sqlite":
        return _asked(SQLITE, " AND ".join(map(_for_sqlite, terms)))
    return _asked(POSTGRESQL, " & ".join(map(_for_postgresql, terms)))


def _says_none(terms: Sequence[Term]) -> Func:
    if connection.vendor == "sqlite":
        return _asked(SQLITE_WITHOUT, " OR ".join(map(_for_sqlite, terms)))
    return _asked(POSTGRESQL_WITHOUT, " | ".join(map(_for_postgresql, terms)))


def _asked(template: str, match: str) -> Func:
    return Func(Value(match), template=template, output_field=BooleanField())


def _for_sqlite(term: Term) -> str:
    """A phrase in quotation marks, within which FTS5 takes nothing for its own syntax."""
    quoted = '"{}"'.format(term.text.replace('"', '""'))
    return f"{quoted} *" if term.goes_on else quoted


def _for_postgresql(term: Term) -> str:
    """Words one after another, as the column has them, in marks that none of them contains."""
    words = [f"'{word}'" for word in PUNCTUATION.sub(" ", folded(term.text)).split()]
    return "({}{})".format(" <-> ".join(words), ":*" if term.goes_on else "")


# --- What is shown --------------------------------------------------------------------------


def _hits(found: Sequence[Message], wanted: Query, *, actor: Identity) -> list[Wire]:
    names = {place.slug: place.name for place in standings([actor.user_id])} if found else {}
    edits = _edits(found)
    return [
        {
            "event": _present(message.event, edits.get(message.pk)),
            "room": message.event.room.slug,
            "name": names.get(message.event.room.slug, message.event.room.name),
            "snippet": snippet(message.body, wanted.terms),
            "files": _files(message, wanted.terms),
        }
        for message in found
    ]


def _edits(found: Sequence[Message]) -> dict[object, Event]:
    """The last edit of each of these messages, up to its room's newest event of when it was found:
    who found it may have been put out since."""
    heads: dict[object, int] = {m.pk: m.event.room.last_seq for m in found if m.edited_at}
    edited = Event.objects.filter(message__in=list(heads), type=Event.Type.MESSAGE_EDITED)
    known = (event for event in edited.order_by("seq") if event.seq <= heads[event.message_id])
    return {event.message_id: event for event in known}


def _present(event: Event, edit: Event | None) -> Wire:
    """The posted event with what the message says by now."""
    wire = event.wire
    if edit is None:
        return wire
    said = {name: value for name, value in edit.data.items() if name != "message"}
    before = {k: v for k, v in wire["data"].items() if k not in ("mentions", "everyone", "action")}
    return wire | {"data": before | said}


def _files(message: Message, terms: Sequence[Term]) -> list[Wire]:
    """The names of its files that were found; where no word was looked for, all of them."""
    names = [snippet(name, terms) for name in message.names.split("\n")[1:]]
    return [name for name in names if name["marks"]] if terms else names


def snippet(body: str, terms: Sequence[Term]) -> Wire:
    """A piece of the text around the first word that was found, and where in it such words are.

    It is plain text. `marks` are pairs of from and to, counted in UTF-16 units as browsers do.
    """
    marks = _marks(body, terms)
    start = max(marks[0][0] - LEAD, 0) if marks and len(body) > SNIPPET else 0
    start = _at_a_word(body, start)
    text = body[start : start + SNIPPET]
    inside = [(a - start, b - start) for a, b in marks if a >= start and b <= start + len(text)]
    lead, rest = "…" if start else "", "…" if start + len(text) < len(body) else ""
    shown = lead + re.sub(r"\s", " ", text) + rest
    shift = len(lead)
    return {
        "text": shown,
        "marks": [[_units(shown[: a + shift]), _units(shown[: b + shift])] for a, b in inside],
    }


def _marks(body: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    found = list(TOKEN.finditer(body))
    tokens = [folded(token[0]) for token in found]
    places: dict[str, list[int]] = defaultdict(list)
    for number, token in enumerate(tokens):
        places[token].append(number)
    marked: set[int] = set()
    for term in terms:
        words = [folded(word) for word in TOKEN.findall(term.text)]
        for first in _beginnings(tokens, places, words, goes_on=term.goes_on):
            marked.update(range(first, first + len(words)))
    return [found[number].span() for number in sorted(marked)]


def _beginnings(
    tokens: list[str], places: dict[str, list[int]], words: list[str], *, goes_on: bool
) -> list[int]:
    """Where these words stand one after another."""
    if len(words) == 1 and goes_on:
        return [number for number, token in enumerate(tokens) if token.startswith(words[0])]
    first = places.get(words[0], []) if words else []
    return [n for n in first if _is_match(tokens[n : n + len(words)], words, goes_on=goes_on)]


def _is_match(tokens: list[str], words: list[str], *, goes_on: bool) -> bool:
    if len(tokens) < len(words) or tokens[:-1] != words[:-1]:
        return False
    return tokens[-1].startswith(words[-1]) if goes_on else tokens[-1] == words[-1]


def _at_a_word(body: str, start: int) -> int:
    """Not in the middle of a word, where a blank is near."""
    blank = body.find(" ", start, start + LEAD // 2) if start else -1
    return blank + 1 if blank >= 0 else start


def _units(text: str) -> int:
    return len(text) + sum(c > "\uffff" for c in text)
