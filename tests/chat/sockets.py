"""Chat clients without a network: they speak to the consumers directly."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from chat import hub, protocol
from chat.routing import websocket_urlpatterns

application = URLRouter(websocket_urlpatterns)
PATIENCE = 30  # seconds; a machine may be busy


class Closed(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Socket(WebsocketCommunicator):
    """Waits for longer than a second: by giving up it would end the application."""

    async def connect(self, timeout: float = PATIENCE) -> Any:
        return await super().connect(timeout)

    async def receive_output(self, timeout: float = PATIENCE) -> Any:
        return await super().receive_output(timeout)

    async def disconnect(self, code: int = 1000, timeout: float = PATIENCE) -> None:
        await super().disconnect(code, timeout)


class Client:
    """One socket of somebody's. `backlog` is what its network has not taken yet."""

    def __init__(self, identity: Any, *, path: str = "/ws/chat/", offer: list[str] | None = None):
        self.backlog = 0
        offered = ["signet.v1.json"] if offer is None else offer
        self.socket = Socket(application, path, subprotocols=offered)
        self.socket.scope["identity"] = identity
        self.socket.scope["extensions"] = {
            "websocket.http.response": {},
            "signet.connection": SimpleNamespace(backlog=lambda: self.backlog),
        }
        self.refs = itertools.count(1)
        self.pushed: list[dict[str, Any]] = []
        self.company: dict[str, str] = {}  # who is there, as last told
        self.codec: protocol.Codec | None = None

    async def open(self) -> dict[str, Any]:
        accepted, subprotocol = await self.socket.connect()
        assert accepted
        self.codec = protocol.CODECS.get(subprotocol)
        return await self.next()

    async def next(self) -> dict[str, Any]:
        """The next frame; raises Closed. Who is there comes in its own time and is kept apart."""
        assert self.codec is not None
        while True:
            message = self.codec.decode(await self.raw())
            if message.get("ev") != "presence":
                return message
            self.company |= message["people"]

    async def raw(self) -> Any:
        output = await self.socket.receive_output()
        if output["type"] == "websocket.close":
            raise Closed(output["code"], output["reason"])
        return output["text"] if "text" in output else output["bytes"]

    async def closed(self) -> int:
        """Read on until the server closes; the code."""
        try:
            while True:
                await self.raw()
        except Closed as closed:
            return closed.code

    async def send(self, frame: Any) -> None:
        await self.socket.send_input(
            {"type": "websocket.receive", "text" if isinstance(frame, str) else "bytes": frame}
        )

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Request and wait for the reply; what is pushed meanwhile is kept."""
        assert self.codec is not None
        ref = next(self.refs)
        await self.send(self.codec.encode({"op": op, "ref": ref, **fields}))
        while True:
            message = await self.next()
            if message.get("ref") == ref:
                return message
            self.pushed.append(message)

    async def push(self, ev: str) -> dict[str, Any]:
        """The next push of a kind, from those kept or still to come."""
        while True:
            message = self.pushed.pop(0) if self.pushed else await self.next()
            if message.get("ev") == ev:
                return message

    async def events(self, count: int) -> list[int]:
        """The numbers of the next events, in the order in which they come."""
        return [(await self.push("event"))["seq"] for _ in range(count)]

    async def is_quiet(self, *, seconds: float = 0.3) -> bool:
        """Nothing more was pushed, and nothing is within a while."""
        if self.pushed:
            return False
        if self.codec is None:
            return bool(await self.socket.receive_nothing(timeout=seconds))
        try:
            async with asyncio.timeout(seconds):
                self.pushed.append(await self.next())
        except TimeoutError:
            return True
        return False

    async def leave(self) -> None:
        await self.socket.disconnect()


@asynccontextmanager
async def connected(*identities: Any, **options: Any):
    """Clients that have had `ready`, which is kept as `client.ready`."""
    clients = [Client(identity, **options) for identity in identities]
    try:
        for client in clients:
            client.ready = await client.open()
        yield clients
    finally:
        for client in clients:
            await client.leave()
        await asyncio.sleep(0)
        assert not hub.current().people, "every connection is forgotten"
