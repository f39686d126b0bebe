"""Where a connection comes from: a client itself, or a proxy that speaks for it; and whether the
endpoint takes it from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from project.tls import proxy

if TYPE_CHECKING:
    from project.tls.endpoint import Endpoint

SocketName = tuple[Any, ...]
NOWHERE: SocketName = ("", 0)  # it had ended before it could be asked


class Origin:
    """`peer` and `host` are the ends as the client knows them; `via` is the address of the proxy
    that speaks for it. `complain` writes down why somebody is not taken."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: asyncio.BaseTransport,
        *,
        complain: Callable[[str, str], None],
    ) -> None:
        self.peer: SocketName = transport.get_extra_info("peername") or NOWHERE
        self.host: SocketName = transport.get_extra_info("sockname") or NOWHERE
        self.via: str | None = None
        self._endpoint, self._complain = endpoint, complain
        self._settings = endpoint.settings  # as they are now, whatever changes later
        self._header: bytearray | None = None  # what came of a PROXY header that has to come
        self._counted_as: str | None = None  # the address that the endpoint counted it in by

    @property
    def is_to_be_told(self) -> bool:
        """The PROXY header has not come, or not all of it."""
        return self._header is not None

    @property
    def has_spoken(self) -> bool:
        return bool(self._header)

    def is_taken(self) -> bool:
        """Whether the endpoint takes the connection at all: from a listed proxy where one is
        expected, and not one too many of a client."""
        if self._settings.proxy == "none":
            return self._count_in()
        if not proxy.is_listed(self.peer[0], self._settings.proxies):
            self._complain(proxy.NOT_LISTED, proxy.LIST_IT)
            return False
        self.via = proxy.plain(self.peer[0])
        self._header = bytearray() if self._settings.proxy == "protocol" else None
        return True

    def read(self, data: bytes) -> bytes | None:
        """Learn from a PROXY header who the client is. What came behind it; None where it is none
        that counts, or the client has too many connections."""
        assert self._header is not None
        self._header += data
        try:
            header = proxy.parse(bytes(self._header))
        except proxy.ProxyHeaderError as error:
            self._complain(str(error), proxy.SEND_IT)
            return None
        if header is None:
            return b""
        rest, self._header = bytes(self._header[header.size :]), None
        self.peer, self.host = header.client or self.peer, header.server or self.host
        return rest if self._count_in() else None

    def speaks_for(self, address: str) -> bool:
        """A proxy has given the whole connection to this client. False if it has too many."""
        self.peer = (address, 0)
        return self._count_in()

    def may_speak(self) -> bool:
        """Whether the proxy that this came from is still one: rows change while it is kept."""
        now = self._endpoint.settings
        return now.proxy == self._settings.proxy and proxy.is_listed(self.via or "", now.proxies)

    def leave(self) -> None:
        """Count it out again."""
        if self._counted_as is not None:
            self._endpoint.release(self._counted_as)
            self._counted_as = None

    def _count_in(self) -> bool:
        self.leave()
        address = str(self.peer[0])
        if not self._endpoint.admit(address):
            return False
        self._counted_as = address
        return True
