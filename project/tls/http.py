"""Daphne's HTTP with limits: a deadline for every request, a size for its head and its body, one
reading of both, and manners when the server or the peer wants to leave."""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import NO_BODY_CODES, HTTPChannel
from twisted.web.http import HTTPFactory as TwistedHTTPFactory

from project.tls import head
from project.tls.limits import Limits

HALF_CLOSED_SECONDS = 5.0
LAST_CALL_SECONDS = 2.0
HEAD_BYTES, HEAD_LINES = 16 * 1024, 100
BAD_REQUEST = b"400 Bad Request"


class Request(WebRequest):
    error_template = "<!doctype html><title>%(title)s</title><h1>%(title)s</h1><p>%(body)s</p>"
    is_refused = False
    received = 0

    def __init__(self, channel: Channel, queued: object) -> None:
        # The application parses forms itself, and with limits of its own.
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def process(self) -> Any:
        # Daphne lets whoever sends this header move the root of the site.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if head.asks_for_websocket(self.requestHeaders):
            fault = self._ask_for_websocket()
            if fault is not None:
                self.refuse(BAD_REQUEST, fault)
                return None
        return super().process()

    def _ask_for_websocket(self) -> str | None:
        if self.clientproto == b"HTTP/1.0":  # RFC 9110, 7.8: Upgrade is ignored there
            self.requestHeaders.removeHeader(b"upgrade")
            return None
        # Daphne looks at the first header only, and takes no list.
        self.requestHeaders.setRawHeaders(b"upgrade", [b"websocket"])
        return head.websocket_fault(has_body=self.received > 0, headers=self.requestHeaders)

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > self.channel.limits.body_bytes:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.channel.limits.body_bytes:
            self._refuse_body()
        elif not self.is_refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self.is_refused:
            super().requestReceived(command, path, version)

    def finish(self) -> None:
        if self._is_cut_short():  # or the next answer would be read as the rest of this one
            self.channel.persistent = False
        super().finish()

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed. Where its answer has begun, it ends with the connection."""
        if self._response_started:
            self.channel.loseConnection()
        else:
            super().handle_exception(exception)

    def _is_cut_short(self) -> bool:
        """The answer has fewer bytes than it said."""
        said = self.responseHeaders.getRawHeaders(b"content-length")
        has_body = self.method != b"HEAD" and self.code not in NO_BODY_CODES
        return has_body and said is not None and self.sentLength < int(said[0])

    def refuse(self, status: bytes, sentence: str) -> None:
        """Answer with this and close; the application never hears of the request."""
        self.is_refused = True
        self.channel.refuse(status, sentence)

    def _refuse_body(self) -> None:
        self.refuse(b"413 Content Too Large", "The body is too large.")


class Channel(HTTPChannel):
    requestFactory = Request
    maxHeaders, totalHeadersSize = HEAD_LINES, HEAD_BYTES
    limits = Limits()

    def __init__(self) -> None:
        super().__init__()
        self._deadline: asyncio.TimerHandle | None = None
        self._is_leaving = False

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self._handlingRequest:
            self._allow(self.limits.head_seconds)
        super().dataReceived(data)
        if self.line_mode and b"\n" in self._buffer:  # every whole line has been taken out by now
            self._respondToBadRequestAndDisconnect()

    def lineReceived(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):  # a folded header (RFC 9112, 5.2), or no request at all
            self._respondToBadRequestAndDisconnect()
        elif (
            self._receivedHeaderSize + len(line) > HEAD_BYTES
            or self._receivedHeaderCount >= HEAD_LINES
        ):
            self.lineLengthExceeded(line)
        else:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        upgraded = self.transport.protocol
        if upgraded is not self:  # what came in one piece with the handshake
            upgraded.dataReceived(data)
            return
        super().rawDataReceived(data)
        if self._handlingRequest:  # Twisted counts the pieces anew for each one
            self._dataBuffer = [b"".join(self._dataBuffer)]

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        fault = head.fault(target=self._path, version=self._version, headers=request.requestHeaders)
        if fault is not None:
            request.refuse(BAD_REQUEST, fault)
            return
        self._allow(self.limits.body_seconds)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._forget_deadline()
        super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(b"431 Request Header Fields Too Large", "The headers are too long.")

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BAD_REQUEST, "The request cannot be read.")

    def connectionLost(self, reason: Any) -> None:
        self._forget_deadline()
        super().connectionLost(reason)

    def readConnectionLost(self) -> None:
        """The peer sends no more; it may be waiting for the answer, or be gone."""
        if self._handlingRequest:
            self.persistent = 0
            asyncio.get_running_loop().call_later(HALF_CLOSED_SECONDS, self.loseConnection)
        else:
            self.loseConnection()

    def going_away(self) -> None:
        """Finish what has been asked, also a request that is still arriving, and say in its answer
        that the connection ends.

        Where nothing is asked there is a last call: a request that is on its way to us would be
        cut otherwise.
        """
        self._is_leaving = True
        if self.requests and not self.requests[0].startedWriting:
            self.persistent = self._is_last(self.requests[0])
        self._call_last()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        if self._is_leaving:
            return self._is_last(request)
        return bool(super().checkPersistence(request, version))

    def requestDone(self, request: Request) -> None:
        super().requestDone(request)
        if self.persistent and self._is_leaving:  # its answer had begun before
            self._call_last()

    def _is_last(self, request: Request) -> bool:
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        return False

    def _call_last(self) -> None:
        asyncio.get_running_loop().call_later(LAST_CALL_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._deadline is None and not self._handlingRequest:
            self.loseConnection()

    def refuse(self, status: bytes, sentence: str) -> None:
        """Answer with this and close; only the first refusal of a connection is heard."""
        if not self.transport.disconnecting:
            body = sentence.encode() + b"\n"
            self.transport.write(
                b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (status, len(body), body)
            )
            self._forget_deadline()
            self.loseConnection()

    def _allow(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        self.refuse(b"408 Request Timeout", "The request took too long to arrive.")

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Factory(HTTPFactory):
    protocol = Channel

    def __init__(self, server: Any, limits: Limits) -> None:
        super().__init__(server)
        self.limits, self.timeOut = limits, limits.idle_seconds

    def buildProtocol(self, addr: Any) -> Channel:
        # Not Daphne's own, which would put its request class in the place of ours.
        channel: Channel = TwistedHTTPFactory.buildProtocol(self, addr)
        channel.limits = self.limits
        return channel
