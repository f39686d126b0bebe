"""Names that look like another's, and names that mix scripts."""

from __future__ import annotations

import pytest

from chat import lookalikes
from chat.lookalikes import Flag, flags, is_mixed, skeleton
from pki.models import User
from tests import factories

CYRILLIC_A = "\u0430"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", f"{CYRILLIC_A}lice"),
        ("coco", "\u0441\u043e\u0441\u043e"),  # Cyrillic alone
        ("Al", "AI"),
        ("modern", "rnodern"),
        ("Alice", "Ａｌｉｃｅ"),
        ("Alice", "Ali\u200bce"),
        ("Ann  Lee", "Ann\u00a0Lee"),
        ("b0b", "bOb"),
    ],
)
def test_skeletons_of_names_that_look_alike_are_the_same(one, other):
    assert skeleton(one) == skeleton(other)


def test_skeletons_of_different_names_differ():
    names = ["alice", "alicia", "Zoë", "Zoe", "bob", "rob", "李", "Анна", "Hanna", "clement"]
    assert len({skeleton(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{CYRILLIC_A}lice", True),
        ("Αlice", True),
        ("Alice Иванова", False),
        ("Zoë O’Neil-Çelik", False),
        ("山田たろう", False),
        ("김Kim", False),
        ("R2-D2 №7", False),
        ("", False),
    ],
)
def test_word_of_several_scripts_is_mixed(name, expected):
    assert is_mixed(name) is expected


def test_both_who_look_alike_are_flagged_with_the_other():
    people = [(1, "alice", "Alice"), (2, "alice2", "ALICE"), (3, "bob", "Bob")]
    assert flags(people) == {1: Flag("lookalike", of="alice2"), 2: Flag("lookalike", of="alice")}


def test_name_that_is_the_username_of_another_is_flagged():
    assert flags([(1, "alice", "Alice Long"), (2, "mallory", "a1ice")])[2].of == "alice"


def test_own_name_that_looks_like_the_own_username_is_no_reason():
    assert flags([(1, "alice", "Alice"), (2, "bob", "")]) == {}


def test_mixed_name_is_flagged():
    (flag,) = flags([(1, "mallory", f"B{CYRILLIC_A}rbara")]).values()
    assert flag.wire == {"flag": "mixed"}


@pytest.mark.django_db
class TestOfAccounts:
    def test_names_are_looked_at_once(self, people, django_assert_num_queries):
        with django_assert_num_queries(1):
            for _ in range(3):
                assert lookalikes.flag_of(people.alice.pk) is None
                assert lookalikes.flag_of(people.bob.pk) is None

    def test_new_account_is_noticed_without_being_told(self, people):
        assert lookalikes.flag_of(people.alice.pk) is None
        twin = factories.make_person("mallory", name="AIice")
        assert lookalikes.flag_of(twin.pk) == Flag("lookalike", of="alice")
        assert lookalikes.flag_of(people.alice.pk) == Flag("lookalike", of="mallory")

    def test_closed_account_resembles_nobody(self, people):
        twin = factories.make_person("mallory", name="AIice", is_active=False)
        assert lookalikes.flag_of(twin.pk) is None
        assert lookalikes.flag_of(people.alice.pk) is None

    def test_change_is_seen_once_one_has_forgotten(self, people):
        assert lookalikes.flag_of(people.bob.pk) is None
        User.objects.filter(pk=people.bob.pk).update(name="Αlice")
        lookalikes.forget()
        assert lookalikes.flag_of(people.bob.pk) == Flag("lookalike", of="alice")
