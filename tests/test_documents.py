"""Commands that the documents name exist, with the options they are given there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

DOCS = sorted((Path(__file__).resolve().parents[1] / "docs").rglob("*.md"))
NAMED = re.compile(r"manage\.py (\w+)([^`\n]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def commands_in(path: Path) -> list[tuple[str, list[str]]]:
    found = NAMED.findall(path.read_text())
    return [(name, OPTION.findall(rest)) for name, rest in found]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_in_a_document_exist_with_their_options(path):
    for name, options in commands_in(path):
        assert name in get_commands(), f"{path.name} names {name}"
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(options) <= known, f"{path.name}: {name} {set(options) - known}"


def test_cheat_sheet_and_trust_stores_name_their_commands():
    named = {name for path in DOCS for name, _ in commands_in(path)}
    assert {
        *("create_ca", "issue_certificate", "request_certificate", "verify_certificate"),
        *("export_truststore", "import_anchor", "import_crl", "adopt_certificate"),
        *("revoke_certificate", "publish_crl"),
    } <= named
