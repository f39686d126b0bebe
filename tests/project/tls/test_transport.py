"""What Twisted's protocols may expect of the transport, and what it must not claim."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IPushProducer, ISSLTransport, ITransport

from project.tls.transport import Transport, address


class Connection:
    peer, host, is_congested = ("192.0.2.1", 5), ("::1", 8443, 0, 0), True

    def __init__(self):
        self.done = []

    def __getattr__(self, name):
        return lambda *arguments: self.done.append((name, *arguments))


class Producer:
    paused = 0

    def pauseProducing(self):
        self.paused += 1


@pytest.fixture
def transport():
    return Transport(Connection(), None)


def test_interfaces(transport):
    assert ITransport.providedBy(transport)
    assert IPushProducer.providedBy(transport)
    assert not ISSLTransport.providedBy(transport)


def test_calls_go_to_the_connection(transport):
    transport.write(b"a")
    transport.writeSequence([b"b", b"c"])
    transport.pauseProducing()
    transport.resumeProducing()
    transport.loseConnection()
    assert transport.connection.done == [
        ("write", b"a"),
        ("write", b"bc"),
        ("pause_reading",),
        ("resume_reading",),
        ("close",),
    ]
    assert transport.disconnecting


def test_addresses(transport):
    assert (transport.getPeer().host, transport.getPeer().port) == ("192.0.2.1", 5)
    assert type(transport.getHost()).__name__ == "IPv6Address"
    assert type(address(("", 0))).__name__ == "IPv4Address"


def test_producer_of_a_congested_connection_is_paused_at_once(transport):
    producer = Producer()
    transport.registerProducer(producer, True)
    assert producer.paused == 1
    with pytest.raises(RuntimeError):
        transport.registerProducer(Producer(), True)
    transport.unregisterProducer()
    with pytest.raises(ValueError, match="push"):
        transport.registerProducer(producer, False)
