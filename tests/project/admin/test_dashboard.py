"""The console's first page counts open reports for those who may see them."""

from __future__ import annotations

import pytest

from chat.models import Report
from tests.pki.admin.conftest import text_of

URL = "/console/chat/report/?state__exact=open"


def test_open_reports_are_counted_and_lead_to_their_list(console, reported):
    response = console.get("/console/")
    number = response.context["numbers"][0]
    assert (number.label, number.value, number.url, number.tone) == ("Open reports", 1, URL, "warn")
    assert f'href="{URL}"' in response.content.decode()
    assert "this is rude" in text_of(console.get(URL))

    Report.objects.update(state="upheld")
    number = console.get("/console/").context["numbers"][0]
    assert (number.value, number.tone) == (0, "")
    assert "this is rude" not in text_of(console.get(URL))


@pytest.mark.parametrize(
    ("right", "is_shown"), [("view_report", True), ("moderate_report", True), ("view_room", False)]
)
def test_who_may_not_see_reports_is_not_told_how_many(clerk, reported, right, is_shown):
    labels = [number.label for number in clerk(right).get("/console/").context["numbers"]]
    assert labels == (["Open reports"] if is_shown else [])
