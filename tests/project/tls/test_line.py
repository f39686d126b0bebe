"""Lines over TLS, spoken by Python's and OpenSSL's clients."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from django.db import DatabaseError

from pki.errors import CertificateRevokedError, NoCertificateError
from pki.identity import Identity, IdentityError
from pki.signals import trust_changed
from project.tls import line
from project.tls.line import Doors, Lines
from project.tls.listeners import Wanted
from tests.certs import Leaf
from tests.project.tls.conftest import Ground
from tests.services import require

WELCOME = b"Welcome, Alice Example (laptop). Every line comes back; quit ends.\r\n"
REVOKED = str(CertificateRevokedError()).encode() + b"\r\n"


@dataclass
class Registry:
    """Who has which certificate, and whose were revoked."""

    alice: Leaf
    revoked: set[str] = field(default_factory=set)
    trouble: Exception | None = None

    def identify(self, *, chain: list[bytes], at: Any, endpoint: str | None) -> Identity:
        if self.trouble:
            raise self.trouble
        if not chain:
            raise NoCertificateError
        known = identity(chain[0])
        if known.sha256 in self.revoked:
            raise CertificateRevokedError
        return known

    def refusals(self, identities: Iterable[Identity], *, at: Any) -> dict[str, IdentityError]:
        if self.trouble:
            raise self.trouble
        return {
            one.sha256: CertificateRevokedError()
            for one in identities
            if one.sha256 in self.revoked
        }

    def revoke_alice(self) -> None:
        self.revoked.add(identity(self.alice.der).sha256)


def identity(der: bytes) -> Identity:
    return Identity(
        user_id=1,
        username="alice",
        name="Alice Example",
        is_staff=False,
        certificate_id=1,
        serial="01",
        sha256=sha256(der).hexdigest(),
        not_after=dt.datetime.now(dt.UTC),
        device="laptop",
    )


@pytest.fixture
def people(world) -> Registry:
    return Registry(world.clients["good"])


@pytest.fixture
def lines(people: Registry) -> Iterator[Lines]:
    lines = Lines(people, heartbeat=0.2)
    yield lines
    trust_changed.disconnect(lines._hear)


@pytest.fixture
def port(ground: Ground, lines: Lines) -> int:
    ground.ports.factory = Doors(ground.factory, lines)
    return serve(ground)


def serve(ground: Ground) -> int:
    wanted = ground.wanted("optional", name="lines")
    wanted = Wanted(replace(wanted.settings, serves="line"), wanted.contexts)
    ground.on_loop(ground.ports.start, [wanted])
    return wanted.settings.port


class Talk:
    """A client; `hear` is the next line, b"" at the end."""

    def __init__(self, ground: Ground, port: int, who: str | None = "good") -> None:
        self.socket = ground.connect(port, who)
        self.socket.settimeout(30)
        self._file = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> bytes:
        return self._file.readline()

    def hang_up(self) -> None:
        self._file.close()
        self.socket.close()


def ended(caplog: pytest.LogCaptureFixture) -> str:
    """How the log says that a connection ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for said in caplog.messages:
            if "ended after" in said:
                return said
        time.sleep(0.02)
    raise AssertionError(caplog.messages)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="project.tls")


def test_every_line_comes_back_until_somebody_quits(ground, port, caplog):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    talk.say(b"hello\nGr\xc3\xbc\xc3\x9fe\r\n")
    assert [talk.hear(), talk.hear()] == [b"hello\r\n", b"Gr\xc3\xbc\xc3\x9fe\r\n"]
    talk.say(b"\nquit\nno more\n")
    assert [talk.hear(), talk.hear(), talk.hear()] == [b"\r\n", b"Goodbye.\r\n", b""]
    talk.hang_up()
    said = ended(caplog)
    assert said.startswith("lines: line of alice from 127.0.0.1 ended after")
    assert said.endswith("4 lines: the peer quit")


def test_openssl_speaks_it_as_well(ground, port, world):
    require("openssl")
    command = [
        *("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}"),
        *("-CAfile", world.directory / "root.pem"),
        *("-cert", world.pem("good"), "-key", world.pem("good")),
    ]
    done = subprocess.run(command, input=b"hello\nquit\n", capture_output=True, timeout=60)
    assert done.stdout == WELCOME + b"hello\r\nGoodbye.\r\n"


def test_who_is_nobody_is_told_why(ground, port, caplog):
    talk = Talk(ground, port, None)
    talk.say(b"hello\n")
    assert [talk.hear(), talk.hear()] == [b"Your client sent no certificate.\r\n", b""]
    talk.hang_up()
    assert ended(caplog).endswith("0 lines: sent away: Your client sent no certificate.")


