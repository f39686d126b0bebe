"""What a certificate calls its bearer."""

from __future__ import annotations

from dataclasses import replace

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


def test_names_where_the_profile_gives_none() -> None:
    owner = User(username="alice", email="alice@example.org")
    bare = replace(profiles.CODE, names=profiles.Names.NONE)
    assert names_of(bare, owner=owner)[1] == ()


def test_mail_needs_an_address() -> None:
    owner = User(username="alice", email="alice@example.org")
    assert names_of(profiles.MAIL, owner=owner)[1] == (x509.RFC822Name("alice@example.org"),)
    with pytest.raises(ProfileError, match="needs an e-mail address"):
        names_of(profiles.MAIL, owner=User(username="alice"))


def test_names_of_a_responder() -> None:
    subject, names = names_of(profiles.OCSP, owner=None, common_name="Issuing OCSP")
    assert (subject.rfc4514_string(), names) == ("CN=Issuing OCSP", ())
    with pytest.raises(ProfileError, match="An OCSP responder needs a name"):
        names_of(profiles.OCSP, owner=None)


def test_names_of_a_server() -> None:
    subject, names = names_of(profiles.SERVER, owner=None, hosts=["chat.example", "::1"])
    assert subject.rfc4514_string() == "CN=chat.example"
    assert [str(name.value) for name in names] == ["chat.example", "::1"]


def test_names_of_a_ca() -> None:
    subject, names = names_of(profiles.ROOT, owner=None, common_name="Root")
    assert (subject.rfc4514_string(), names) == ("CN=Root", ())


@pytest.mark.parametrize(
    "host",
    ["ä.example", "", "::1%eth0", "fe80::1%1", "0x7f.1", "127.1", "2130706433", "a.0X", "1.2.3.4."],
)
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
