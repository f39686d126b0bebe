from __future__ import annotations

import pytest

from pki import addresses
from pki.models import Endpoint
from tests.factories import make_endpoint


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ALLOWED_HOSTS = ["chat.example", "[::1]"]
    settings.SIGNET_HOSTS = ["chat.example", "::1"]
    settings.SIGNET_PORTS = {"main": 443, "enrol": 8444, "public": 80}
    settings.SIGNET_PROXY_PORTS = {"https": 4430, "http": 8000}


def test_port_of_the_scheme_is_left_out(db):
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


def test_links_follow_the_row_and_not_the_setting_once_there_is_one(db):
    assert addresses.url("public") == "http://chat.example/"
    Endpoint.objects.create(name="p", address="127.0.0.1", port=9080, tls=False, serves="public")
    assert addresses.url("public") == "http://chat.example:9080/"

    Endpoint.objects.update(enabled=False)
    assert addresses.url("public") == "http://chat.example/"


def test_links_lead_to_the_part_of_main_that_has_the_path(pki):
    rows = {"chat": 9001, "console": 9002}
    for name, port in rows.items():
        make_endpoint(pki, pki.truststore, name=name, port=port, serves=name)
    assert addresses.url("main", "/rooms/general/") == "https://chat.example:9001/rooms/general/"
    assert addresses.url("main", "/console/") == "https://chat.example:9002/console/"

    make_endpoint(pki, pki.truststore, name="main", port=9003)
    assert addresses.url("main", "/console/") == "https://chat.example:9003/console/"


def test_enrolment_may_have_a_host_of_its_own(db, settings):
    settings.SIGNET_ENROL_HOST = "enrol.example"
    assert addresses.enrolment_link("x") == "https://enrol.example:8444/enrol/x/"
    assert addresses.url("main") == "https://chat.example/"


@pytest.mark.parametrize("proxy", ["protocol", "header"])
def test_links_lead_to_the_proxy_where_there_is_one(db, proxy):
    row = Endpoint(name="p", address="127.0.0.1", port=9080, tls=False, serves="public")
    row.proxy = proxy
    row.save()

    assert addresses.url("public") == "http://chat.example:8000/"


def test_links_are_https_where_the_proxy_ends_tls(db):
    row = Endpoint(name="p", address="127.0.0.1", port=9080, tls=False, serves="enrol")
    row.proxy, row.proxy_addresses = "header", "127.0.0.1"
    row.save()

    assert addresses.url("enrol") == "https://chat.example:4430/"


def test_addresses_of_version_6_stand_in_brackets():
    assert addresses.bracketed("::1") == "[::1]"
    assert addresses.bracketed("chat.example") == "chat.example"
    assert addresses.origin("::1", 8443, tls=True) == "https://[::1]:8443"


def test_localhost_answers_at_both_its_addresses():
    assert addresses.with_loopback(["localhost"]) == ["localhost", "127.0.0.1", "::1"]
    assert addresses.with_loopback(["a", "a"]) == ["a"]
