"""Listening sockets of this process: opened here, or handed to it by systemd."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Protocol

BACKLOG = 512

Place = tuple[str, int]  # address and port


class ListenError(Exception):
    """A port cannot be had; str() says which and what to do."""


class Sockets(Protocol):
    """Where an endpoint gets its listening socket from."""

    async def take(self, name: str, place: Place) -> socket.socket:
        """A listening socket, which the caller closes; raises ListenError."""

    def give_back(self, place: Place) -> None:
        """The caller has closed what it took, because no endpoint is there any more."""


class OwnSockets:
    """Takes the sockets that systemd has opened where they fit, and opens the others."""

    def __init__(self, given: Iterable[socket.socket] = ()) -> None:
        self._given = {place_of(one): one for one in given}
        self._used: set[Place] = set()

    async def take(self, name: str, place: Place) -> socket.socket:
        try:
            if (given := self._given.get(place)) is not None:
                self._used.add(place)
                return _prepared(given.dup())
            return _prepared(_open(place))
        except OSError as error:
            raise ListenError(self._why_not(name, place, error)) from None
        except ValueError as error:  # "::" on a machine without IPv6
            raise ListenError(_cannot_listen(name, place, error)) from None

    def give_back(self, place: Place) -> None:
        """Nothing to do: what systemd has opened stays open, and the caller closed the others."""

    def unused(self) -> list[str]:
        """What systemd has opened and no endpoint uses, a sentence each."""
        return [
            f"systemd has opened {written(place)}, which no endpoint uses. "
            "An endpoint takes the socket that has the very address and port of its row."
            for place in self._given
            if place not in self._used
        ]

    def _why_not(self, name: str, place: Place, error: OSError) -> str:
        address, port = place
        if error.errno == errno.EADDRINUSE:
            for other in self._given:
                if other[1] == port:
                    return (
                        f"Endpoint {name} wants {written(place)}, but systemd has opened "
                        f"{written(other)}. Let both name the same address."
                    )
            return (
                f"Port {port} on {address} (endpoint {name}) is taken by another program. "
                "Stop that one, or give the endpoint another port."
            )
        if error.errno == errno.EACCES:
            return (
                f"Port {port} (endpoint {name}) needs special rights. Choose one above 1023, "
                "or let systemd open it (docs/deploy/systemd.md)."
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return f"This machine has no address {address} (endpoint {name})."
        return _cannot_listen(name, place, error.strerror)


def place_of(listener: socket.socket) -> Place:
    address, port = listener.getsockname()[:2]
    return address, port


def written(place: Place) -> str:
    address, port = place
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _cannot_listen(name: str, place: Place, reason: object) -> str:
    address, port = place
    return f"Endpoint {name} cannot listen on {address} port {port}: {reason}."


def _open(place: Place) -> socket.socket:
    address, _ = place
    return socket.create_server(
        place,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=address == "::",
    )


def _prepared(listener: socket.socket) -> socket.socket:
    # Inherited by every connection: an answer does not wait for the peer's next ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
