"""People who write, change, delete and react without a pause, whatever happens to the server.

A member of the crowd is a whole client: what it asked is asked again until it is answered, and its
log follows the client rule of docs/protocol.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import time
import uuid
from typing import Any

import websockets

Event = dict[str, Any]
ANSWER = 15  # seconds until a connection that does not answer counts as dead
PAUSE = 0.4  # seconds between two things that somebody does, about
FINAL = {"not_found", "not_allowed", "bad_request", "client_id_conflict"}
KEPT = ("client_id", "thread", "reply_to")


class Log:
    """One room as a client knows it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.at: dict[str, int] = {}
        self.held: dict[int, Event] = {}
        self.head = 0

    @property
    def last(self) -> int:
        return len(self.events)

    def take(self, event: Event) -> None:
        self.head = max(self.head, event["seq"])
        if event["seq"] > self.last:
            self.held[event["seq"]] = event
        while (following := self.held.pop(self.last + 1, None)) is not None:
            self.at[following["id"]] = self.last
            self.events.append(following)
            if following["type"] == "message.deleted":
                self._blank(following["data"]["message"])

    def _blank(self, message: str) -> None:
        """What a deleted message said is gone from the log of who was told, too."""
        for number, event in enumerate(self.events):
            data = event["data"]
            if event["id"] == message:
                left = {key: data[key] for key in KEPT if key in data}
                self.events[number] = {**event, "data": {**left, "deleted": True}}
            elif event["type"] == "message.edited" and data["message"] == message:
                blank = {"message": message, "deleted": True}
                self.events[number] = {**event, "data": blank}


class Member:
    """One client of somebody's. `posted` are the messages that it was told are stored."""

    def __init__(self, url: str, context: ssl.SSLContext, rooms: list[str], seed: int) -> None:
        self.url, self.context = url, context
        self.logs = {room: Log() for room in rooms}
        self.random = random.Random(seed)
        self.posted: dict[str, str] = {}  # client id → event id
        self.asked: set[str] = set()
        self.own: list[tuple[str, str]] = []  # room and event id
        self.refused: list[str] = []
        self.connections = 0
        self.socket: websockets.ClientConnection | None = None
        self._replies: dict[str, asyncio.Future[Event]] = {}
        self._ready = asyncio.Event()

    # --- Connection ---

    async def stay(self) -> None:
        """Be connected, again and again, until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                await self._once()
            self._lost()
            await asyncio.sleep(self.random.uniform(0.1, 1.0))

    async def _once(self) -> None:
        async with websockets.connect(
            self.url,
            ssl=self.context,
            subprotocols=[websockets.Subprotocol("signet.v1.json")],
            open_timeout=ANSWER,
            close_timeout=1,
            max_size=None,
        ) as socket:
            self.socket = socket
            async for frame in socket:
                self._hear(json.loads(frame))

    def abort(self) -> None:
        """Lose the connection without a goodbye."""
        if self.socket is not None:
            self.socket.transport.abort()

    def _lost(self) -> None:
        self._ready.clear()
        self.socket = None
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError())
        self._replies.clear()

    def _hear(self, message: Event) -> None:
        if "ref" in message:
            reply = self._replies.pop(message["ref"], None)
            if reply is not None and not reply.done():
                reply.set_result(message)
        elif message["ev"] == "ready":
            self.connections += 1
            for room in message["rooms"]:
                self._told(room["room"], room["head"])
            self._ready.set()
        elif message["ev"] == "event" and message["room"] in self.logs:
            self.logs[message["room"]].take(message)
        elif message["ev"] == "heads":
            for room, head in message["rooms"].items():
                self._told(room, head)

    def _told(self, room: str, head: int) -> None:
        if room in self.logs:
            self.logs[room].head = max(self.logs[room].head, head)

    async def ask(self, op: str, **fields: Any) -> Event:
        """The answer, however often it has to be asked for."""
        while True:
            await self._ready.wait()
            ref = uuid.uuid4().hex
            reply = self._replies[ref] = asyncio.get_running_loop().create_future()
            try:
                assert self.socket is not None
                await self.socket.send(json.dumps({"op": op, "ref": ref, **fields}))
                answer: Event = await asyncio.wait_for(reply, ANSWER)
            except TimeoutError:
                self.abort()
                continue
            except (AssertionError, OSError, websockets.WebSocketException):
                await asyncio.sleep(0.1)
                continue
            if answer["ok"] or answer["error"]["code"] in FINAL:
                return answer
            await asyncio.sleep(answer["error"].get("retry_after", 0.3))

    # --- What is missing ---

    async def catch_up(self) -> None:
        """Ask for what the log lacks, again and again, until cancelled."""
        while True:
            await asyncio.sleep(0.2)
            await self.complete()

    async def complete(self) -> None:
        """Ask until nothing is known to be missing."""
        while behind := {r: log.last for r, log in self.logs.items() if log.last < log.head}:
            answer = await self.ask("sync", rooms=behind)
            for room, part in answer.get("rooms", {}).items():
                for event in part.get("events", ()):
                    self.logs[room].take(event)

    # --- What they do ---

    async def live(self, until: float) -> None:
        """Do something every now and then; what was begun is brought to its end."""
        while time.monotonic() < until:
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE))
            room = self.random.choice(list(self.logs))
            await self.random.choices(
                [self._post, self._edit, self._delete, self._react, self._unreact],
                weights=[50, 15, 8, 17, 10],
            )[0](room)

    async def _post(self, room: str) -> None:
        client_id = uuid.uuid4().hex
        self.asked.add(client_id)
        body = f"message {len(self.asked)} of *{id(self)}*"
        answer = await self.ask("post", room=room, client_id=client_id, body=body)
        if self._done(answer):
            self.posted[client_id] = answer["event"]["id"]
            self.own.append((room, answer["event"]["id"]))

    async def _edit(self, _room: str) -> None:
        if self.own:
            room, message = self.random.choice(self.own)
            body = f"changed {self.random.random()}"
            self._done(await self.ask("edit", room=room, message=message, body=body))

    async def _delete(self, _room: str) -> None:
        if len(self.own) > 3:
            room, message = self.own.pop(self.random.randrange(len(self.own)))
            self._done(await self.ask("delete", room=room, message=message))

    async def _react(self, room: str, op: str = "react") -> None:
        events = self.logs[room].events[-30:]
        messages = [e["id"] for e in events if e["type"] == "message.posted"]
        if messages:
            fields = {
                "message": self.random.choice(messages),
                "emoji": self.random.choice("👍🎉👀"),
            }
            self._done(await self.ask(op, room=room, **fields))

    async def _unreact(self, room: str) -> None:
        await self._react(room, "unreact")

    def _done(self, answer: Event) -> bool:
        # Somebody else may have deleted what one was about to change.
        if not answer["ok"] and answer["error"]["code"] not in ("not_found", "not_allowed"):
            self.refused.append(str(answer["error"]))
        return bool(answer["ok"])
