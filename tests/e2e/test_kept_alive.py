"""A revocation, and connections from before it: none of them is a way round."""

from __future__ import annotations

import http.client
import ssl
import time

import pytest

from tests.e2e.server import Signet


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("endpoint", ["main", "required"])
def test_a_kept_connection_is_refused_at_its_next_request(
    signet: Signet, endpoint: str, version: ssl.TLSVersion
) -> None:
    name = f"kept-{endpoint}-{version.name[-1]}"
    identity = signet.issue(name)
    context = signet.client_context(identity)
    context.minimum_version = context.maximum_version = version
    port = getattr(signet, endpoint)
    kept = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    assert get(kept, "/rooms/general/") == 200  # it could have gone on
    socket = kept.sock

    signet.manage("revoke_certificate", "--file", str(identity), "--reason", "keyCompromise")

    assert get(kept, "/rooms/general/") == 401
    assert kept.sock in (socket, None)  # on that very connection
    kept.close()


def test_who_was_revoked_does_not_come_through_a_handshake(signet: Signet) -> None:
    """Another process revokes: until the endpoint has the new CRL, the application refuses, and
    what is open at that moment is cut."""
    identity = signet.issue("kept-out")
    context = signet.client_context(identity)
    first = http.client.HTTPSConnection("localhost", signet.required, context=context, timeout=30)
    assert get(first, "/rooms/general/") == 200
    session = first.sock.session  # type: ignore[union-attr]

    signet.manage("revoke_certificate", "--file", str(identity), "--reason", "keyCompromise")
    deadline = time.monotonic() + 10

    assert session is None or not session.has_ticket
    answers = set()
    while (answer := knock(signet.required, context)) != "SSLV3_ALERT_CERTIFICATE_REVOKED":
        answers.add(answer)
        assert time.monotonic() < deadline
    assert answers <= {401, "cut"}
    first.close()


def knock(port: int, context: ssl.SSLContext) -> int | str:
    """The status that a new connection is answered with, or how it failed."""
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        return get(connection, "/rooms/general/")
    except ssl.SSLError as error:
        return error.reason or ""
    except http.client.RemoteDisconnected:
        return "cut"
    finally:
        connection.close()


def get(connection: http.client.HTTPSConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status