def test_who_cannot_be_looked_up_is_told_so(ground, port, people, caplog):
    people.trouble = DatabaseError("away")
    talk = Talk(ground, port)
    assert [talk.hear(), talk.hear()] == [line.UNKNOWN.encode() + b"\r\n", b""]
    talk.hang_up()
    assert "sent away" in ended(caplog)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"x" * 4097 + b"\n", line.TOO_LONG),
        (b"x" * 9000, line.TOO_LONG),
        (b"\xff\n", line.NO_TEXT),
    ],
)
def test_what_is_no_line_ends_it_with_a_sentence(ground, port, data, sentence):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    talk.say(data)
    assert [talk.hear(), talk.hear()] == [sentence.encode() + b"\r\n", b""]


def test_the_longest_line_comes_back(ground, port):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    talk.say(b"x" * 4096 + b"\n")
    assert talk.hear() == b"x" * 4096 + b"\r\n"


def test_too_many_lines_are_slowed_down_and_none_is_lost(ground, port, monkeypatch):
    monkeypatch.setattr(line, "RATE", 50.0)
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    began = time.monotonic()
    talk.say(b"".join(b"%d\n" % number for number in range(100)))
    assert [talk.hear() for _ in range(100)] == [b"%d\r\n" % number for number in range(100)]
    assert time.monotonic() - began >= (100 - line.BURST - 1) / 50


def test_a_peer_that_reads_nothing_is_not_read_from_either(ground, port, monkeypatch):
    monkeypatch.setattr(line, "RATE", 1e9)
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    talk.socket.settimeout(1)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 64 * 1024 * 1024:
            talk.say((b"x" * 4000 + b"\n") * 16)
            sent += 16 * 4001
    assert sent < 64 * 1024 * 1024
    (connection,) = ground.on_loop(ground.ports.connections)
    assert connection.backlog() < 1024 * 1024


def test_silence_ends_it(ground, port, monkeypatch):
    monkeypatch.setattr(line, "IDLE_SECONDS", 0.2)
    talk = Talk(ground, port)
    assert [talk.hear(), talk.hear()] == [WELCOME, line.SILENT.encode() + b"\r\n"]
    assert talk.hear() == b""


def test_a_revocation_that_is_heard_of_ends_it_at_once(ground, port, people, lines):
    lines._heartbeat = 3600
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    talk.say(b"hello\n")
    assert talk.hear() == b"hello\r\n"  # it could have gone on
    people.revoke_alice()
    trust_changed.send(sender=None)
    assert [talk.hear(), talk.hear()] == [REVOKED, b""]


def test_a_revocation_that_nobody_told_of_ends_it_with_the_heartbeat(ground, port, people):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    people.revoke_alice()
    assert [talk.hear(), talk.hear()] == [REVOKED, b""]


def test_nobody_stays_on_who_cannot_be_checked(ground, port, people, caplog):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    people.trouble = DatabaseError("away")
    assert talk.hear() == line.UNKNOWN.encode() + b"\r\n"
    assert "It cannot be checked who is on a line: away" in caplog.messages


def test_a_stop_is_said(ground, port, caplog):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    ground.on_loop(lambda: ground.ports.stop(patience=5))
    assert [talk.hear(), talk.hear()] == [line.STOPPING.encode() + b"\r\n", b""]
    assert ended(caplog).endswith(f"sent away: {line.STOPPING}")


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("goodbye", "the peer hung up"),
        ("reset", "broke off: [Errno 104] Connection reset by peer"),
        ("rubbish", "broke off: WRONG_VERSION_NUMBER"),
    ],
)
def test_the_log_says_how_it_ended(ground, port, way, how, caplog):
    talk = Talk(ground, port)
    assert talk.hear() == WELCOME
    if way == "goodbye":
        talk.socket.settimeout(30)
        talk.socket.unwrap()
    elif way == "reset":
        hard = struct.pack("ii", 1, 0)
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        talk.hang_up()
    else:
        plain = socket.socket(fileno=talk.socket.detach())
        plain.settimeout(30)
        plain.sendall(b"no record at all, whatever one thinks of it")
        while plain.recv(4096):  # the alert, and the end
            pass
        plain.close()
    assert ended(caplog).endswith(how)


def test_a_foreign_certificate_does_not_come_through_the_handshake(ground, port):
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
        Talk(ground, port, "foreign").hear()


def test_web_endpoints_stay_what_they_are(ground, port):
    other = ground.serve("none")
    with ground.connect(other) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"  # the protocol of the other factory
