"""200 people's sockets chat on while certificate and trust store change beneath them."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any

import websockets

from tests.certs import make_ca
from tests.e2e.server import Signet

SOCKETS, PEOPLE = 200, 4  # a person may have 50
PAUSE = 40.0  # seconds between two messages of one socket; 200 hear each of them
ISSUED = """
from django.utils import timezone
from pki import enrolment, people
from pki.handout import Format
for number in range({count}):
    user = people.create_person(actor="test", username=f"chatter-{{number}}", at=timezone.now())
    made = enrolment.hand_out(
        actor="test", user=user, device="laptop", format=Format.PEM, password=None, at=timezone.now()
    )
    open(f"{folder}/{{number}}.pem", "wb").write(made.handout.content)
"""
CHANGED = """
import ssl
from pathlib import Path
from django.utils import timezone
from pki import endpoints, truststore
from pki.models import Endpoint
row = Endpoint.objects.get(name="main")
made = endpoints.renew_certificate(
    actor="test", endpoint=row, hosts=["localhost", "127.0.0.1"], at=timezone.now()
)
root = ssl.PEM_cert_to_DER_cert(Path("{anchor}").read_text())
truststore.add_anchor(
    actor="test", truststore=row.truststore, certificate=root, at=timezone.now()
)
print(made.sha256)
"""
WITHDRAWN = """
from django.utils import timezone
from pki import truststore
from pki.models import Anchor
anchor = Anchor.objects.get(subject="CN=Partner CA")
truststore.withdraw_anchor(actor="test", anchor=anchor, at=timezone.now())
"""


class Chatter:
    """Posts, and hears everything that is said."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self.posted: set[str] = set()
        self.acknowledged: dict[str, int] = {}
        self.heard: list[int] = []

    async def chat(self, number: int, until: asyncio.Event) -> None:
        await asyncio.sleep(number * PAUSE / SOCKETS)
        while not until.is_set():
            await self.post()
            await asyncio.wait([asyncio.ensure_future(until.wait())], timeout=PAUSE)

    async def post(self) -> None:
        said = str(uuid.uuid4())
        self.posted.add(said)
        order = {"op": "post", "ref": said, "room": "general", "client_id": said, "body": said}
        await self.connection.send(json.dumps(order))

    async def listen(self) -> None:
        async for frame in self.connection:
            message = json.loads(frame)
            if "ref" in message:
                assert message["ok"], message
                self.acknowledged[message["ref"]] = message["event"]["seq"]
            elif message.get("ev") == "event" and message["type"] == "message.posted":
                self.heard.append(message["seq"])


def test_nobody_drops_out_of_a_reload_and_the_next_handshake_sees_it(
    own_signet: Signet, tmp_path: Path
) -> None:
    own_signet.shell(ISSUED.format(count=PEOPLE, folder=tmp_path))
    people = [tmp_path / f"{number}.pem" for number in range(PEOPLE)]
    foreign = make_ca("Partner CA")
    (tmp_path / "partner.pem").write_bytes(foreign.pem)
    partner = foreign.issue("partner").write_pem(tmp_path / "partner-client.pem")
    own_signet.start()
    asyncio.run(reload(own_signet, people, partner, tmp_path / "partner.pem"))
    assert "Traceback" not in own_signet.log.read_text()


async def reload(signet: Signet, people: list[Path], partner: Path, anchor: Path) -> None:
    contexts = [signet.client_context(identity) for identity in people]
    chatters = [await connect(signet, contexts[n % PEOPLE]) for n in range(SOCKETS)]
    done = asyncio.Event()
    listening = [asyncio.create_task(chatter.listen()) for chatter in chatters]
    chatting = [
        asyncio.create_task(chatter.chat(number, done)) for number, chatter in enumerate(chatters)
    ]
    before = await asyncio.to_thread(served, signet)
    assert await asyncio.to_thread(shown, signet, partner) == "refused"

    renewed = (await asyncio.to_thread(signet.shell, CHANGED.format(anchor=anchor))).strip()
    assert sha256(before).hexdigest() != renewed
    await eventually(lambda: sha256(served(signet)).hexdigest() == renewed, "the old certificate")
    await eventually(lambda: shown(signet, partner) == "let in", "the anchor is not trusted")
    await asyncio.to_thread(signet.shell, WITHDRAWN)
    await eventually(lambda: shown(signet, partner) == "refused", "the anchor is still trusted")

    done.set()
    await asyncio.gather(*chatting)
    await settled(chatters)
    pongs = [await chatter.connection.ping() for chatter in chatters]
    await asyncio.wait_for(asyncio.gather(*pongs), 60)
    assert [chatter for chatter in chatters if chatter.connection.close_code is not None] == []
    everything = sorted(seq for chatter in chatters for seq in chatter.acknowledged.values())
    assert len(everything) == sum(len(chatter.posted) for chatter in chatters)
    for chatter in chatters:
        assert [seq for seq in chatter.heard if seq in set(everything)] == everything
    for chatter in chatters:
        await chatter.connection.close()
    await asyncio.gather(*listening)


async def connect(signet: Signet, context: ssl.SSLContext) -> Chatter:
    connection = await websockets.connect(
        f"wss://localhost:{signet.main}/ws/chat/",
        ssl=context,
        subprotocols=[websockets.Subprotocol("signet.v1.json")],
    )
    ready = json.loads(await connection.recv())
    assert ready["ev"] == "ready", ready
    return Chatter(connection)


async def settled(chatters: list[Chatter]) -> None:
    """Everything that was posted is acknowledged and has reached everybody."""
    everything = sum(len(chatter.posted) for chatter in chatters)
    for _ in range(600):
        known = sum(len(chatter.acknowledged) for chatter in chatters)
        if known == everything and all(len(c.heard) >= everything for c in chatters):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{known} of {everything} acknowledged")


async def eventually(condition: Any, otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.1)


def served(signet: Signet) -> bytes:
    """The server certificate of a new handshake."""
    with handshake(signet, signet.client_context()) as tls:
        return tls.getpeercert(binary_form=True) or b""


def shown(signet: Signet, identity: Path) -> str:
    """What becomes of a new connection with this certificate."""
    try:
        with handshake(signet, signet.client_context(identity)) as tls:
            tls.sendall(b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return "let in" if tls.recv(1) else "refused"
    except ssl.SSLError as error:
        return "refused" if "UNKNOWN_CA" in str(error) else str(error)


def handshake(signet: Signet, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", signet.main), timeout=30)
    return context.wrap_socket(plain, server_hostname="localhost")
