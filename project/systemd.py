"""What systemd and a service say to each other: sockets that are open already, and how it goes.

See sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping

FIRST_FD = 3


def sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening TCP sockets that were opened for this process, in their order.

    The variables that tell of them are removed, so that no program started from here takes them
    for its own.
    """
    is_ours = environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = int(environ.pop("LISTEN_FDS", "0") or 0)
    environ.pop("LISTEN_FDNAMES", None)
    if not is_ours:
        return []
    found = []
    for number in range(FIRST_FD, FIRST_FD + count):
        os.set_inheritable(number, False)
        one = socket.socket(fileno=number)
        if one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM:
            found.append(one)
        else:
            one.close()
    return found


class Manager:
    """Whoever started this service and wants to hear how it goes; nobody, as a rule."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        is_ours = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        limit = float(environ.pop("WATCHDOG_USEC", "0") or 0) / 1e6
        self._pace = limit / 2 if is_ours else 0.0

    def tell(self, *lines: str) -> None:
        """Send a state such as READY=1. A manager that does not listen is no reason to stop."""
        if not self._address:
            return
        name = self._address
        name = "\0" + name[1:] if name.startswith("@") else name
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(1)  # one that does not read keeps nobody
            try:
                to.sendto("\n".join(lines).encode(), name)
            except OSError:
                return

    def feed(self) -> None:
        """Tell a manager that has a watchdog that the event loop goes round, from now on."""
        if self._pace:
            self.tell("WATCHDOG=1")
            asyncio.get_event_loop().call_later(self._pace, self.feed)
