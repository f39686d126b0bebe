"""What is written behind a slash: commands, and how to write a slash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.modules import Run, modules

pytestmark = pytest.mark.browser
POST = {
    "hello": "hello",
    "  hello  ": "hello",
    "/usr/bin/python is a path": "/usr/bin/python is a path",
    "/": "/",
    "//topic is a command": "/topic is a command",
    "//me neither": "\\/me neither",
    "/me waves": "/me waves",
    "/ME  waves": "/me waves",
    "/shrug": "¯\\\\\\_(ツ)\\_/¯",
    "/shrug why not": "why not ¯\\\\\\_(ツ)\\_/¯",
}
COMMANDS: dict[str, dict[str, Any]] = {
    "/invite @bob": {"name": "invite", "users": ["bob"]},
    "/invite @bob, carol": {"name": "invite", "users": ["bob", "carol"]},
    "/topic What we do": {"name": "topic", "topic": "What we do"},
    "/join summer-party": {"name": "join", "room": "summer-party"},
    "/leave": {"name": "leave"},
    "/help": {"name": "help"},
}
WRONG = {
    "/invite": "Say whom",
    "/topic": "what this room is for",
    "/topic one\ntwo": "one line",
    "/join": "which room",
    "/leave now": "no more words",
    "/me": "what you do",
    "/bogus": "There is no command /bogus",
    "/constructor": "There is no command /constructor",
}


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with modules(commands="chat/commands.js") as evaluate:
        yield evaluate


@pytest.fixture(scope="module")
def parsed(run: Run) -> dict[str, Any]:
    texts = [*POST, *COMMANDS, *WRONG]
    results = run(f"return {json.dumps(texts)}.map(commands.parseCommand)")
    return dict(zip(texts, results, strict=True))


@pytest.mark.parametrize("text", POST)
def test_a_message_is_what_is_no_command(parsed: dict[str, Any], text: str) -> None:
    assert parsed[text] == {"name": "post", "body": POST[text]}


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_read_with_its_words(parsed: dict[str, Any], text: str) -> None:
    assert parsed[text] == COMMANDS[text]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_command_is_answered_in_words(parsed: dict[str, Any], text: str) -> None:
    assert parsed[text]["name"] == "wrong"
    assert WRONG[text] in parsed[text]["sentence"]


def test_every_command_that_is_listed_is_known(run: Run) -> None:
    listed = "commands.COMMANDS.map(({ usage }) => commands.parseCommand(usage).name)"
    assert "wrong" not in run(f"return {listed}")
