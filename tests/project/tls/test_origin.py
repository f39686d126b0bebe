"""Whom a connection is counted against, and whose word about it counts."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from project.tls.endpoint import Endpoint, EndpointSettings
from project.tls.origin import Origin

LISTED = (ipaddress.ip_network("192.0.2.0/24"),)
DIRECT = EndpointSettings("main", "127.0.0.1", 8443, "main", max_per_address=1)
BEHIND = dataclasses.replace(DIRECT, proxy="header", proxies=LISTED)


class Wire:
    def __init__(self, peer: str) -> None:
        self.names = {"peername": (peer, 4711), "sockname": ("192.0.2.1", 8443)}

    def get_extra_info(self, name: str) -> object:
        return self.names[name]


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def come(complaints):
    def come(endpoint: Endpoint, peer: str) -> Origin:
        return Origin(endpoint, Wire(peer), complain=lambda reason, _: complaints.append(reason))

    return come


def test_address_holds_as_many_as_it_may_until_one_leaves(come):
    endpoint = Endpoint(DIRECT, None)
    first, second = come(endpoint, "203.0.113.7"), come(endpoint, "203.0.113.7")
    assert first.is_taken()
    assert not second.is_taken()
    second.leave()  # it was never counted in
    assert not come(endpoint, "203.0.113.7").is_taken()
    first.leave()
    first.leave()
    assert come(endpoint, "203.0.113.7").is_taken()


def test_client_of_a_proxy_is_counted_once_and_in_its_own_name(come):
    endpoint = Endpoint(BEHIND, None)
    origins = [come(endpoint, "192.0.2.7") for _ in range(3)]
    assert all(origin.is_taken() for origin in origins)  # the proxy itself is not counted
    one, other, third = origins
    assert one.speaks_for("203.0.113.7")
    assert one.speaks_for("203.0.113.7")
    assert not other.speaks_for("203.0.113.7")
    assert third.speaks_for("203.0.113.8")
    assert (one.peer, one.via) == (("203.0.113.7", 0), "192.0.2.7")
    one.leave()
    assert other.speaks_for("203.0.113.7")


def test_peer_that_is_no_proxy_is_not_taken_where_one_is_expected(come, complaints):
    assert not come(Endpoint(BEHIND, None), "203.0.113.7").is_taken()
    assert complaints == ["not one of the proxies of this endpoint"]


@pytest.mark.parametrize("changed", [{"proxies": ()}, {"proxy": "protocol"}, {"proxy": "none"}])
def test_proxy_may_speak_for_as_long_as_it_is_one(come, changed):
    endpoint = Endpoint(BEHIND, None)
    origin = come(endpoint, "192.0.2.7")
    assert origin.is_taken()
    assert origin.may_speak()
    endpoint.swap(dataclasses.replace(BEHIND, **changed), None)
    assert not origin.may_speak()
