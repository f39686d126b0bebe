"""A revocation, and connections from before it: none of them is a way round."""

from __future__ import annotations

import http.client
import ssl

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


def test_who_was_revoked_does_not_come_through_the_next_handshake(signet: Signet) -> None:
    identity = signet.issue("kept-out")
    context = signet.client_context(identity)
    first = http.client.HTTPSConnection("localhost", signet.required, context=context, timeout=30)
    assert get(first, "/rooms/general/") == 200
    session = first.sock.session  # type: ignore[union-attr]

    signet.manage("revoke_certificate", "--file", str(identity), "--reason", "keyCompromise")

    assert session is None or not session.has_ticket
    second = http.client.HTTPSConnection("localhost", signet.required, context=context, timeout=30)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
        get(second, "/rooms/general/")
    first.close()


def get(connection: http.client.HTTPSConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status
