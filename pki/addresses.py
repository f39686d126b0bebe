"""Where the endpoints are, as URLs: for links, redirects and the Origin check."""

from __future__ import annotations

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


def main_origins() -> set[str]:
    """The origins whose pages may open a chat socket."""
    hosts = [host.strip("[]") for host in settings.ALLOWED_HOSTS]
    return {origin(host, settings.SIGNET_PORTS["main"], tls=True) for host in hosts}


def enrolment_link(token: str) -> str:
    """The link that is shown once and never kept."""
    return url("enrol", f"/enrol/{token}/")
