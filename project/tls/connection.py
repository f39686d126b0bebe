"""One accepted socket: handshake, data both ways, back-pressure, and a clean end.

    HANDSHAKE → OPEN → FLUSHING → LINGERING → CLOSED
        └──────────────────┘ a failed handshake sends its alert on the same way out

FLUSHING hands over what was written before `close()`. LINGERING has sent close_notify and FIN and
reads on for a moment: closing at once would answer bytes still under way with a reset, and a reset
can overtake the alert or the close frame we have just sent.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from project.tls import tally
from project.tls.advice import HUNG_UP
from project.tls.channel import CHUNK, Channel, PlainChannel, TLSChannel
from project.tls.failures import reason_of
from project.tls.note import Note
from project.tls.origin import Origin, SocketName
from project.tls.transport import Transport

if TYPE_CHECKING:
    from project.tls import scope
    from project.tls.endpoint import Endpoint

HIGH_WATER, LOW_WATER = 256 * 1024, 64 * 1024
LINGER_SECONDS = 2.0
STALL_SECONDS = 30.0  # a peer that takes nothing for so long is gone
PLAIN_HTTP = {"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"}
USE_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 55\r\n"
    b"Connection: close\r\n\r\nThis port speaks HTTPS. Write https:// in the address.\n"
)


class State(enum.Enum):
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    FLUSHING = enum.auto()
    LINGERING = enum.auto()
    CLOSED = enum.auto()


class Connection(asyncio.Protocol):
    origin: Origin

    def __init__(self, endpoint: Endpoint, factory: Any) -> None:
        self._endpoint, self._factory = endpoint, factory
        self.settings = endpoint.settings  # as they are now, whatever changes later
        self._contexts = endpoint.contexts
        self._state, self._loop = State.HANDSHAKE, asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pending: deque[memoryview] = deque()
        self._pending_bytes = 0
        self._handed = self._progress = 0  # bytes given to the socket; how far it was last seen
        self._progress_at = 0.0
        self._is_writable, self._reads, self._peer_is_done = True, True, False
        self._waiters: list[asyncio.Future[None]] = []
        self._abort_wanted = False
        self._fault: str | None = None  # what TLS found wrong after the handshake
        self._socket: asyncio.Transport
        self._channel: Channel = PlainChannel()
        self.transport: Transport | None = None
        self.extensions: dict[str, Any] = {}  # for the ASGI scope, once the handshake is complete
        self.facts: scope.Connection | None = None  # so too
        self.note: Note | None = None

    # --- what the transport and the server use ------------------------------------------------

    @property
    def peer(self) -> SocketName:
        return self.origin.peer

    @property
    def host(self) -> SocketName:
        return self.origin.host

    @property
    def is_open(self) -> bool:
        return self._state is State.OPEN

    @property
    def is_done(self) -> bool:
        """Everything has been handed over; only the peer's own goodbye may be missing."""
        return self._state in (State.LINGERING, State.CLOSED)

    @property
    def is_leaving(self) -> bool:
        """The endpoint or the server goes: what has begun is finished, and nothing new begins."""
        return self._endpoint.is_gone

    @property
    def is_congested(self) -> bool:
        return not self._is_writable

    def backlog(self) -> int:
        """Bytes that this process still holds for the peer."""
        return self._pending_bytes + self._socket.get_write_buffer_size()

    async def drain(self, *, limit: int = 0) -> None:
        """Wait until the socket takes data again and at most `limit` bytes of backlog are left, or
        the connection is over."""
        while self.is_open and not self._is_writable and self.backlog() > limit:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def write(self, data: bytes) -> None:
        if self.is_open and data:
            self._pending.append(memoryview(data))
            self._pending_bytes += len(data)
            self._pump()

    def close(self) -> None:
        """Hand over what was written, say goodbye, close."""
        if self._state in (State.HANDSHAKE, State.OPEN):
            self._leave()

    def abort(self) -> None:
        if self._state is not State.CLOSED:
            self._abort_wanted = True
            self._socket.abort()

    def pause_reading(self) -> None:
        if self.is_open and self._reads:
            self._reads = False
            if not self._peer_is_done:
                self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self.is_open and not self._reads:
            self._reads = True
            if not self._peer_is_done:
                self._socket.resume_reading()
            self._loop.call_soon(self._deliver)  # what was decrypted before the pause

    # --- what the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        self._socket.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self.origin = Origin(self._endpoint, transport, complain=self.complain)
        if self._endpoint.is_full(self.peer[0]):
            self._socket.abort()
            return
        self._endpoint.connections.add(self)
        if not self.origin.is_taken():
            self.abort()
            return
        if self._contexts:
            self._channel = TLSChannel(self._contexts)
        self._timer = self._loop.call_later(
            self.settings.handshake_seconds, self._handshake_is_late
        )
        if not self.settings.tls and not self.origin.is_to_be_told:
            self._shake()

    def data_received(self, data: bytes) -> None:
        if self.origin.is_to_be_told:
            rest = self.origin.read(data)
            if rest is None:
                self.abort()
            if rest is None or self.origin.is_to_be_told:
                return
            data = rest
        if self._state in (State.HANDSHAKE, State.OPEN) and data:
            self._channel.feed(data)
        if self._state is State.HANDSHAKE:
            self._shake()
        self._deliver()

    def eof_received(self) -> bool:
        if self._state is State.HANDSHAKE:
            if self._socket_was_used() or self.origin.has_spoken:
                self.complain(HUNG_UP)
            self.abort()
        elif self._state is State.OPEN:
            self._peer_said_goodbye()
        elif self._state is State.LINGERING:
            self._socket.close()
        self._peer_is_done = True
        return True  # we may still have something to say

    def pause_writing(self) -> None:
        self._is_writable = False
        if self.transport is not None and self.transport.producer is not None:
            self.transport.producer.pauseProducing()
        self._watch_progress()

    def resume_writing(self) -> None:
        self._is_writable = True
        self._pump()
        self._wake()
        if self._is_writable and self.transport is not None and self.transport.producer is not None:
            self.transport.producer.resumeProducing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._state is State.HANDSHAKE and self._socket_was_used():
            self.complain(HUNG_UP)
        was_open, self._state = self.transport is not None, State.CLOSED
        self._endpoint.connections.discard(self)
        self.origin.leave()
        self._cancel_timer()
        self._forget_pending()
        self._wake()
        if was_open and self.transport is not None:
            self.transport.protocol.connectionLost(Failure(self._why(exc)))
            self.transport.producer = None

    # --- handshake ----------------------------------------------------------------------------

    def _shake(self) -> None:
        try:
            is_complete = self._channel.handshake()
        except ssl.SSLError as error:
            self._handshake_failed(error)
            return
        self._flush()
        if is_complete:
            self._open()

    def _open(self) -> None:
        facts = self._channel.facts()
        if facts and facts.resumed and self.settings.client_certificate != "none":
            self.complain("the session was resumed", "That never happens here; please report it.")
            self.abort()
            return
        if self._trust_is_outdated():
            # The certificate was checked against what was true a moment ago: let it come again.
            self.complain("trust changed during the handshake", "The client may try again at once.")
            self._leave()
            return
        if not self._endpoint.opened(self, facts):
            self._leave()
            return
        self._cancel_timer()
        self._state = State.OPEN
        protocol = self._factory.buildProtocol(self)
        self.transport = Transport(self, protocol)
        protocol.makeConnection(self.transport)
        if self._endpoint.is_gone:
            protocol.going_away()

    def _trust_is_outdated(self) -> bool:
        """Whether this endpoint relies on the handshake, and would judge by other CRLs by now."""
        if self._contexts is None or self.settings.client_certificate != "required":
            return False
        now = self._endpoint.contexts
        return now is None or now.trust != self._contexts.trust

    def _handshake_failed(self, error: ssl.SSLError) -> None:
        reason = reason_of(error)
        self.complain(reason)
        if reason in PLAIN_HTTP:
            self._channel.take()  # an alert would be noise to this client
            self._socket.write(USE_HTTPS)
        self._leave()

    def _handshake_is_late(self) -> None:
        self.complain(f"not complete after {self.settings.handshake_seconds:g} s")
        self.abort()

    def complain(self, reason: str, advice: str | None = None) -> None:
        """Write down what is wrong with this peer; where there is no advice, the reason has one."""
        tally.count("handshakes", self.settings.name, reason)
        self._endpoint.failures.record(
            endpoint=self.settings.name,
            peer=f"{self.peer[0]}:{self.peer[1]}",
            reason=reason,
            advice=advice,
            heard=self._channel.heard(),
        )

    def _socket_was_used(self) -> bool:
        """Whether we have answered anything; a mere port check is not worth a line in the log."""
        return self._handed > 0

    # --- data ---------------------------------------------------------------------------------

    def _deliver(self) -> None:
        try:
            while self.is_open and self._reads and self.transport is not None:
                data = self._channel.read()
                if data is None:
                    break
                if not data:
                    self._peer_said_goodbye()
                    return
                self.transport.protocol.dataReceived(data)
        except ssl.SSLError as error:  # a broken record or the peer's alert; ours may go out
            self._fault = reason_of(error)
            self._forget_pending()
            self._leave()
            return
        if self.is_open:
            self._flush()  # TLS may have had something to answer

    def _pump(self) -> None:
        """Encrypt as much as the socket will take; the rest waits as it is."""
        while self._pending and self._is_writable:
            part = self._pending.popleft()
            if len(part) > CHUNK:
                self._pending.appendleft(part[CHUNK:])
                part = part[:CHUNK]
            self._pending_bytes -= len(part)
            self._channel.write(part)
            self._flush()
        if self._state is State.FLUSHING and not self._pending:
            self._say_goodbye()

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._pending_bytes = 0

    def _flush(self) -> None:
        data = self._channel.take()
        if data:
            self._handed += len(data)
            self._socket.write(data)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- the end ------------------------------------------------------------------------------

    def _peer_said_goodbye(self) -> None:
        """The peer sends no more. A protocol that knows about half-closed connections may finish
        its answer; for every other one the connection is over."""
        if self._peer_is_done:
            return
        self._peer_is_done = True
        finish = getattr(self.transport and self.transport.protocol, "readConnectionLost", None)
        if finish is not None:
            finish()
        else:
            self._leave()

    def _leave(self) -> None:
        self._state = State.FLUSHING
        self._wake()
        if not self._peer_is_done:
            self._socket.resume_reading()
        self._watch_progress()
        self._pump()

    def _say_goodbye(self) -> None:
        self._state = State.LINGERING
        self._channel.close()
        self._flush()
        self._channel = PlainChannel()  # TLS is over, and what it holds is much: 300 kB and more
        try:
            self._socket.close() if self._peer_is_done else self._socket.write_eof()
        except OSError:  # the peer has reset the connection already
            self._socket.abort()

    def _watch_progress(self) -> None:
        if self._state is not State.CLOSED:
            self._cancel_timer()
            self._progress = self._taken()
            self._progress_at = self._loop.time()
            self._timer = self._loop.call_later(LINGER_SECONDS, self._check_progress)

    def _check_progress(self) -> None:
        """Ends a connection whose peer takes nothing more, or does not hang up when we are done."""
        left, taken, now = self.backlog(), self._taken(), self._loop.time()
        if taken != self._progress:
            self._progress, self._progress_at = taken, now
        patience = STALL_SECONDS if left else LINGER_SECONDS
        if self.is_open and self._is_writable:
            self._timer = None
        elif now - self._progress_at >= patience - 0.01:
            self.abort() if left else self._socket.close()
        else:
            self._timer = self._loop.call_later(LINGER_SECONDS, self._check_progress)

    def _taken(self) -> int:
        """Bytes of ours that the kernel has taken since the beginning."""
        return self._handed - self._socket.get_write_buffer_size()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _why(self, exc: Exception | None) -> Any:
        if self._abort_wanted:
            return ConnectionAborted()
        fault = str(exc) if exc else self._fault
        return ConnectionLost(fault) if fault else ConnectionDone()
