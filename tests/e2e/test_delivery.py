"""An acknowledged message survives; every client ends with the same numbered log."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import websockets

from tests.e2e.server import Signet


class Client:
    """A chat client that follows the client rule: apply the next number, else ask for a sync."""

    def __init__(self, signet: Signet, identity: Path) -> None:
        self.signet, self.identity = signet, identity
        self.log: list[dict[str, Any]] = []
        self.replies: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def connect(self) -> None:
        self.socket = await websockets.connect(
            f"wss://localhost:{self.signet.main}/ws/chat/",
            ssl=self.signet.client_context(self.identity),
            subprotocols=[websockets.Subprotocol("signet.v1.json")],
        )
        ready = json.loads(await self.socket.recv())
        assert ready["ev"] == "ready", ready
        self.reader = asyncio.create_task(self._read())
        await self.catch_up()

    async def _read(self) -> None:
        async for frame in self.socket:
            message = json.loads(frame)
            if "ref" in message:
                self.replies.pop(message["ref"]).set_result(message)
            elif message.get("ev") == "event":
                self._apply(message)

    def _apply(self, event: dict[str, Any]) -> None:
        if event["seq"] == self.last + 1:
            self.log.append(event)

    @property
    def last(self) -> int:
        return int(self.log[-1]["seq"]) if self.log else 0

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        ref = str(uuid.uuid4())
        self.replies[ref] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"op": op, "ref": ref, **fields}))
        return await asyncio.wait_for(self.replies[ref], 20)

    async def catch_up(self) -> None:
        while True:
            reply = await self.ask("sync", rooms={"general": self.last})
            assert reply["ok"], reply
            for event in reply["rooms"]["general"]["events"]:
                self._apply(event)
            if not reply["rooms"]["general"]["more"]:
                return

    async def post(self, body: str) -> dict[str, Any]:
        return await self.ask("post", room="general", client_id=str(uuid.uuid4()), body=body)

    async def die(self) -> None:
        """Lose the connection without a goodbye."""
        self.socket.transport.abort()
        await asyncio.wait([self.reader])

    async def close(self) -> None:
        await self.socket.close()
        await asyncio.wait([self.reader])


def bodies(log: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["body"] for event in log if event["type"] == "message.posted"]


async def test_connection_killed_in_mid_stream_ends_with_the_same_log(signet: Signet) -> None:
    writer, steady, unlucky = (
        Client(signet, signet.issue(name)) for name in ("wanda", "stan", "una")
    )
    for client in (writer, steady, unlucky):
        await client.connect()
    before = len(bodies(steady.log))

    async def write() -> None:
        for number in range(60):
            reply = await writer.post(f"stream {number}")
            while not reply["ok"]:
                assert reply["error"]["code"] == "rate_limited", reply
                await asyncio.sleep(reply["error"]["retry_after"])
                reply = await writer.post(f"stream {number}")

    writing = asyncio.create_task(write())
    for _ in range(3):
        await asyncio.sleep(0.3)
        await unlucky.die()
        await unlucky.connect()
    await writing
    for client in (steady, unlucky):
        await client.catch_up()

    assert [event["id"] for event in steady.log] == [event["id"] for event in unlucky.log]
    assert [event["seq"] for event in steady.log] == list(range(1, steady.last + 1))
    assert bodies(steady.log)[before:] == [f"stream {number}" for number in range(60)]
    for client in (writer, steady, unlucky):
        await client.close()


async def test_acknowledged_post_survives_kill_9(own_signet: Signet) -> None:
    identity = own_signet.issue("alice")
    own_signet.start()
    alice = Client(own_signet, identity)
    await alice.connect()
    first = await alice.post("before the kill")
    assert first["ok"], first

    own_signet.kill()
    await asyncio.wait([alice.reader])
    own_signet.start()

    await alice.connect()
    second = await alice.post("after the kill")
    assert second["ok"], second
    fresh = Client(own_signet, identity)
    await fresh.connect()
    assert bodies(fresh.log) == ["before the kill", "after the kill"]
    assert [event["seq"] for event in fresh.log] == list(range(1, fresh.last + 1))
    await alice.close()
    await fresh.close()
