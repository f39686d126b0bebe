"""Files through a real endpoint: pieces within its bound on bodies, and downloads as they lie there."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.server import Signet

FILES = "/rooms/general/files/"
JOIN = """
from chat.models import Membership, Room
from pki.models import User
frieda = User.objects.get(username="frieda")
Membership.objects.create(room=Room.objects.get(slug="general"), user=frieda)
"""


@dataclass
class Program:
    """Speaks HTTP/1.1 with a certificate, and does with CSRF what docs/protocol.md says."""

    signet: Signet
    connection: http.client.HTTPSConnection
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, path, body, self.headers | headers)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def sign_on(self) -> dict[str, object]:
        answer, body = self.ask("GET", FILES)
        assert answer.status == 200, body
        told: dict[str, object] = json.loads(body)
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        self.headers = {
            "Cookie": cookie,
            "X-CSRFToken": str(told["csrf"]),
            "Origin": self.signet.url("").rstrip("/"),
        }
        return told


@pytest.fixture(scope="module")
def context(signet: Signet) -> ssl.SSLContext:
    """Of a person who has been in the chat: those who come are members of its first room."""
    identity = signet.issue("frieda")
    signet.shell(JOIN)
    return signet.client_context(identity)


@pytest.fixture
def program(signet: Signet, context: ssl.SSLContext) -> Iterator[Program]:
    connection = http.client.HTTPSConnection("localhost", signet.main, context=context, timeout=30)
    yield Program(signet, connection)
    connection.close()


def test_a_file_of_many_pieces_comes_back_as_it_went(signet: Signet, program: Program) -> None:
    told = program.sign_on()
    chunk = told["chunk_bytes"]
    assert isinstance(chunk, int)
    data = os.urandom(chunk * 9 + 12345)  # more than an answer that is prepared ahead
    wish = json.dumps({"name": "Ärger.bin", "size": len(data), "type": ""}).encode()
    answer, body = program.ask("POST", FILES, wish, **{"Content-Type": "application/json"})
    assert answer.status == 201, body
    place = f"{FILES}{json.loads(body)['id']}/"
    for offset in range(0, len(data), chunk):
        answer, body = program.ask("PUT", f"{place}?offset={offset}", data[offset : offset + chunk])
        assert answer.status == 200, body
    assert json.loads(body)["attachment"]["name"] == "Ärger.bin"

    answer, body = program.ask("GET", f"{place}whatever")
    assert body == data
    assert answer.getheader("Content-Security-Policy") == "sandbox; default-src 'none'"
    assert answer.getheader("Content-Disposition") == "attachment; filename*=utf-8''%C3%84rger.bin"
    answer, body = program.ask("GET", f"{place}a", Range=f"bytes={chunk}-{2 * chunk}")
    assert (answer.status, body) == (206, data[chunk : 2 * chunk + 1])
    answer, body = program.ask("HEAD", f"{place}a")
    assert (answer.status, answer.getheader("Content-Length")) == (200, str(len(data)))
    answer, body = program.ask("GET", "/whoami")
    assert json.loads(body)["user"]["username"] == "frieda"

    stored = [path for path in (signet.home / "uploads").rglob("*") if path.is_file()]
    assert [(path.stat().st_mode & 0o777, path.read_bytes() == data) for path in stored] == [
        (0o600, True)
    ]
    answer, body = program.ask("DELETE", place)
    assert answer.status == 204
    assert not stored[0].exists()


def test_a_piece_that_is_too_large_is_not_read(program: Program) -> None:
    chunk = program.sign_on()["chunk_bytes"]
    assert isinstance(chunk, int)
    program.connection.putrequest("PUT", f"{FILES}00000000-0000-4000-8000-000000000000/?offset=0")
    program.connection.putheader("Content-Length", str(chunk + 1))
    program.connection.endheaders()
    assert program.connection.getresponse().status == 413


def test_another_site_cannot_upload_with_somebodys_certificate(program: Program) -> None:
    program.sign_on()
    program.headers["Origin"] = "https://elsewhere.example"
    wish = json.dumps({"name": "a", "size": 1, "type": ""}).encode()
    answer, body = program.ask("POST", FILES, wish)
    assert answer.status == 400
    assert b"<html" in body
