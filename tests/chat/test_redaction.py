"""What is left of a message whose content goes."""

from __future__ import annotations

import pytest

from chat import messages, pins, reactions
from chat.models import Attachment, Event, Mention, Message, Reaction, Room
from chat.redaction import redact
from tests.chat.verbs import post

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("word", ["deleted", "expired"])
def test_number_and_client_id_are_left(cast, den, at, word):
    file = Attachment.objects.create(
        room=Room.objects.get(slug=den), uploader_id=cast.bob.user_id, name="secret.txt",
        media_type="text/plain", size=5, complete=True,
    )  # fmt: skip
    other = str(post(cast.alice, den, at=at).event.pk)
    event = post(
        cast.bob, den, "secret @alice https://a.example `x`", client_id="c1", reply_to=other,
        thread=other, attachments=(str(file.pk),), at=at,
    ).event  # fmt: skip
    about = {"room": den, "message": str(event.pk), "at": at}
    reactions.add_reaction(actor=cast.bob, **about, emoji="👍")
    pins.pin_message(actor=cast.alice, **about)
    messages.edit_message(actor=cast.bob, **about, body="secret too @all")
    kept = post(cast.alice, den, "kept @bob", at=at).event

    redact(Message.objects.get(pk=event.pk), word=word, at=at)

    assert Event.objects.get(pk=event.pk).data == {
        "client_id": "c1", "reply_to": other, "thread": other, word: True,
    }  # fmt: skip
    assert not [e.data for e in Event.objects.all() if "secret" in str(e.data)]
    row = Message.objects.get(pk=event.pk)
    assert (row.body, row.pinned_at, getattr(row, f"{word}_at")) == ("", None, at)
    flags = (row.has_link, row.has_code, row.has_file, row.has_image)
    assert flags == (False, False, False, False)
    assert not Reaction.objects.exists()
    assert not Attachment.objects.exists()
    assert [mention.message_id for mention in Mention.objects.all()] == [kept.pk]
    assert Event.objects.get(pk=kept.pk).data["body"] == "kept @bob"
