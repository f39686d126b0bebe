"""Connections of a hub that write down what they are sent, and what happens while they listen."""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async

from chat.connection import Connection
from chat.protocol import JSON, Limits
from tests.chat import verbs

database = sync_to_async


class Ear:
    """A connection of the hub with a socket that writes everything down."""

    def __init__(self, identity, *, codec=JSON, limits=None):
        self.sent = []
        self.backlog = 0
        self.on_send = None
        self.connection = Connection(
            identity=identity,
            codec=codec,
            transmit=self.transmit,
            backlog=lambda: self.backlog,
            limits=limits or Limits(),
        )

    async def transmit(self, message):
        if self.on_send is not None:
            await self.on_send()
        self.sent.append(message)

    def frames(self, ev=None):
        found = [
            self.connection.codec.decode(m.get("text", m.get("bytes")))
            for m in self.sent
            if m["type"] == "websocket.send"
        ]
        if ev is None:  # who is there comes in its own time: see test_company
            return [frame for frame in found if frame["ev"] != "presence"]
        return [frame for frame in found if frame["ev"] == ev]

    @property
    def seqs(self):
        return [frame["seq"] for frame in self.frames("event")]

    @property
    def code(self):
        return next((m["code"] for m in self.sent if m["type"] == "websocket.close"), None)


async def settled(subject):
    """Until nothing is under way but waiting."""
    async with asyncio.timeout(30):
        await asyncio.sleep(0.005)
        while len(subject._tasks) > 1:  # the heartbeat; the line has nothing to listen to
            await asyncio.sleep(0.005)


async def post(actor, room, at, count=1):
    def work():
        for _ in range(count):
            verbs.post(actor, room, at=at)

    await database(work)()
