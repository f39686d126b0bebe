"""System checks of the whole: an unsafe start is refused, with an id and what to change."""

from __future__ import annotations

import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security)
def debug_stays_at_home(**_: Any) -> list[CheckMessage]:
    """E001: error pages with settings and source would be shown to the world."""
    if settings.DEBUG and not settings.ON_LOOPBACK:
        hosts = ", ".join(settings.SIGNET_HOSTS)
        message = f"SIGNET_DEBUG is on while SIGNET_HOST ({hosts}) is not this machine alone."
        return [Error(message, hint="Unset SIGNET_DEBUG.", id="project.E001")]
    return []


@register(Tags.security)
def hosts_are_named(**_: Any) -> list[CheckMessage]:
    """E002: with any Host admitted, links in pages can be made to point anywhere."""
    if "*" in settings.ALLOWED_HOSTS or not settings.ALLOWED_HOSTS:
        message = "ALLOWED_HOSTS does not name the hosts of this site."
        return [Error(message, hint="Set SIGNET_HOST.", id="project.E002")]
    return []


@register(Tags.security)
def home_is_ours(**_: Any) -> list[CheckMessage]:
    """E003: whoever reads there reads every message, and who writes may replace the master key."""
    home = settings.SIGNET_HOME
    if home.exists() and stat.S_IMODE(home.stat().st_mode) & 0o077:
        message = f"Other users of this machine may enter SIGNET_HOME ({home})."
        return [Error(message, hint=f"Run: chmod go-rwx {home}", id="project.E003")]
    return []
