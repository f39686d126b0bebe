"""Lines of UTF-8 over TLS: a greeting that says who one is, and an echo of every line. No HTTP.

    server   Welcome, Alice Example (laptop). Every line comes back; quit ends.
    client   hello
    server   hello

What always holds:
  1. nothing is read from a peer before its certificate, and nothing else, has said who it is;
  2. whoever is nobody is told why in one line, and so is everybody whom we send away;
  3. an identity that ends, ends its connections: at once where this process hears of it, at the
     next heartbeat otherwise;
  4. each connection is in the log with how it ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from channels.db import database_sync_to_async
from django.db import DatabaseError
from django.utils import timezone
from twisted.internet.error import ConnectionAborted, ConnectionDone

from pki import identity
from pki.identity import Identity, IdentityError, NoCertificateError
from pki.signals import trust_changed

logger = logging.getLogger("project.tls")

LINE_BYTES = 4096
RATE, BURST = 10.0, 50  # lines a second in the long run, and at once
IDLE_SECONDS = 300.0
HEARTBEAT = 25.0
FAILURES = 2  # heartbeats in a row that may fail before everybody is sent away

WELCOME = "Welcome, {name}{device}. Every line comes back; quit ends."
NO_CERTIFICATE = "Your client sent no certificate."
GOODBYE = "Goodbye."
TOO_LONG = f"A line has at most {LINE_BYTES} bytes."
NO_TEXT = "Lines are text in UTF-8; this one was not."
SILENT = f"You have said nothing for {IDLE_SECONDS / 60:g} minutes."
STOPPING = "The server is stopping; come again in a minute."
UNKNOWN = "It cannot be looked up who you are at the moment; come again in a minute."
Result = TypeVar("Result")


def told(error: IdentityError) -> str:
    """Why somebody is nobody; it is no browser that speaks lines."""
    return NO_CERTIFICATE if isinstance(error, NoCertificateError) else str(error)


class People(Protocol):
    """What is asked of `pki.identity`."""

    def identify(self, *, chain: list[bytes], at: Any, endpoint: str | None) -> Identity: ...
    def refusals(self, identities: Iterable[Identity], *, at: Any) -> dict[str, IdentityError]: ...


class Doors:
    """Builds the protocol of what an endpoint serves."""

    def __init__(self, web: Any, lines: Lines | None = None) -> None:
        self._web, self._lines = web, lines or Lines()

    def buildProtocol(self, connection: Any) -> Any:
        if connection.settings.serves == "line":
            return Line(self._lines)
        return self._web.buildProtocol(None)


class Lines:
    """All line connections of this process."""

    def __init__(self, people: People = identity, *, heartbeat: float = HEARTBEAT) -> None:
        self._people, self._heartbeat = people, heartbeat
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat: asyncio.TimerHandle | None = None
        self._failures = 0
        self._turn = 0  # rises with every change of trust that is heard of
        trust_changed.connect(self._hear)

    async def identify(self, *, chain: list[bytes], endpoint: str) -> Identity:
        """Who that is, at a moment at which nothing was changing. Raises IdentityError."""
        while True:
            turn = self._turn
            found = await self._ask(self._people.identify, chain=chain, endpoint=endpoint)
            if turn == self._turn:
                return found

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._loop = asyncio.get_running_loop()
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def admit(self, line: Line) -> None:
        self._known.add(line)
        if self._beat is None:
            self._beat_later()

    def remove(self, line: Line) -> None:
        self._known.discard(line)
        if not self._known and self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _hear(self, **_: Any) -> None:
        """In whichever thread the change was made."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        self._turn += 1
        self.begin(self._recheck())

    def _beat_later(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self._heartbeat, self._on_beat)

    def _on_beat(self) -> None:
        self._beat_later()
        self.begin(self._recheck())

    async def _recheck(self) -> None:
        everybody = {line: line.identity for line in self._known if line.identity is not None}
        try:
            refused = await self._ask(self._people.refusals, list(everybody.values()))
        except DatabaseError as error:
            self._failures += 1
            logger.error("It cannot be checked who is on a line: %s", error)
            if self._failures >= FAILURES:
                for line in everybody:
                    line.end(UNKNOWN)
            return
        self._failures = 0
        for line, who in everybody.items():
            if who.sha256 in refused:
                line.end(str(refused[who.sha256]))

    async def _ask(self, question: Callable[..., Result], *what: Any, **more: Any) -> Result:
        ask = database_sync_to_async(partial(question, *what, at=timezone.now(), **more))
        return cast(Result, await ask())


