"""The console's visitors, as in the tests of the other pages, and a message that was reported."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from chat import messages, moderation, rooms
from chat.models import Report
from tests.factories import make_identity
from tests.pki.admin.conftest import clerk, console, no_lockouts

__all__ = ["clerk", "console", "no_lockouts"]

WORDS = "<script>alert('rude')</script> words"


@pytest.fixture
def reported(pki, people):
    at = timezone.now()
    alice, bob = (make_identity(one, pki.issuing) for one in (people.alice, people.bob))
    rooms.create_room(actor=alice, room="den", name="Den", kind="private", members=["bob"], at=at)
    posted = messages.post_message(
        actor=alice, room="den", client_id=str(uuid.uuid4()), body=WORDS, at=at
    )
    moderation.report(
        actor=bob, room="den", message=str(posted.event.pk), reason="this is rude", at=at
    )
    return Report.objects.get()
