"""What a proxy that ended TLS says in headers, as RFC 9440 and X-Forwarded-For have it."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.tls import forwarded
from project.tls.forwarded import ForwardedError
from tests.certs import made_odd, make_ca

DER = make_ca("Root").issue("alice").der
FIELD = b":" + base64.b64encode(DER) + b":"


def said(*values: bytes, name: bytes = b"client-cert") -> list[tuple[bytes, bytes]]:
    return [(b"host", b"chat.example"), *((name, value) for value in values)]


@pytest.mark.parametrize("value", [FIELD, b" " + FIELD + b"\t"])
def test_certificate_is_read_from_a_byte_sequence(value):
    assert forwarded.certificate(said(value)) == DER


def test_nobody_is_no_certificate():
    assert forwarded.certificate(said()) is None
    assert forwarded.certificate(said(FIELD, name=b"client-cert-chain")) is None
    assert forwarded.certificate(said(FIELD, name=b"x-client-cert")) is None


@pytest.mark.parametrize(
    "values",
    [
        (FIELD, FIELD),
        (FIELD + b"," + FIELD,),
        (FIELD + b", ",),
        (FIELD + b";a=1",),
        (b"",),
        (b":",),
        (b"::",),
        (FIELD[1:-1],),
        (b'"' + FIELD[1:-1] + b'"',),
        (FIELD[:-1],),
        (FIELD[:40] + b" " + FIELD[40:],),
        (FIELD[:40] + b"!" + FIELD[40:],),
        (FIELD[:-9] + b":",),
        (b":" + base64.b64encode(DER + b"more") + b":",),
        (b":" + base64.b64encode(b"\x30\x03\x02\x01\x01") + b":",),
        (b"-----BEGIN%20CERTIFICATE-----",),
        *((b":" + base64.b64encode(odd) + b":",) for odd in made_odd(DER)),
    ],
)
def test_whatever_else_is_refused(values):
    with pytest.raises(ForwardedError):
        forwarded.certificate(said(*values))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_value_does_more_than_being_refused(value):
    for each in (value, b":" + value + b":", b":" + base64.b64encode(value) + b":"):
        with pytest.raises(ForwardedError):
            forwarded.certificate(said(each))


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ((b"203.0.113.7",), "203.0.113.7"),
        ((b"10.0.0.1, 203.0.113.7",), "203.0.113.7"),
        ((b"10.0.0.1", b"1.1.1.1,2001:db8::7"), "2001:db8::7"),
        ((b"::ffff:203.0.113.7",), "203.0.113.7"),
        ((b"203.0.113.7, unknown",), None),
        ((b"203.0.113.7,",), None),
        ((b"",), None),
        ((), None),
    ],
)
def test_address_is_the_last_one_which_the_proxy_itself_saw(values, address):
    assert forwarded.client(said(*values, name=b"x-forwarded-for")) == address


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"chat.example", 443),
        (b"chat.example:8443", 8443),
        (b"[::1]:8443", 8443),
        (b"[::1]", 443),
        (b"chat.example:99999", 443),
        (b"chat.example:", 443),
    ],
)
def test_port_is_the_one_in_host(host, port):
    assert forwarded.port([(b"host", host)]) == port


def test_headers_of_proxies_never_reach_the_application():
    kept = [(b"host", b"a"), (b"x-requested-with", b"b"), (b"cookie", b"c"), (b"x-client", b"d")]
    gone = [
        b"client-cert",
        b"client-cert-chain",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-real-ip",
        b"x-ssl-client-cert",
        b"ssl-client-verify",
    ]
    assert forwarded.strip([*kept, *((name, b"x") for name in gone)]) == kept


@pytest.mark.parametrize(
    ("kind", "prefix"), [("http", "http.response"), ("websocket", "websocket.http.response")]
)
def test_refusal_is_a_status_and_a_sentence(kind, prefix):
    sent = []

    async def receive():
        return {}

    async def send(message):
        sent.append(message)

    asyncio.run(forwarded.refusal(400, "No.")({"type": kind}, receive, send))
    assert [message["type"] for message in sent] == [f"{prefix}.start", f"{prefix}.body"]
    assert (sent[0]["status"], sent[1]["body"]) == (400, b"No.\n")
