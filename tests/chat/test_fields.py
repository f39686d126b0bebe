"""What the fields of requests take."""

from __future__ import annotations

import pytest

from chat.errors import BadRequestError
from chat.fields import KINDS, emoji, event_id, title
from chat.models import Room
from chat.protocol import Limits

LIMITS = Limits()
ID = "6f2b7c1e-98e7-4ab8-9f4f-6f6d0e2a7a11"


def test_name_of_a_room_is_stripped():
    assert title(" D ", LIMITS) == "D"


@pytest.mark.parametrize(
    "character",
    ["\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u0085", "\u2028", "\u2029", "\ue000",
     "\U000e0041", "\U000e01f0", "\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u0378"],
    ids=ascii,
)  # fmt: skip
def test_name_of_a_room_shows_every_character(character):
    for name in (f"Gen{character}eral", character, f"{character}General", f"General{character}"):
        if name.strip() in ("", "General"):
            continue  # a blank around it, which is cut off
        with pytest.raises(BadRequestError):
            title(name, LIMITS)


@pytest.mark.parametrize(
    "name", ["Größe 1", "東京", "한국어", "Team 🚀", "Cafe\u0301", "שלום", "a\u00a0b"]
)
def test_name_of_a_room_is_in_any_language(name):
    assert title(name, LIMITS) == name


@pytest.mark.parametrize("name", ["\u034f", "\ufe0f", "\u180b \u17b4", "\u0301"], ids=ascii)
def test_name_of_a_room_is_more_than_marks(name):
    with pytest.raises(BadRequestError):
        title(name, LIMITS)


ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "value",
    ["👍", "👍🏽", "❤️", "👩‍❤️‍👨", "🏳️‍🌈", "🇦🇹", "1️⃣", "©️", "ℹ️", "↔️", "⌚", "Ⓜ️", "〰️", "㊙️", ENGLAND],
)
def test_emoji_is_one_of_a_keyboard(value):
    assert emoji(value, LIMITS) == value


@pytest.mark.parametrize(
    "value",
    ["\u2067", "\u2800", "\u3000", "\u2060", "\u3164", "\u2066\ufe0f", "\u202e", "あ", "\u302e", "\ufe0f",
     "👍👍", "a", "👍\u200d", "👍\U000e0061", ENGLAND[:-1], "👍" + "\u200d👍" * 5],
    ids=ascii,
)  # fmt: skip
def test_emoji_is_seen_and_is_no_text(value):
    with pytest.raises(BadRequestError):
        emoji(value, LIMITS)


@pytest.mark.parametrize(
    "value", [None, 4, "", "4", ID.replace("-", ""), ID[:-1] + "g", f"{{{ID[2:]}}}"]
)
def test_id_has_one_form(value):
    assert event_id(ID.upper(), LIMITS) == ID
    with pytest.raises(BadRequestError):
        event_id(value, LIMITS)


def test_kinds_are_those_of_rooms():
    assert set(KINDS) == set(Room.Kind.values)
