"""What is done in a room to others, as the audit trail has it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from chat.models import Room
from pki import audit
from pki.identity import Identity


def record(room: Room, action: str, *, actor: Identity, at: dt.datetime, **facts: Any) -> None:
    """Write what the actor did, and with which certificate, in the caller's transaction."""
    audit.record(
        actor=actor.username,
        action=action,
        target=f"room:{room.slug}",
        detail={**facts, "certificate": actor.serial},
        at=at,
    )
