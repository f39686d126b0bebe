"""What somebody types to search → what is asked for. Pure.

    plan "final draft" -old from:bob in:den before:2026-11-21 after:yesterday has:link bud

All words must be there, those in quotation marks next to each other, those after a dash not at all.
The last word may go on: “bud” finds “budget”. Large and small letters and accents are all one.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from chat.errors import BadRequestError

FILTERS = ("from", "in", "before", "after", "has")
KINDS = ("link", "file", "image", "code", "pin", "thread")
PIECE = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
NAMED = re.compile(r"([a-z]{2,20}):(?!:|//)(.+)", re.IGNORECASE | re.DOTALL)
WORD = re.compile(r"[^\W_]")  # what has none of these characters cannot be found
QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
# U+E000 stands between the names of files in the index of SQLite.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000]")
ACCENTS = re.compile(r"[\u0300-\u036f]")
EARLIEST = dt.date(1970, 1, 2)


@dataclass(frozen=True)
class Term:
    """Words next to each other; `goes_on` where the last of them may be the beginning of one."""

    text: str
    goes_on: bool = False


@dataclass(frozen=True)
class Query:
    """What a message must be like. Of several people or rooms it needs one, of the rest all."""

    terms: tuple[Term, ...] = ()
    without: tuple[Term, ...] = ()
    people: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    before: dt.date | None = None
    after: dt.date | None = None
    has: frozenset[str] = frozenset()


def parse(text: str, *, today: dt.date) -> Query:
    """The query that the text stands for.

    Refuses (BadRequestError) a filter that there is not, a date that is none, and a text that asks
    for nothing.
    """
    found = _Found(today)
    for is_refused, quoted, word in _pieces(text):
        if quoted is None and (named := NAMED.fullmatch(word)):
            found.filter_by(named[1].lower(), named[2], is_refused=is_refused)
        elif WORD.search(folded(quoted or word)):
            found.look_for(Term(quoted or word), is_refused=is_refused, is_quoted=bool(quoted))
    query = found.query()
    if query == Query():
        raise BadRequestError("Say what to look for: a word, or a filter such as from:alice.")
    return query


def folded(text: str) -> str:
    """The text as it is compared: small letters without accents, each form of a letter alike."""
    if text.isascii():
        return text.lower()
    return ACCENTS.sub("", unicodedata.normalize("NFKD", text.lower()))


def _pieces(text: str) -> Iterator[tuple[bool, str | None, str]]:
    """Whether it must not be there, and what stands in quotation marks or else the bare word."""
    for dash, quoted, word in PIECE.findall(UNWRITABLE.sub(" ", text).translate(QUOTES)):
        yield bool(dash), quoted or None, word


class _Found:
    """A query that is being read."""

    def __init__(self, today: dt.date) -> None:
        self.today = today
        self.terms: list[Term] = []
        self.without: list[Term] = []
        self.open: int | None = None  # the bare word that came last
        self.people: list[str] = []
        self.rooms: list[str] = []
        self.dates: dict[str, list[dt.date]] = {"before": [], "after": []}
        self.has: set[str] = set()

    def look_for(self, term: Term, *, is_refused: bool, is_quoted: bool) -> None:
        if is_refused:
            self.without.append(term)
            return
        self.open = None if is_quoted else len(self.terms)
        self.terms.append(term)

    def filter_by(self, name: str, value: str, *, is_refused: bool) -> None:
        if name not in FILTERS:
            known = ", ".join(f"{one}:" for one in FILTERS)
            raise BadRequestError(
                f"There is no filter “{name}:”. There are {known}. "
                "To look for the words, put them in quotation marks."
            )
        if is_refused:
            raise BadRequestError(f"A filter cannot be left out with a dash: -{name}:")
        if name == "has":
            self.has.add(_kind(value))
        elif name in self.dates:
            self.dates[name].append(_date(name, value, self.today))
        else:
            (self.people if name == "from" else self.rooms).append(value.lstrip("@#"))

    def query(self) -> Query:
        terms = [
            Term(term.text, goes_on=number == self.open and _is_long(term.text))
            for number, term in enumerate(self.terms)
        ]
        return Query(
            terms=tuple(terms),
            without=tuple(self.without),
            people=tuple(self.people),
            rooms=tuple(self.rooms),
            before=min(self.dates["before"], default=None),
            after=max(self.dates["after"], default=None),
            has=frozenset(self.has),
        )


def _is_long(word: str) -> bool:
    """Half of all words begin with the same few letters; elsewhere one character is a word."""
    letters = WORD.findall(folded(word))  # é is e to the index, and a sign none
    return len(letters) > 1 or not all(map(str.isascii, letters))


def _kind(value: str) -> str:
    if value.lower() not in KINDS:
        raise BadRequestError(f"“has:{value[:40]}” is none of has:{', has:'.join(KINDS)}.")
    return value.lower()


def _date(name: str, value: str, today: dt.date) -> dt.date:
    relative = {"today": today, "yesterday": today - dt.timedelta(days=1)}
    try:
        date = relative.get(value.lower()) or dt.date.fromisoformat(value)
    except ValueError:
        date = dt.date.min
    if not EARLIEST <= date < dt.date.max:
        raise BadRequestError(
            f"“{name}:{value[:40]}” needs a day such as {name}:{today.isoformat()}."
        )
    return date
