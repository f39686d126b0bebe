"""One connection, as Daphne's Twisted protocols want their transport; nothing more.

It does not claim ISSLTransport: autobahn would ask pyOpenSSL for the channel's identifier.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from zope.interface import implementer

if TYPE_CHECKING:
    from project.tls.connection import Connection


@implementer(ITransport, IConsumer, IPushProducer)
class Transport:
    disconnecting = False

    def __init__(self, connection: Connection, protocol: Any) -> None:
        self.connection = connection
        self.protocol = protocol  # Daphne puts the WebSocket protocol here when it upgrades
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        self.connection.write(data)

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        self.connection.write(b"".join(parts))

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.connection.close()

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.connection.abort()

    def getPeer(self) -> Any:
        return address(self.connection.peer)

    def getHost(self) -> Any:
        return address(self.connection.host)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"{self.producer!r} is registered already")
        if not streaming:
            raise ValueError("Only producers that push are supported.")
        self.producer = producer
        if self.connection.is_congested:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.connection.pause_reading()

    def resumeProducing(self) -> None:
        self.connection.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()


def address(name: tuple[Any, ...]) -> Any:
    """A socket name as an IPv4Address or IPv6Address of Twisted."""
    kind = IPv6Address if ":" in name[0] else IPv4Address
    return kind("TCP", name[0], name[1])
