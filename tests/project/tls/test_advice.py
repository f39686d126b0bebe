from __future__ import annotations

import re
from pathlib import Path

import pytest

from project.tls import advice

PAGE = Path(__file__).resolve().parents[3] / "docs" / "handshakes.md"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("CRL has expired", "manage.py publish_crl"),
        ("unsuitable certificate purpose", "not meant for clients"),
        ("not complete after 10 s", "A scanner"),
        ("certificate revoked", "somebody else may be trying it"),
        ("never heard of", advice.OTHERWISE),
    ],
)
def test_each_reason_has_its_advice(reason, said):
    assert said in advice.advice(reason)


def test_table_of_the_documentation_is_the_one_of_the_code():
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text(), re.M)

    assert dict(rows) == advice.ADVICE
