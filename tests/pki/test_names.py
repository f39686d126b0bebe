"""What a certificate calls its bearer."""

from __future__ import annotations

import pytest
from cryptography import x509

from pki import profiles
from pki.errors import ProfileError
from pki.models import User
from pki.names import clean_device, names_of, server_hosts


def test_names_of_a_person() -> None:
    owner = User(username="alice", name="Alice A.", email="alice@example.org")
    subject, names = names_of(profiles.PERSON, owner=owner)
    assert subject.rfc4514_string() == "CN=alice"
    assert names == (x509.RFC822Name("alice@example.org"),)


def test_names_of_a_person_without_email() -> None:
    subject, names = names_of(profiles.PERSON, owner=User(username="alice"))
    assert names == (x509.DirectoryName(subject),)


def test_names_of_a_server() -> None:
    subject, names = names_of(profiles.SERVER, owner=None, hosts=["chat.example", "::1"])
    assert subject.rfc4514_string() == "CN=chat.example"
    assert [str(name.value) for name in names] == ["chat.example", "::1"]


def test_names_of_a_ca() -> None:
    subject, names = names_of(profiles.ROOT, owner=None, common_name="Root")
    assert (subject.rfc4514_string(), names) == ("CN=Root", ())


@pytest.mark.parametrize("host", ["ä.example", ""])
def test_host_that_cannot_be_written(host: str) -> None:
    with pytest.raises(ProfileError, match="cannot be certified"):
        names_of(profiles.SERVER, owner=None, common_name="", hosts=[host])


def test_common_name_too_long() -> None:
    with pytest.raises(ProfileError, match="cannot be certified"):
        names_of(profiles.ROOT, owner=None, common_name="x" * 65)


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (["localhost"], ["localhost", "127.0.0.1", "::1"]),
        (["chat.example"], ["chat.example"]),
        (["localhost", "::1"], ["localhost", "::1", "127.0.0.1"]),
    ],
)
def test_server_hosts(settings, hosts: list[str], names: list[str]) -> None:
    settings.SIGNET_HOSTS = hosts
    assert server_hosts() == names


def test_clean_device() -> None:
    assert clean_device(" Jürgens \t Gerät ") == "Jürgens Gerät"
    for bad in ("", "  ", "x" * 65, "\0", "a\u202eb"):
        with pytest.raises(ProfileError, match="1 to 64"):
            clean_device(bad)