class Line:
    """One connection, as `project.tls.connection` wants its protocol."""

    transport: Any

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.identity: Identity | None = None
        self._heard = b""
        self._count = 0
        self._tokens, self._filled_at = float(BURST), time.monotonic()
        self._is_held = self._is_congested = False
        self._idle: asyncio.TimerHandle | None = None
        self._wait: asyncio.TimerHandle | None = None
        self._since = time.monotonic()
        self._ending: str | None = None

    # --- What the connection calls ------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.pauseProducing()
        transport.registerProducer(self, True)
        self._lines.begin(self._greet())

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        self._answer()

    def connectionLost(self, reason: Any) -> None:
        self._lines.remove(self)
        for timer in (self._idle, self._wait):
            if timer is not None:
                timer.cancel()
        connection = self.transport.connection
        logger.info(
            "%s: line of %s from %s ended after %.0f s and %d lines: %s",
            connection.settings.name,
            self.identity.username if self.identity else "nobody",
            connection.peer[0],
            time.monotonic() - self._since,
            self._count,
            self._ending or _how(reason.value),
        )

    def pauseProducing(self) -> None:
        self._is_congested = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._is_congested = False
        self._answer()

    def stopProducing(self) -> None:
        pass

    # --- How it ends --------------------------------------------------------------------------

    def going_away(self) -> None:
        self.end(STOPPING)

    def sign_out(self, code: int, sentence: str) -> None:
        """Somebody wants this one connection to end."""
        self.end(sentence)

    def end(self, sentence: str, how: str | None = None) -> None:
        """Say so in a line, and close; only the first time counts."""
        if self._ending is None:
            self._ending = how or f"sent away: {sentence}"
            self._lines.remove(self)
            self._say(sentence)
            self.transport.loseConnection()

    # --- What is said -------------------------------------------------------------------------

    async def _greet(self) -> None:
        facts = self.transport.connection.facts
        chain = [facts.tls.certificate] if facts.tls and facts.tls.certificate else []
        try:
            known = await self._lines.identify(chain=chain, endpoint=facts.endpoint)
        except IdentityError as error:
            self.end(told(error))
            return
        except Exception:
            logger.exception("It could not be looked up who is on a line.")
            self.end(UNKNOWN)
            return
        if self._ending is None and self.transport.connection.is_open:
            self._welcome(known)

    def _welcome(self, known: Identity) -> None:
        self.identity = known
        self.transport.connection.note.user_id = known.user_id
        self._lines.admit(self)
        device = f" ({known.device})" if known.device else ""
        self._say(" ".join(WELCOME.format(name=known.name, device=device).split()))
        self._begin_silence()
        self._answer()

    def _answer(self) -> None:
        """Echo what is whole, as fast as the rate and the peer's own reading admit."""
        while self._ending is None and self.identity and not (self._is_held or self._is_congested):
            line, newline, rest = self._heard.partition(b"\n")
            if len(line) > LINE_BYTES:
                self.end(TOO_LONG)
            elif not newline:
                self.transport.resumeProducing()
                return
            elif self._may_pass():
                self._heard = rest
                self._echo(line.removesuffix(b"\r"))

    def _echo(self, line: bytes) -> None:
        self._count += 1
        self.transport.connection.note.heard()
        self._begin_silence()
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.end(NO_TEXT)
            return
        if text.strip().lower() == "quit":
            self.end(GOODBYE, how="the peer quit")
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        self.transport.connection.note.said()
        self.transport.write(text.encode() + b"\r\n")

    # --- How fast -----------------------------------------------------------------------------

    def _may_pass(self) -> bool:
        """Whether the rate admits a line now; if not, nothing more is read until it does."""
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        self._is_held = True
        self.transport.pauseProducing()
        loop = asyncio.get_running_loop()
        self._wait = loop.call_later((1 - self._tokens) / RATE, self._let_go)
        return False

    def _let_go(self) -> None:
        self._is_held = False
        self._answer()

    def _begin_silence(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.end, SILENT)


def _how(reason: Exception) -> str:
    if isinstance(reason, ConnectionDone):
        return "the peer hung up"
    if isinstance(reason, ConnectionAborted):
        return "cut here"
    return "broke off: " + " ".join(map(str, reason.args))  # Twisted's str() is a sermon
