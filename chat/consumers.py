"""Sockets: the cable between a session, the verbs and the hub."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone

from chat import hub, lanes, log, protocol, rooms
from chat.connection import Connection
from chat.denial import deny
from chat.dispatch import perform
from chat.errors import ChatError, UnavailableError
from chat.protocol import IDENTITY_CLOSES, CloseCode, Codec, Frame, Limits, Wire
from chat.requests import Request
from chat.session import Close, Perform, Session
from chat.standing import Standing, standings, with_mentions
from pki.identity import Identity, IdentityError, recheck

logger = logging.getLogger(__name__)


class SocketConsumer(AsyncWebsocketConsumer):
    """What chat and echo share: who may be here, and how a socket ends."""

    channel_layer_alias = ""  # no channel of its own: news comes through the hub
    connection: Connection | None = None
    limits = Limits()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also when the server gives up on it, or it fails
            if self.connection is not None:
                self.hub.remove(self.connection)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Channels would look for stale database connections in a thread before every event;
        # a lane does so wherever one is used.
        await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def refuse_handshake(self, reason: str) -> None:
        await deny(self.scope, self.base_send, status=400, reason=reason)
        raise StopConsumer

    async def enter(self, codec: Codec, subprotocol: str | None) -> Connection | None:
        """Accept first and close then, so that a browser learns why."""
        await self.accept(subprotocol)
        identity = self.scope["identity"]
        if isinstance(identity, IdentityError):
            await self.close(IDENTITY_CLOSES[identity.code], str(identity))
            return None
        self.hub = hub.current()
        endpoint = self.scope.get("extensions", {}).get("signet.connection")
        connection = Connection(
            identity=identity,
            codec=codec,
            transmit=self.base_send,
            backlog=getattr(endpoint, "backlog", int),
            limits=self.limits,
        )
        try:
            self.hub.admit(connection)
        except hub.TooManyConnectionsError:
            await connection.close(CloseCode.TOO_MANY_CONNECTIONS)
            return None
        self.connection = connection
        return connection

    async def end(self, error: IdentityError) -> None:
        assert self.connection is not None
        await self.hub.close(self.connection, IDENTITY_CLOSES[error.code], str(error))


class ChatConsumer(SocketConsumer):
    async def connect(self) -> None:
        codec = protocol.choose(self.scope["subprotocols"])
        if codec is None:
            offer = " or ".join(protocol.CODECS)
            await self.refuse_handshake(f"Offer the WebSocket subprotocol {offer}.")
            return
        connection = await self.enter(codec, codec.name)
        if connection is None:
            return
        now = self.hub.clock()
        self.session = Session(codec=codec, limits=self.limits, pace=connection.pace, now=now)
        try:
            identity, rooms, epoch = await lanes.READING.run(_open, connection.identity)
        except IdentityError as error:
            await self.end(error)
        except Exception:
            logger.exception("A connection could not be opened.")
            await self.hub.close(connection, CloseCode.OVERLOADED)
        else:
            await self.begin(connection, identity, rooms, epoch)

    async def begin(
        self, connection: Connection, identity: Identity, rooms: list[Standing], epoch: str
    ) -> None:
        ready = self.session.open(
            user=protocol.person(identity.user_id, identity.username, identity.name),
            certificate={
                "serial": identity.serial,
                "sha256": identity.sha256,
                "not_after": protocol.moment(identity.not_after),
            },
            rooms=[standing.wire for standing in rooms],
            heartbeat=self.hub.heartbeat,
            epoch=epoch,
        )
        await connection.reply(ready.frame)
        self.hub.open(connection, rooms)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        connection = self.connection
        if connection is None or connection.is_closed:
            return
        text = message.get("text")
        frame: Frame = text if text is not None else message["bytes"]
        for effect in self.session.receive(frame, now=self.hub.clock()):
            if isinstance(effect, Close):
                await self.hub.close(connection, effect.code)
            elif isinstance(effect, Perform):
                await self.perform(connection, effect.request)
            else:
                await connection.reply(effect.frame)

    async def perform(self, connection: Connection, request: Request) -> None:
        try:
            lane = lanes.lane_of(request)
            result = await lane.run(_perform, connection.identity, request, connection.key)
        except IdentityError as error:
            await self.end(error)
            return
        except ChatError as error:
            reply = self.session.refuse(request.ref, error)
        except Exception:
            logger.exception("“%s” failed.", request.op)
            reply = self.session.refuse(request.ref, UnavailableError())
        else:
            reply = self.session.succeed(request, result)
        await connection.reply(reply.frame)


class EchoConsumer(SocketConsumer):
    """Sends back what it gets. It has no frame to say “too fast” with, so it slows down instead."""

    async def connect(self) -> None:
        await self.enter(protocol.JSON, None)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        connection = self.connection
        if connection is None:
            return
        text = message.get("text")
        frame: Frame = text if text is not None else message["bytes"]
        if protocol.size(frame) > self.limits.frame_bytes:
            await self.hub.close(connection, CloseCode.TOO_LARGE)
            return
        while not connection.is_closed and (wait := connection.pace.take(self.hub.clock())):
            await asyncio.sleep(wait)
        await connection.reply(frame)


def _open(proven: Identity) -> tuple[Identity, list[Standing], str]:
    at = timezone.now()
    identity = recheck(proven, at=at)
    rooms.join_default_rooms(actor=identity, at=at)
    return identity, with_mentions(standings([identity.user_id])), log.epoch()


def _perform(proven: Identity, request: Request, connection: str) -> Wire:
    at = timezone.now()
    identity = recheck(proven, at=at)
    return perform(request, actor=identity, at=at, connection=connection)
