"""What is noted of a handshake, and that nothing in it can do harm."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest

from project.tls import overheard
from tests.project.tls.conftest import TLS13


def told(**kept):
    return overheard.of(SimpleNamespace(overheard=kept))


def shaken(world, policy, version):
    """Both ends of a finished handshake."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    contexts = world.contexts("optional", policy=policy)
    server = contexts.wrap(there, back)
    client = world.client("good", version).wrap_bio(back, there, server_hostname="localhost")
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return server, client


@pytest.mark.parametrize("policy", ["modern", "intermediate"])
def test_everything_is_forgotten_when_the_handshake_is_complete(world, policy):
    server, client = shaken(world, policy, TLS13)
    assert overheard.of(server).certificate == world.clients["good"].der

    overheard.forget(server)

    assert "overheard" not in vars(server)
    assert overheard.HOOK.__get__(server.context) is None  # every record would come by there
    server.write(b"after")
    assert client.read() == b"after"
    assert server.getpeercert(binary_form=True) == world.clients["good"].der


def test_interpreter_without_the_hook_lacks_the_certificate_alone(world, monkeypatch):
    monkeypatch.setattr(overheard, "HOOK", None)
    server, _ = shaken(world, "intermediate", TLS13)

    assert overheard.of(server) == overheard.Overheard(server_name="localhost")
    overheard.forget(server)
    assert server.version() == "TLSv1.3"


@pytest.mark.parametrize("size", range(0, 60, 3))
def test_hello_that_breaks_off_tells_nothing_and_raises_nothing(size):
    found = told(hello=b"\x01\x00\x00\xff" + b"\x03\x03" + b"\xff" * size)

    assert found.server_name == ""
    assert found.certificate is None


@pytest.mark.parametrize("version", [0x0303, 0x0304])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0b",
        b"\x0b\0\0\0",
        b"\x0b\0\0\4\0",
        b"\x0b\0\0\xff" + b"\xff" * 20,
        b"\x0b" + bytes(9),
    ],
)
def test_certificate_message_that_lies_is_none(version, data):
    assert told(certificate=data, version=version).certificate is None


def test_large_message_is_not_kept():
    tls = SimpleNamespace()
    overheard._note(tls, "read", 0x0303, 22, 11, bytes(overheard.LARGEST + 1))
    assert vars(tls) == {}


@pytest.mark.parametrize("name", [b"a\0b", b"\xff\xfe", b"a\nb", b"x" * 300])
def test_server_name_that_is_none_is_left_out(name):
    body = b"\0\0\0" + len(name).to_bytes(2, "big") + name
    extension = b"\0\0" + len(body).to_bytes(2, "big") + body
    hello = b"\x01\0\0\0\x03\x03" + bytes(32) + b"\0" + b"\0\0" + b"\0" + b"\0\0" + extension

    assert told(hello=hello).server_name == ""


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\x1b[2J", "a\u202eb", "x" * 300])
def test_nor_does_it_come_in_by_way_of_openssl(name):
    tls = SimpleNamespace(overheard={"hello": b"\x01"}, asked_for=name)
    assert overheard.of(tls).server_name == ""
