"""From a request to the verb it asks for, and to the fields of the reply: for every door."""

from __future__ import annotations

import datetime as dt
from functools import singledispatch

from chat import services
from chat.errors import UnknownOpError
from chat.protocol import (
    Create,
    History,
    Join,
    Leave,
    Ping,
    Post,
    Read,
    Request,
    Sync,
    Typing,
    Wire,
)
from pki.identity import Identity


@singledispatch
def perform(request: Request, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    """Do what is asked, as the actor. Raises the ChatError that says why not."""
    raise UnknownOpError


@perform.register
def _(request: Post, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    written = services.post_message(
        actor=actor,
        room=request.room,
        client_id=request.client_id,
        body=request.body,
        reply_to=request.reply_to,
        at=at,
    )
    return written.reply


@perform.register
def _(request: Sync, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    return services.sync(actor=actor, rooms=request.rooms, limit=request.limit)


@perform.register
def _(request: History, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    return services.history(
        actor=actor, room=request.room, before=request.before, limit=request.limit
    )


@perform.register
def _(request: Read, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    services.mark_read(actor=actor, room=request.room, seq=request.seq, connection=connection)
    return {}


@perform.register
def _(request: Typing, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    services.show_typing(actor=actor, room=request.room)
    return {}


@perform.register
def _(request: Create, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    written = services.create_room(
        actor=actor,
        room=request.room,
        name=request.name,
        kind=request.kind,
        members=request.members,
        at=at,
    )
    return written.reply


@perform.register
def _(request: Join, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    return services.join(actor=actor, room=request.room, at=at).reply


@perform.register
def _(request: Leave, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    return services.leave(actor=actor, room=request.room, at=at).reply


@perform.register
def _(request: Ping, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    return {}
