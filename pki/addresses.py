"""Where the endpoints are, as URLs: for links, redirects, certificates and the Origin check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import connection

DEFAULT_PORTS = {"https": 443, "http": 80}
# Written out: the settings import this module before there are models, and every certificate asks.
FIRST_ENDPOINT = (
    "SELECT port, tls, proxy FROM pki_endpoint WHERE serves IN (%s, %s) AND enabled "
    "ORDER BY CASE WHEN serves = %s THEN 0 ELSE 1 END, id LIMIT 1"
)


def with_loopback(hosts: Iterable[str]) -> list[str]:
    """Each host once; localhost also answers at its two addresses."""
    names = list(hosts)
    extra = ["127.0.0.1", "::1"] if "localhost" in names else []
    return list(dict.fromkeys([*names, *extra]))


def bracketed(host: str) -> str:
    """A host as it stands in a URL or a Host header: IPv6 addresses in brackets (RFC 3986)."""
    return f"[{host}]" if ":" in host else host


def origin(host: str, port: int, *, tls: bool) -> str:
    """`https://host[:port]`, with the port left out where it is the scheme's own."""
    scheme = "https" if tls else "http"
    return f"{scheme}://{bracketed(host)}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def url(serves: str, path: str = "/") -> str:
    """The canonical URL of a path on the endpoint that serves main, enrol or public.

    The port is that of the first enabled endpoint of the kind; where none serves main, of the one
    that serves this part of it, or its proxy's, which people connect to. Before there is one, it is
    the port that bootstrap will give it.
    """
    with connection.cursor() as cursor:
        cursor.execute(FIRST_ENDPOINT, [serves, _part(serves, path), serves])
        row = cursor.fetchone()
    port, tls, proxy = row or (settings.SIGNET_PORTS[serves], serves != "public", "none")
    is_https = bool(tls) or (proxy == "header" and serves != "public")
    if proxy != "none":
        port = settings.SIGNET_PROXY_PORTS["https" if is_https else "http"]
    host = settings.SIGNET_ENROL_HOST if serves == "enrol" else ""
    return origin(host or settings.SIGNET_HOSTS[0], port, tls=is_https) + path


def _part(serves: str, path: str) -> str:
    """What else has a path: main is the chat and the console in one."""
    if serves != "main":
        return serves
    return "console" if path.startswith("/console/") else "chat"


def main_origins(scope: Mapping[str, Any]) -> set[str]:
    """The origins whose pages may open a socket on this connection: our hosts, with the port it
    came in on or the canonical one (they differ where a port is forwarded)."""
    hosts = [host.strip("[]") for host in settings.ALLOWED_HOSTS]
    ports = {settings.SIGNET_PORTS["main"], scope["server"][1]}
    return {origin(host, port, tls=True) for host in hosts for port in ports}


def enrolment_link(token: str) -> str:
    """The link that is shown once and never kept."""
    return url("enrol", f"/enrol/{token}/")
