"""People whose names look alike, or whose name mixes scripts: reasons to look twice at an author.

Two names look alike where their skeletons are the same (Unicode Technical Standard 39, section 4): l
and I, m and rn, a Latin and a Cyrillic a. Every process works this out once from all open accounts,
when it is first asked after an account has changed, and never for a message.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from confusable_homoglyphs import categories, confusables
from django.contrib.auth import get_user_model

from chat.protocol import Wire

User = get_user_model()
# Scripts that are written together in one word (UTS 39, "highly restrictive").
TOGETHER = (
    {"LATIN", "HAN", "HIRAGANA", "KATAKANA"},
    {"LATIN", "HAN", "BOPOMOFO"},
    {"LATIN", "HAN", "HANGUL"},
)
OF_NO_SCRIPT = {"COMMON", "INHERITED", "Unknown"}
WORDS = re.compile(r"[^\W\d_]+")
MARKS = dict.fromkeys(map(ord, "\u200e\u200f"))  # of direction, which the table has around letters


@dataclass(frozen=True)
class Flag:
    """`of` is the username of somebody whose name looks the same."""

    kind: str  # "lookalike" or "mixed"
    of: str = ""

    @property
    def wire(self) -> Wire:
        return {"flag": self.kind} | ({"lookalike_of": self.of} if self.of else {})


@dataclass(frozen=True)
class _Found:
    people: frozenset[int]
    flags: dict[int, Flag]


_found: _Found | None = None


def flag_of(user_id: int) -> Flag | None:
    """Why one should look twice at this person's name; None where there is no reason."""
    global _found
    found = _found
    if found is None or user_id not in found.people:  # an account of another process, not heard of
        found = _found = _find()
    return found.flags.get(user_id)


def forget() -> None:
    """Accounts have changed: find out again when next asked."""
    global _found
    _found = None


def flags(people: Iterable[tuple[int, str, str]]) -> dict[int, Flag]:
    """The flags of people who are given with their username and name."""
    called = [(user_id, username, name or username) for user_id, username, name in people]
    bearers: dict[str, dict[int, str]] = defaultdict(dict)
    for user_id, username, name in called:
        for key in _keys(name) | _keys(username):
            bearers[key][user_id] = username
    flagged: dict[int, Flag] = {}
    for user_id, username, name in called:
        others = (bearers[key] for key in sorted(_keys(name) | _keys(username)))
        alike = sorted({u for group in others for other, u in group.items() if other != user_id})
        if alike:
            flagged[user_id] = Flag("lookalike", of=alike[0])
        elif is_mixed(name):
            flagged[user_id] = Flag("mixed")
    return flagged


def skeleton(text: str) -> str:
    """What remains of a text once everything that looks the same is the same."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    seen = "".join(_prototype(c) for c in plain if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFD", seen).split())


def is_mixed(text: str) -> bool:
    """A word of it has letters of scripts that are not written together."""
    return any(_is_mixed_word(word) for word in WORDS.findall(unicodedata.normalize("NFKC", text)))


def _is_mixed_word(word: str) -> bool:
    scripts = {categories.alias(c) for c in word} - OF_NO_SCRIPT
    return len(scripts) > 1 and not any(scripts <= together for together in TOGETHER)


def _keys(text: str) -> set[str]:
    """Alike as they are written, or once both are small letters: I is l in the one, i in the other."""
    return {skeleton(text).casefold(), skeleton(text.casefold())}


@cache
def _prototype(character: str) -> str:
    """The one that stands for all that look like this character.

    The table tells of such a one what looks like it, and of each of those that one alone.
    """
    like = confusables.confusables_data.get(character, ())
    if len(like) != 1:
        return character
    (one,) = like
    prototype = str(one["c"]).translate(MARKS)
    back = confusables.confusables_data.get(one["c"], ())
    return min(character, prototype) if len(back) == 1 else prototype


def _find() -> _Found:
    rows = list(User.objects.order_by("pk").values_list("pk", "username", "name", "is_active"))
    active = [(user_id, username, name) for user_id, username, name, is_active in rows if is_active]
    return _Found(people=frozenset(row[0] for row in rows), flags=flags(active))
