"""What becomes known of a connection while it lives: whoever learns something writes it here."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

from project.tls import tally

_numbers = itertools.count(1)


@dataclass(eq=False)
class Note:
    """Written on the event loop; `project.live` reads it from its thread.

    `kind` is one of `project.models.LiveConnection.Kind`. What is counted are messages of a socket
    or a line, and requests and answers of the web. `active_at` is when the peer was last heard.
    """

    kind: str = "web"
    user_id: int | None = None
    received: int = 0
    sent: int = 0
    number: int = field(default_factory=lambda: next(_numbers))
    opened_at: float = field(default_factory=time.time)
    active_at: float = field(default_factory=time.time)

    def heard(self) -> None:
        self.received += 1
        self.active_at = time.time()
        tally.count("messages", self.kind, "received")

    def said(self) -> None:
        self.sent += 1
        tally.count("messages", self.kind, "sent")
