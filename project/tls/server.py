"""Daphne on ports of our own: how it listens, what a scope tells, and how it stops."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from daphne.server import Server as DaphneServer
from twisted.internet import reactor
from twisted.logger import LogLevel, globalLogPublisher

from project import logs
from project.tls import forwarded
from project.tls.binding import Sockets
from project.tls.http import Factory
from project.tls.inbox import Inbox, Message
from project.tls.limits import Limits
from project.tls.line import Doors
from project.tls.listeners import Listeners, Wanted
from project.tls.scope import TLS, tls_extension
from project.tls.websocket import WebSocket

logger = logging.getLogger("project.tls")

MESSAGE_BYTES = 64 * 1024
SEND_BACKLOG = 1024 * 1024
CLOSE_SECONDS = 5.0
DRAIN_SECONDS = 5.0

Application = Callable[..., Awaitable[None]]
Background = Callable[[Listeners], Coroutine[Any, Any, None]]


class Server(DaphneServer):
    """Serves `application` on what is `wanted`. `background` runs beside it until the server stops
    accepting, `throughout` until its last connection has gone. `parting` goes to the log first when
    it stops."""

    def __init__(
        self,
        application: Application,
        *,
        wanted: Sequence[Wanted],
        background: Background | None = None,
        throughout: Background | None = None,
        ready: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        sockets: Sockets | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        parting: str = "Stopping.",
    ) -> None:
        super().__init__(
            application,
            endpoints=["ours"],  # Daphne insists on one; these strings it would parse itself
            signal_handlers=False,
            ready_callable=self._begin,
            server_name="",
            websocket_timeout=-1,
            websocket_connect_timeout=10,
            ping_interval=25,
            ping_timeout=20,
            websocket_max_message_size=MESSAGE_BYTES,
            websocket_max_frame_size=MESSAGE_BYTES,
        )
        self.endpoints: list[str] = []
        self.ports = Listeners(sockets)
        self._patience, self._parting = drain_seconds, parting
        self._wanted, self._background, self._ready = wanted, background, ready
        self._throughout = throughout
        self._limits = limits or Limits.from_settings()
        self._stopping: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._last_task: asyncio.Task[None] | None = None

    # --- begin and end ------------------------------------------------------------------------

    def _begin(self) -> None:
        """Just before the event loop runs. A port that cannot be had raises ListenError here."""
        loop = asyncio.get_event_loop()
        globalLogPublisher.addObserver(_log_failures)
        sys.unraisablehook = logs.hide_odd_names
        self.http_factory = Factory(self, self._limits)
        self.ws_factory.protocol = WebSocket
        self.ws_factory.setProtocolOptions(
            versions=[13],
            allowNullOrigin=False,
            failByDrop=True,  # stop reading at once; how that looks is for WebSocket to say
            echoCloseCodeReason=True,
            closeHandshakeTimeout=CLOSE_SECONDS,
        )
        self.ports.factory = Doors(self.http_factory)
        loop.run_until_complete(self.ports.start(self._wanted))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        if self._background is not None:
            self._tasks.append(loop.create_task(self._background(self.ports)))
        if self._throughout is not None:
            self._last_task = loop.create_task(self._throughout(self.ports))
        self._ready()

    def _on_signal(self, number: int) -> None:
        if self._stopping is not None:
            logger.warning("Stopping at once.")
            os._exit(128 + number)
        self.leave()

    def leave(self) -> None:
        """Begin to stop; nothing happens if that has begun already."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        """Accept no more, let answers finish and sockets close, then end."""
        logger.info(self._parting)
        for task in self._tasks:
            task.cancel()
        await self.ports.stop(patience=self._patience)
        if self._last_task is not None:
            self._last_task.cancel()
            await asyncio.wait([self._last_task])
        reactor.stop()

    def application_checker(self) -> None:
        """Daphne's once-a-second round. An error in it must not make it the last one."""
        try:
            super().application_checker()
        except Exception:
            logger.exception("The round of the applications was cut short.")
            reactor.callLater(1, self.application_checker)

    def kill_all_applications(self) -> Any:
        """Daphne's own trips over a connection without an application."""
        for details in self.connections.values():
            if (task := details.get("application_instance")) is not None:
                task.cancel()

    # --- one request or WebSocket -------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Inbox:
        """The one place where a scope is completed and an application begins."""
        connection = protocol.transport.connection
        scope["asgi"] = {"version": "3.0"}
        scope["extensions"] = dict(connection.extensions)
        ends_at_proxy = connection.settings.proxy == "header"
        secure = "s" if connection.settings.tls or ends_at_proxy else ""
        if scope["type"] == "websocket":
            scope["scheme"] = "ws" + secure
            scope["extensions"]["websocket.http.response"] = {}
            scope["subprotocols"] = list(protocol.websocket_protocols)  # Daphne unquotes them
            connection.note.kind = "socket"
        else:
            scope["scheme"] = "http" + secure
            connection.note.heard()
        application = self._as_the_proxy_says(connection, scope) if ends_at_proxy else None
        scope["headers"] = forwarded.strip(scope["headers"])
        inbox = Inbox(connection, connection.note)
        send = partial(self._send, protocol, connection)
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(
            (application or self.application)(scope, inbox.get, send)
        )
        return inbox

    def _as_the_proxy_says(self, connection: Any, scope: dict[str, Any]) -> Application | None:
        """Complete the scope of this one request: the next on the connection may be somebody
        else's. Returns what answers instead of the application where it is not said well."""
        headers, settings = scope["headers"], connection.settings
        connection.note.user_id = None
        if not connection.origin.may_speak():
            if scope["type"] == "http":  # a socket that is refused is closed anyway
                connection.transport.protocol.going_away()
            return forwarded.refusal(403, "This is not one of the proxies of this endpoint.")
        scope["server"] = [scope["server"][0], forwarded.port(headers)]
        address = forwarded.client(headers)
        scope["client"] = [address, 0] if address else None  # never the proxy's own: it is trusted
        is_alone = scope["type"] == "websocket"  # it has the connection to itself from now on
        if is_alone and address and not connection.origin.speaks_for(address):
            return forwarded.refusal(503, "There are too many connections from your address.")
        if settings.client_certificate == "none":
            return None
        try:
            certificate = forwarded.certificate(headers)
        except forwarded.ForwardedError as error:
            connection.complain(str(error), forwarded.REPLACE_IT)
            return forwarded.refusal(400, str(error))
        tls = TLS(version="", cipher="", certificate=certificate)
        extension = tls_extension(tls, server_certificate=b"", at=dt.datetime.now(dt.UTC))
        scope["extensions"]["tls"] = extension
        return None

    async def _send(self, protocol: Any, connection: Any, message: Message) -> None:
        """Pass a message on; wait while the peer is far behind, so that memory stays bounded."""
        await self.handle_reply(protocol, message)
        if message["type"] in ("websocket.send", "http.response.start"):
            connection.note.said()
        if message["type"] == "websocket.send":
            await connection.drain(limit=SEND_BACKLOG)
        elif message["type"] == "http.response.body":
            await connection.drain()


def _log_failures(event: dict[str, Any]) -> None:
    """Twisted's own log is off (autobahn writes a line for whatever a peer does wrong), but an
    error that nobody handled must be seen."""
    if event.get("log_level") == LogLevel.critical and "log_failure" in event:
        logger.error("Unhandled error: %s", event["log_failure"].getTraceback())
