"""How what a message said leaves the log for good. Its number stays, and says so.

What always holds: nothing of the text is left in the log or beside it, and a repeat of the post is
still known by its `client_id`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Literal

from django.db.models import Q

from chat import attachments
from chat.models import Attachment, Event, Mention, Message, Reaction
from chat.protocol import Wire

KEPT = ("client_id", "reply_to", "thread")
Word = Literal["deleted", "expired"]


def redact(message: Message, *, word: Word, at: dt.datetime) -> None:
    """Empty the post and its edits, and drop files, reactions, mentions and pin, in the caller's
    transaction and under the room's lock. Who is to hear of it is the caller's to tell."""
    redact_many([message.pk], word=word, at=at)


def redact_many(messages: Sequence[uuid.UUID], *, word: Word, at: dt.datetime) -> None:
    """The same for many messages of one room, given by the ids of their events."""
    edits = Q(message__in=messages, type=Event.Type.MESSAGE_EDITED)
    events = list(Event.objects.filter(Q(pk__in=messages) | edits))
    for event in events:
        event.data = _rest(event) | {word: True}
    Event.objects.bulk_update(events, ["data"], batch_size=200)
    Reaction.objects.filter(message__in=messages).delete()
    Mention.objects.filter(message__in=messages).delete()
    with_files = Attachment.objects.filter(message__in=messages).values("message")
    for message in Message.objects.filter(pk__in=with_files):
        attachments.discard(message)
    Message.objects.filter(pk__in=messages).update(
        body="",
        pinned_at=None,
        has_link=False,
        has_code=False,
        has_file=False,
        has_image=False,
        **{f"{word}_at": at},
    )


def _rest(event: Event) -> Wire:
    if event.type == Event.Type.MESSAGE_EDITED:
        return {"message": str(event.message_id)}
    return {name: event.data[name] for name in KEPT if name in event.data}
