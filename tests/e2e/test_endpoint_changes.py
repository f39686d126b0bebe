"""An endpoint is changed by one process while another serves it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable

from tests.e2e.server import Signet, free_ports


def until(condition: Callable[[], bool], seconds: float = 60) -> float:
    """How long it took to come true."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not come to pass"
        time.sleep(0.02)
    return time.monotonic() - begin


def certificate_at(signet: Signet, port: int, name: str = "localhost") -> bytes | None:
    """What a new client is shown that asks for a name; None where nobody answers."""
    client = signet.client_context()
    client.check_hostname = False
    with contextlib.suppress(ConnectionError):
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with client.wrap_socket(raw, server_hostname=name) as connection:
            return connection.getpeercert(binary_form=True)
    return None


def has_tls_1_2(signet: Signet) -> bool:
    client = signet.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    raw = socket.create_connection(("127.0.0.1", signet.main), timeout=10)
    try:
        client.wrap_socket(raw, server_hostname="localhost").close()
    except ssl.SSLError:
        return False
    return True


def test_serving_process_follows_what_another_one_changed_and_drops_nobody(
    own_signet: Signet,
) -> None:
    signet = own_signet
    signet.extra = {"SIGNET_IDLE_SECONDS": "600"}  # nothing else shall end the connection
    signet.start()
    live = http.client.HTTPSConnection(
        "localhost", signet.main, context=signet.client_context(), timeout=60
    )

    def lives() -> bool:
        live.request("GET", "/whoami")
        return bool(json.loads(live.getresponse().read())["tls"]["version"])

    assert lives()
    kept = live.sock
    before = certificate_at(signet, signet.main)

    # A certificate of another name stands beside the first, each for its own.
    signet.manage("renew_endpoint", "main", "--host", "chat.example.org", "--beside")
    until(lambda: certificate_at(signet, signet.main, "chat.example.org") != before)
    assert certificate_at(signet, signet.main) == before

    assert has_tls_1_2(signet)
    signet.manage("change_endpoint", "main", "--policy", "modern")
    until(lambda: not has_tls_1_2(signet))

    # What would lock everybody out is refused, and the old state keeps serving.
    refused = signet.manage("change_endpoint", "main", "--no-enabled", check=False)
    assert refused.returncode == 1
    assert "Nobody could reach the console" in refused.stderr
    assert certificate_at(signet, signet.main)

    (port,) = free_ports(1)
    signet.manage("change_endpoint", "main", "--port", str(port))
    until(lambda: certificate_at(signet, port) is not None)
    until(lambda: certificate_at(signet, signet.main) is None)

    assert lives()
    assert live.sock is kept  # the very same connection, from before all of it
