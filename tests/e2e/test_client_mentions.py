"""The word under the caret, and whom or what it may mean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chat.fields import EMOJI
from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
PRELUDE = """
const { wordAt, completed, callsAll, meant } = mentions;
const word = (text) => wordAt(text, text.length);
const people = [[1, "alice", "Alice Ahlberg"], [2, "bob", "Bob Okafor"], [3, "jose", "José Bo"]]
  .map(([id, username, name]) => ({ id, username, name }));
const names = (query, others = []) => meant(query, { members: people, others, me: people[0] })
  .map(({ username, isOutside }) => username + (isOutside ? " outside" : ""));
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(mentions="chat/mentions.js", emoji="chat/emoji.js") as evaluate:
        yield lambda body: evaluate(PRELUDE + body)


def test_a_word_begins_at_a_sign_that_stands_free(run: Run) -> None:
    assert run("""
        const found = ["hi @al", "(@al", "@", ":smi", "me@al", "so:smi", "so: ", "8:30", ":s", "@al "];
        return found.map((text) => word(text)?.query ?? null);
    """) == ["al", "al", "", "smi", None, None, None, None, None, None]


def test_a_word_is_replaced_where_it_stands(run: Run) -> None:
    assert run("""
        const at = (text, caret) => completed(text, wordAt(text, caret), "@alice");
        return [at("hi @al", 6), at("hi @al there", 6)];
    """) == [{"text": "hi @alice ", "caret": 10}, {"text": "hi @alice there", "caret": 10}]


def test_people_are_found_by_username_and_by_any_of_their_names(run: Run) -> None:
    assert run('return [names("bo"), names("oka"), names("JOSE"), names("all"), names("")]') == [
        ["bob", "jose"],
        ["bob"],
        ["jose"],
        ["all"],
        ["bob", "jose", "all", "moderators"],
    ]


def test_who_is_not_in_the_room_comes_last_and_is_marked(run: Run) -> None:
    assert run("""
        const others = [{id: 9, username: "boris", name: "Boris"}, people[1]];
        return names("bo", others);
    """) == ["bob", "jose", "boris outside"]


def test_everybody_is_called_by_all_and_not_by_what_only_looks_like_it(run: Run) -> None:
    assert run("""
        return ["@all", "hey @all!", "@ALL", "me@all.org", "@allan", "`@all`", "```\\n@all\\n```", "all"]
          .map(callsAll);
    """) == [True, True, True, False, False, False, False, False]


def test_emoji_are_found_by_the_words_of_their_names(run: Run) -> None:
    assert run("""
        const found = (query) => emoji.findEmoji(query, 3).map(({ name }) => name);
        return [found("rocket"), found("thumbs up")[0], found("ship"), found("zzzz")];
    """) == [["rocket"], "thumbs_up", ["rocket"], []]


def test_the_server_takes_every_emoji_of_ours(run: Run) -> None:
    ours = run("return emoji.ALL.map(({ emoji, name }) => [name, emoji])")
    assert len(ours) == len({name for name, _ in ours}) == len({sign for _, sign in ours})
    assert [name for name, sign in ours if not EMOJI.match(sign)] == []
