"""Hears what happens to certificates and accounts, and lets the hubs look at their sockets again.

Signals come from any thread, and from the process where it happened only; the heartbeat looks
without being told.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from chat import hub, lookalikes
from pki.signals import (
    certificate_issued,
    certificate_released,
    certificate_revoked,
    trust_changed,
)


@receiver([certificate_revoked, certificate_released, trust_changed], dispatch_uid="chat.recheck")
def recheck_sockets(**_news: Any) -> None:
    """Who may not be here goes, and the others hear how certificates stand now."""
    hub.recheck_all()


@receiver([certificate_issued, trust_changed], dispatch_uid="chat.names")
def look_at_names_again(**_news: Any) -> None:
    """Accounts may have come, gone or been renamed."""
    lookalikes.forget()
