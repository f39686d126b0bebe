from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import environment


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("", False)]
)
def test_boolean_is_read(text, value):
    assert environment.boolean("X", default=not value, environ={"X": text}) is value


def test_missing_values_take_the_default():
    assert environment.boolean("X", default=True, environ={}) is True
    assert environment.port("X", default=8443, environ={}) == 8443
    assert environment.hosts("X", default="localhost", environ={}) == ["localhost"]
    assert environment.url("X", schemes={"redis"}, environ={}) is None


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (lambda e: environment.boolean("X", default=False, environ=e), "maybe"),
        (lambda e: environment.port("X", default=1, environ=e), "0"),
        (lambda e: environment.port("X", default=1, environ=e), "65536"),
        (lambda e: environment.port("X", default=1, environ=e), "８４４３"),
        (lambda e: environment.port("X", default=1, environ=e), "https"),
        (lambda e: environment.hosts("X", default="a", environ=e), " , "),
        (lambda e: environment.hosts("X", default="a", environ=e), "ex ample.org"),
        (lambda e: environment.hosts("X", default="a", environ=e), "https://example.org"),
        (lambda e: environment.hosts("X", default="a", environ=e), "-example.org"),
        (lambda e: environment.url("X", schemes={"redis"}, environ=e), "http://x"),
        (lambda e: environment.one_of("X", ["a", "b"], environ=e), "c"),
    ],
)
def test_wrong_value_stops_the_start_and_names_the_variable(read, text):
    with pytest.raises(ImproperlyConfigured, match="X"):
        read({"X": text})


def test_one_of_the_hosts_may_be_chosen():
    assert environment.one_of("X", ["a.example", "b.example"], environ={}) == ""
    chosen = environment.one_of("X", ["a.example", "b.example"], environ={"X": "B.example"})
    assert chosen == "b.example"


def test_wrong_url_does_not_show_its_password():
    with pytest.raises(ImproperlyConfigured) as refusal:
        environment.url("X", schemes={"redis"}, environ={"X": "mysql://user:hunter2@host/"})
    assert "hunter2" not in str(refusal.value)


def test_hosts_are_small_letters_and_said_once():
    read = environment.hosts(
        "X", default="a", environ={"X": "Chat.Example.org, ::1,chat.example.org"}
    )
    assert read == ["chat.example.org", "::1"]


def test_command_is_parted_into_words_and_must_be_there():
    assert environment.command("X", environ={}) == []
    assert environment.command("X", environ={"X": "sh -c 'a b'"}) == ["sh", "-c", "a b"]
    for text, sentence in (
        ("nowhere-scan --x", "no program 'nowhere-scan'"),
        ("sh 'a", "X cannot"),
    ):
        with pytest.raises(ImproperlyConfigured, match=sentence):
            environment.command("X", environ={"X": text})


def test_token_is_whole_or_none(tmp_path):
    names = ("MODULE", "TOKEN", "PIN")
    module = tmp_path / "module.so"
    whole = {"MODULE": str(module), "TOKEN": "signet", "PIN": str(tmp_path / "later")}
    assert environment.token(*names, environ={}) == (None, "", None)
    for environ, sentence in (
        (whole, "MODULE: there is no file"),
        (whole | {"MODULE": "module.so"}, "MODULE='module.so' must be an absolute path"),
        (whole | {"PIN": "pin"}, "there is no file"),
        ({"MODULE": str(module)}, "TOKEN and PIN must be set too"),
        (whole | {"TOKEN": ""}, "TOKEN must be set too"),
    ):
        with pytest.raises(ImproperlyConfigured, match=sentence):
            environment.token(*names, environ=environ)
    module.touch()
    assert environment.token(*names, environ=whole) == (module, "signet", tmp_path / "later")
    with pytest.raises(ImproperlyConfigured, match="PIN='pin' must be an absolute path"):
        environment.token(*names, environ=whole | {"PIN": "pin"})


def test_file_is_an_absolute_path_or_none():
    assert environment.file("X", environ={}) is None
    assert str(environment.file("X", environ={"X": "/nowhere/pin"})) == "/nowhere/pin"
    with pytest.raises(ImproperlyConfigured, match="must be an absolute path"):
        environment.file("X", environ={"X": "pin"})


def test_networks_are_read():
    text = "127.0.0.0/8, ::1,192.0.2.7"
    found = environment.networks("X", default="", environ={"X": text})
    assert [str(network) for network in found] == ["127.0.0.0/8", "::1/128", "192.0.2.7/32"]
    assert environment.networks("X", default="::1", environ={"X": ""}) == []


def test_what_is_no_network_is_refused():
    with pytest.raises(ImproperlyConfigured, match="X: 'here' is neither an address nor a network"):
        environment.networks("X", default="here", environ={})
