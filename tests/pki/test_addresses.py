from __future__ import annotations

import pytest

from pki import addresses


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ALLOWED_HOSTS = ["chat.example", "[::1]"]
    settings.SIGNET_HOSTS = ["chat.example", "::1"]
    settings.SIGNET_PORTS = {"main": 443, "enrol": 8444, "public": 80}


def test_port_of_the_scheme_is_left_out():
    assert addresses.url("main", "/x") == "https://chat.example/x"
    assert addresses.url("enrol") == "https://chat.example:8444/"
    assert addresses.url("public") == "http://chat.example/"


def test_sockets_are_for_pages_of_our_hosts_on_the_canonical_port_or_their_own():
    assert addresses.main_origins({"server": ["10.0.0.1", 9443]}) == {
        "https://chat.example",
        "https://chat.example:9443",
        "https://[::1]",
        "https://[::1]:9443",
    }
