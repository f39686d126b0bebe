"""Where the endpoints are, as URLs: for links, redirects and the Origin check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

DEFAULT_PORTS = {"https": 443, "http": 80}


def origin(host: str, port: int, *, tls: bool) -> str:
    """`https://host[:port]`, with the port left out where it is the scheme's own."""
    scheme = "https" if tls else "http"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def url(name: str, path: str = "/") -> str:
    """The canonical URL of a path on one of the bootstrapped endpoints: main, enrol or public."""
    return (
        origin(settings.SIGNET_HOSTS[0], settings.SIGNET_PORTS[name], tls=name != "public") + path
    )


def main_origins(scope: Mapping[str, Any]) -> set[str]:
    """The origins whose pages may open a socket on this connection: our hosts, with the port it
    came in on or the canonical one (they differ where a port is forwarded)."""
    hosts = [host.strip("[]") for host in settings.ALLOWED_HOSTS]
    ports = {settings.SIGNET_PORTS["main"], scope["server"][1]}
    return {origin(host, port, tls=True) for host in hosts for port in ports}


def enrolment_link(token: str) -> str:
    """The link that is shown once and never kept."""
    return url("enrol", f"/enrol/{token}/")
