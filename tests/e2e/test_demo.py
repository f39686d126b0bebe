"""The invented organisation: it fills, it serves, and its browsers are let in."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.e2e.browser import ARGUMENTS, chosen_certificates
from tests.e2e.server import Signet
from tests.services import require

pytestmark = pytest.mark.browser
CONNECTED = """
from project.models import LiveConnection
print(*sorted(set(LiveConnection.objects.exclude(user=None).values_list("user__username", flat=True))))
"""
COUNTED = """
from chat.models import Attachment, Event, Room
print(Room.objects.count(), Event.objects.count(), Attachment.objects.filter(complete=True).count())
"""


def test_demo_fills_serves_and_opens_two_browsers(tmp_path: Path) -> None:
    for tool in ("chromium", "certutil", "pk12util"):
        require(tool)
    signet = Signet(tmp_path / "var")
    signet.manage("migrate", "--verbosity", "0")
    browser = " ".join(["chromium", "--headless=new", *ARGUMENTS])
    command = (sys.executable, "manage.py", "demo", "--share", "0.05", "--browser", browser)
    try:
        with chosen_certificates():
            signet.start(*command)
            until = time.monotonic() + 60
            while signet.shell(CONNECTED).split() != ["alice", "bob"]:
                assert time.monotonic() < until, signet.log.read_text()
                time.sleep(1)
        rooms, events, files = map(int, signet.shell(COUNTED).split())
        assert rooms >= 8
        assert events > 200
        assert files == 2
    finally:
        signet.stop()
    done = signet.manage("demo", "--no-browser", "--help")
    assert "invented organisation" in done.stdout
