"""Hears what happens to certificates and accounts, and lets the hubs look at their sockets again.

Signals come from any thread, and from the process where it happened only; the heartbeat looks
without being told.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from chat import hub
from pki.signals import certificate_revoked, trust_changed


@receiver([certificate_revoked, trust_changed], dispatch_uid="chat.recheck")
def recheck_sockets(**_news: Any) -> None:
    hub.recheck_all()
