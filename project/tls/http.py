"""Daphne's HTTP with limits: a deadline for every request, a size for its body, and manners when
the server or the peer wants to leave."""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel
from twisted.web.http import HTTPFactory as TwistedHTTPFactory

HEAD_SECONDS = 15.0
BODY_SECONDS = 120.0
HALF_CLOSED_SECONDS = 5.0
MAX_BODY = 256 * 1024  # the largest form is a certificate request; nothing is uploaded


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
        offered = self.requestHeaders.getRawHeaders(b"sec-websocket-protocol") or ()
        if not all(value.isascii() for value in offered):
            self.channel.refuse(b"400 Bad Request", b"A subprotocol is not plain ASCII.\n")
            return None
        return super().process()

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > MAX_BODY:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > MAX_BODY:
            self._refuse_body()
        elif not self.is_refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self.is_refused:
            super().requestReceived(command, path, version)

    def _refuse_body(self) -> None:
        if not self.is_refused:
            self.is_refused = True
            self.channel.refuse(b"413 Content Too Large", b"The body is too large.\n")


class Channel(HTTPChannel):
    requestFactory = Request

    def __init__(self) -> None:
        super().__init__()
        self._deadline: asyncio.TimerHandle | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self._handlingRequest:
            self._allow(HEAD_SECONDS)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self._allow(BODY_SECONDS)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._forget_deadline()
        super().allContentReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(b"431 Request Header Fields Too Large", b"A header is too long.\n")

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
        """Finish the answer that is being given, then close."""
        if not self._handlingRequest:
            self.loseConnection()
            return
        self.persistent = 0
        for request in self.requests[:1]:
            if not request.startedWriting:
                request.responseHeaders.setRawHeaders(b"connection", [b"close"])

    def refuse(self, status: bytes, sentence: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (status, len(sentence), sentence)
        )
        self.loseConnection()

    def _allow(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        self.refuse(b"408 Request Timeout", b"The request took too long to arrive.\n")

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Factory(HTTPFactory):
    protocol = Channel

    def buildProtocol(self, addr: Any) -> Channel:
        # Not Daphne's own, which would put its request class in the place of ours.
        channel: Channel = TwistedHTTPFactory.buildProtocol(self, addr)
        return channel
