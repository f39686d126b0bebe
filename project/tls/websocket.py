"""Daphne's WebSocket, with what ASGI and RFC 6455 say and it leaves out.

Denial responses, headers of `websocket.accept`, the reason of a close, every close code that RFC
6455 lets a server send, empty messages, close frames (not a reset) for what the peer does wrong, and
deafness after that. No extension is negotiated (docs/performance.md says what compression costs).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from autobahn.util import encode_truncate
from daphne.ws_protocol import WebSocketProtocol

CLOSE_REASON_BYTES = 123
FRAMES_PER_SECOND, FRAMES_BURST = 200, 1000
FORBIDDEN_CODES = {1004, 1005, 1006, 1015}
HeaderList = Iterable[tuple[bytes, bytes]]


class WebSocket(WebSocketProtocol):
    handshake_deferred: Any = None
    maxMessagePayloadSize: int  # autobahn's name and attribute
    _denial: dict[str, Any] | None = None
    _owed_pong: bytes | None = None
    _frames = 0.0
    _counted_at = 0.0

    # --- from the peer ------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        transport.unregisterProducer()  # the HTTP channel, which has nothing to produce any more
        transport.registerProducer(self, True)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CONNECTING and self.handshake_deferred is not None:
            # RFC 6455, 4.1: a client waits. Autobahn would keep all of it and look for a second
            # handshake in it.
            self._respond(HTTPStatus.BAD_REQUEST, (), b"Wait for the answer before you send.")
        else:
            super().dataReceived(data)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._count_frame()

    def processControlFrame(self) -> bool:
        return self._count_frame() and bool(super().processControlFrame())

    def _count_frame(self) -> bool:
        """False once the peer sends frames faster than anybody needs: pongs that nobody asked for
        and empty fragments cost work too, and reach no limit of the application."""
        now = time.monotonic()
        self._frames = max(0.0, self._frames - (now - self._counted_at) * FRAMES_PER_SECOND) + 1
        self._counted_at = now
        if self._frames > FRAMES_BURST:
            self._fail_connection(1008, "too many frames")
        return self._frames <= FRAMES_BURST

    def onPing(self, payload: bytes) -> None:
        """To a peer that takes nothing at the moment, only the newest ping is answered, once it
        reads again (RFC 6455, 5.5.3): else pings fill our memory with pongs."""
        if self.transport.connection.is_congested:
            self._owed_pong = payload
        else:
            self.sendPong(payload)

    def pauseProducing(self) -> None:
        """`onPing` asks the connection itself, and what the application sends waits in `drain`."""

    def resumeProducing(self) -> None:
        owed, self._owed_pong = self._owed_pong, None
        if owed is not None:
            self.sendPong(owed)

    def stopProducing(self) -> None:
        pass

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """RFC 6455, 7.1.7: say why, and process nothing more of what the peer sends."""
        self.failedByMe = True
        self.close_with(code, reason)
        self.dropConnection(abort=False)

    def _parseExtensionsHeader(self, header: str, removeQuotes: bool = True) -> list[Any]:
        return []  # whatever is offered is declined, also what cannot be parsed

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        server = getattr(self, "server", None)
        if server is not None and self in server.connections:  # else it never became one
            super().onClose(wasClean, 1005 if code is None else code, reason)

    def dropConnection(self, abort: bool = False) -> None:
        """After a complete close handshake end TCP in order too: browsers then report a clean
        close. A peer that does not hang up is cut by the connection's own timer."""
        super().dropConnection(abort=abort and not self.wasClean)

    def failHandshake(
        self, reason: str, code: int = 400, responseHeaders: Iterable[tuple[str, str]] | None = None
    ) -> None:
        headers = [(name.encode(), value.encode()) for name, value in responseHeaders or ()]
        if any(name == b"Sec-WebSocket-Version" for name, _ in headers):
            code = HTTPStatus.UPGRADE_REQUIRED  # RFC 6455, 4.4
            headers.append((b"Upgrade", b"websocket"))
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"Allow", b"GET"))
        if reason.startswith("WebSocket connection denied: origin"):
            code = HTTPStatus.FORBIDDEN
        self._respond(code, headers, reason.encode())

    # --- from the application -----------------------------------------------------------------

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        if self.state == self.STATE_CONNECTING:
            self._answer_handshake(message)
        elif message["type"] == "websocket.send":
            self._send_message(message)
        elif message["type"] == "websocket.close":
            self.close_with(message.get("code") or 1000, message.get("reason") or "")
        elif self.state == self.STATE_OPEN:
            raise ValueError(f"{message['type']} is not for an accepted WebSocket")

    def handle_exception(self, exception: BaseException) -> None:
        if self.state == self.STATE_CONNECTING:
            self._respond(HTTPStatus.INTERNAL_SERVER_ERROR, (), b"Internal server error")
        else:
            self.close_with(1011, "internal error")

    def close_with(self, code: int, reason: str = "") -> None:
        """Begin the close handshake; nothing happens if it has begun already."""
        if not 1000 <= code <= 4999 or code in FORBIDDEN_CODES:
            raise ValueError(f"{code} cannot be sent as a close code")
        if self.state == self.STATE_OPEN:
            said = encode_truncate(reason, CLOSE_REASON_BYTES) if reason else None
            self.sendCloseFrame(code=code, reasonUtf8=said, isReply=False)

    def sign_out(self, code: int, sentence: str) -> None:
        """Somebody wants this one connection to end."""
        if self.state == self.STATE_CONNECTING:
            self._respond(HTTPStatus.FORBIDDEN, (), sentence.encode())
        else:
            self.close_with(code, sentence)

    def going_away(self) -> None:
        """A handshake is answered first: browsers tell a page about a close code, not a refusal."""
        self.close_with(1001, "the server is stopping")

    def serverReject(self) -> None:
        """The application has not answered in time."""
        self._respond(HTTPStatus.SERVICE_UNAVAILABLE, (), b"The server did not answer in time.")

    def serverClose(self, code: int | None = None) -> None:
        self.close_with(1000 if code is None else code)

    def _answer_handshake(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers") or ())
        elif kind == "websocket.close":
            self._respond(HTTPStatus.FORBIDDEN, (), b"Refused.")
        elif kind == "websocket.http.response.start" and self._denial is None:
            self._denial = {**message, "body": b""}
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denial["body"] += message.get("body", b"")
            if not message.get("more_body", False):
                status, headers = self._denial["status"], self._denial.get("headers") or ()
                self._respond(status, headers, self._denial["body"])
        else:
            raise ValueError(f"{kind} is no answer to a WebSocket handshake")

    def _accept(self, subprotocol: str | None, headers: HeaderList) -> None:
        if subprotocol is not None and subprotocol not in self.websocket_protocols:
            raise ValueError(f"The client did not offer the subprotocol {subprotocol!r}")
        more: dict[str, list[str]] = {}
        for name, value in headers:
            more.setdefault(_field(name), []).append(_field(value))
        deferred, self.handshake_deferred = self.handshake_deferred, None
        deferred.callback((subprotocol, more))
        if self.transport.connection.is_leaving:
            self.going_away()

    def _respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Answer the handshake with an HTTP response and close."""
        lines = [f"HTTP/1.1 {int(status)} {_phrase(status)}"]
        given = [(_field(name), _field(value)) for name, value in headers]
        if not any(name.lower() == "content-type" for name, _ in given):
            given.append(("Content-Type", "text/plain; charset=utf-8"))
        given = [pair for pair in given if pair[0].lower() not in ("content-length", "connection")]
        given += [("Content-Length", str(len(body))), ("Connection", "close")]
        lines += [f"{name}: {value}" for name, value in given]
        self.handshake_deferred = None
        self.wasNotCleanReason = f"refused with {int(status)}"
        self.sendData("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self.dropConnection(abort=False)

    def _send_message(self, message: Mapping[str, Any]) -> None:
        text, data = message.get("text"), message.get("bytes")
        if (text is None) == (data is None):
            raise ValueError("websocket.send needs either text or bytes")
        if self.state != self.STATE_OPEN:
            return
        # The limit is for what a peer sends; autobahn would hold us to it as well.
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            self.sendMessage(data if text is None else text.encode(), isBinary=text is None)
        finally:
            self.maxMessagePayloadSize = limit


def _field(raw: bytes) -> str:
    text = raw.decode("latin-1")
    if "\r" in text or "\n" in text:
        raise ValueError("A header must not contain line breaks.")
    return text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
