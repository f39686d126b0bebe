from __future__ import annotations

import logging

import pytest

from project.logs import HideTokens


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("Internal Server Error: %s", ("/enrol/F9KuhADnHHdGb-FyV_Uz/",)),
        ("GET https://localhost:8444/enrol/F9KuhADnHHdGb-FyV_Uz/?x=1", ()),
        ("{'path': '/enrol/F9KuhADnHHdGb-FyV_Uz'}", ()),
    ],
)
def test_token_of_an_enrolment_link_reaches_no_log(message, arguments):
    record = logging.LogRecord("x", logging.ERROR, "f", 1, message, arguments, None)
    HideTokens().filter(record)

    assert "F9KuhADnHHdGb" not in record.getMessage()
    assert "/enrol/…" in record.getMessage()


def test_other_lines_stay_as_they_are():
    record = logging.LogRecord("x", logging.INFO, "f", 1, "enrol %s", ("alice",), None)
    HideTokens().filter(record)

    assert record.getMessage() == "enrol alice"
