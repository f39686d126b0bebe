"""From a request to the verb it asks for, and to the fields of the reply: for every door."""

from __future__ import annotations

import datetime as dt

from chat import services
from chat.errors import UnknownOpError
from chat.protocol import Create, History, Join, Leave, Post, Read, Request, Sync, Typing, Wire
from pki.identity import Identity


def perform(request: Request, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    """Do what is asked, as the actor. Raises the ChatError that says why not.

    `ping` asks for nothing; the session answers it.
    """
    match request:
        case Post(room=room, client_id=client_id, body=body, reply_to=reply_to):
            return services.post_message(
                actor=actor, room=room, client_id=client_id, body=body, reply_to=reply_to, at=at
            ).reply
        case Sync(rooms=rooms, limit=limit):
            return services.sync(actor=actor, rooms=rooms, limit=limit)
        case History(room=room, before=before, limit=limit):
            return services.history(actor=actor, room=room, before=before, limit=limit)
        case Read(room=room, seq=seq):
            services.mark_read(actor=actor, room=room, seq=seq, connection=connection)
            return {}
        case Typing(room=room):
            services.show_typing(actor=actor, room=room)
            return {}
        case Create(room=room, name=name, kind=kind, members=members):
            return services.create_room(
                actor=actor, room=room, name=name, kind=kind, members=members, at=at
            ).reply
        case Join(room=room):
            return services.join(actor=actor, room=room, at=at).reply
        case Leave(room=room):
            return services.leave(actor=actor, room=room, at=at).reply
        case _:
            raise UnknownOpError
