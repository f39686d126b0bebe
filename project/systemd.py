"""What systemd and a service say to each other: sockets that are open already, and how it goes.

See sd_listen_fds(3) and sd_notify(3).
"""

from __future__ import annotations

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

    def tell(self, *lines: str) -> None:
        """Send a state such as READY=1. A manager that does not listen is no reason to stop."""
        if not self._address:
            return
        name = self._address
        name = "\0" + name[1:] if name.startswith("@") else name
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            try:
                to.sendto("\n".join(lines).encode(), name)
            except OSError:
                return
