from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest
from django.core.exceptions import DisallowedHost
from django.core.handlers.exception import convert_exception_to_response
from django.test import RequestFactory

from project.logs import HideTokens, hide_odd_names


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


@pytest.mark.parametrize(
    ("error", "where", "said"),
    [
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), b"\xff.example", []),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), None, ["UnicodeDecodeError"]),
        (ValueError("no"), b"\xff.example", ["ValueError"]),
    ],
)
def test_only_a_server_name_that_is_none_goes_without_a_stack_trace(
    error, where, said, monkeypatch
):
    heard = []
    monkeypatch.setattr(
        sys, "__unraisablehook__", lambda one: heard.append(type(one.exc_value).__name__)
    )
    hide_odd_names(SimpleNamespace(exc_value=error, object=where))

    assert heard == said


def test_request_for_a_host_that_is_not_ours_is_one_line_that_names_the_setting(caplog):
    request = RequestFactory().get("/", headers={"host": "chat.example.test"})
    with caplog.at_level("WARNING", logger="django.security.DisallowedHost"):
        response = get_response(request)

    assert response.status_code == 400
    (record,) = (one for one in caplog.records if one.name == "django.security.DisallowedHost")
    assert logging.Formatter().format(record) == (
        "A request for 'chat.example.test' got 400: pages are served under the names in "
        "SIGNET_HOST alone."
    )


def get_response(request):
    def refused(_request):
        raise DisallowedHost("Invalid HTTP_HOST header. You may need to add it to ALLOWED_HOSTS.")

    return convert_exception_to_response(refused)(request)
