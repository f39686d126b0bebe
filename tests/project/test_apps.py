"""What the parts bring to each other when the process begins."""

from __future__ import annotations

import pytest

from chat.models import Attachment, Event, Message, Room
from pki import upkeep
from project.models import Export

pytestmark = pytest.mark.django_db


def test_files_that_nobody_posted_are_removed_by_the_upkeep(people, at, settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    room = Room.objects.create(slug="den", name="Den", kind="private")
    hours_ago = at.replace(year=at.year - 1)
    Attachment.objects.create(room=room, uploader=people.bob, size=1, created_at=hours_ago)
    Attachment.objects.create(room=room, uploader=people.bob, size=1, created_at=at)
    duty = upkeep.DUTIES["remove files that nobody posted"]
    assert duty(at) == 1
    assert Attachment.objects.count() == 1


def test_messages_expire_by_the_upkeep(people, at):
    room = Room.objects.create(
        slug="den", name="Den", kind="private", last_seq=1, retention_days=30
    )
    long_ago = at.replace(year=at.year - 1)
    event = Event.objects.create(
        room=room, seq=1, type="message.posted", by=people.bob, at=long_ago, data={"body": "hi"}
    )
    Message.objects.create(event=event, room=room, seq=1, author=people.bob, at=long_ago, body="hi")
    assert upkeep.DUTIES["let messages expire"](at) == 1
    assert Message.objects.get().body == ""


def test_exports_go_by_the_upkeep(at, settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    Export.objects.create(subject="bob", made_by="admin", at=at.replace(year=at.year - 1), size=1)
    upkeep.DUTIES["remove exports after a week"](at)
    assert not Export.objects.exists()
