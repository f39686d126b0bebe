"""From a request to the verb it asks for, and to the fields of the reply: for every door."""

from __future__ import annotations

import datetime as dt

from chat import (
    certificates,
    directory,
    hub,
    members,
    messages,
    moderation,
    pins,
    reactions,
    reading,
    rooms,
    search,
)
from chat.errors import UnknownOpError
from chat.protocol import Wire
from chat.requests import (
    Ban,
    Certificates,
    Change,
    Create,
    Delete,
    Edit,
    History,
    Invite,
    Join,
    Leave,
    Members,
    Notify,
    People,
    Pin,
    Pins,
    Post,
    Presence,
    React,
    Read,
    Remove,
    Report,
    Request,
    Role,
    Rooms,
    Search,
    Sync,
    Thread,
    Typing,
    Unban,
    Unpin,
    Unreact,
)
from pki.identity import Identity


def perform(request: Request, *, actor: Identity, at: dt.datetime, connection: str = "") -> Wire:
    """Do what is asked, as the actor. Raises the ChatError that says why not.

    `ping` asks for nothing; the session answers it.
    """
    match request:
        case Post(room=room, client_id=client_id, body=body):
            return messages.post_message(
                actor=actor,
                room=room,
                client_id=client_id,
                body=body,
                reply_to=request.reply_to,
                thread=request.thread,
                attachments=request.attachments,
                at=at,
            ).reply
        case Edit(room=room, message=message, body=body):
            return messages.edit_message(
                actor=actor, room=room, message=message, body=body, at=at
            ).reply
        case Delete(room=room, message=message, reason=reason):
            return messages.delete_message(
                actor=actor, room=room, message=message, reason=reason, at=at
            ).reply
        case React(room=room, message=message, emoji=emoji):
            return reactions.add_reaction(
                actor=actor, room=room, message=message, emoji=emoji, at=at
            ).reply
        case Unreact(room=room, message=message, emoji=emoji):
            return reactions.remove_reaction(
                actor=actor, room=room, message=message, emoji=emoji, at=at
            ).reply
        case Pin(room=room, message=message):
            return pins.pin_message(actor=actor, room=room, message=message, at=at).reply
        case Unpin(room=room, message=message):
            return pins.unpin_message(actor=actor, room=room, message=message, at=at).reply
        case Sync(rooms=positions, limit=limit):
            return reading.sync(actor=actor, rooms=positions, limit=limit)
        case History(room=room, before=before, limit=limit):
            return reading.history(actor=actor, room=room, before=before, limit=limit)
        case Thread(room=room, message=message):
            return reading.thread(actor=actor, room=room, message=message)
        case Pins(room=room):
            return reading.pins(actor=actor, room=room)
        case Read(room=room, seq=seq):
            reading.mark_read(actor=actor, room=room, seq=seq, connection=connection)
            return {}
        case Typing(room=room):
            reading.show_typing(actor=actor, room=room)
            return {}
        case Presence(state=state):
            hub.show_presence(user_id=actor.user_id, connection=connection, state=state)
            return {}
        case Certificates(serials=serials):
            return certificates.certificates(actor=actor, serials=serials, at=at)
        case Create(room=room, name=name, kind=kind, members=others, description=description):
            return rooms.create_room(
                actor=actor,
                room=room,
                name=name,
                kind=kind,
                members=others,
                description=description,
                at=at,
            ).reply
        case Join(room=room):
            return rooms.join(actor=actor, room=room, at=at).reply
        case Leave(room=room):
            return rooms.leave(actor=actor, room=room, at=at).reply
        case Change(room=room):
            return rooms.change_room(
                actor=actor,
                room=room,
                name=request.name,
                description=request.description,
                posting=request.posting,
                slow_seconds=request.slow_seconds,
                archived=request.archived,
                at=at,
            ).reply
        case Invite(room=room, user=user):
            return members.invite(actor=actor, room=room, user=user, at=at).reply
        case Remove(room=room, user=user):
            return members.remove(actor=actor, room=room, user=user, at=at).reply
        case Ban(room=room, user=user, reason=reason):
            return members.ban(actor=actor, room=room, user=user, reason=reason, at=at).reply
        case Unban(room=room, user=user):
            return members.unban(actor=actor, room=room, user=user, at=at).reply
        case Role(room=room, user=user, role=role):
            return members.change_role(actor=actor, room=room, user=user, role=role, at=at).reply
        case Notify(room=room, level=level):
            members.set_notices(actor=actor, room=room, level=level)
            return {}
        case Members(room=room):
            return directory.members(actor=actor, room=room)
        case Rooms(query=query):
            return directory.public_rooms(actor=actor, query=query)
        case People(query=query):
            return directory.people(query=query)
        case Search(query=query, room=where, before=before_id):
            return search.search(actor=actor, query=query, room=where, before=before_id, at=at)
        case Report(room=room, message=message, reason=reason):
            moderation.report(actor=actor, room=room, message=message, reason=reason, at=at)
            return {}
        case _:
            raise UnknownOpError
