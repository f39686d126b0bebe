"""The test of an endpoint says what is right, and finds what is wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from channels.db import database_sync_to_async
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.utils import timezone

from pki import changes, probes, server_certificates
from pki.models import AuditEntry, Certificate, Endpoint, User
from pki.signals import trust_changed
from pki.truststore import create_truststore
from project.endpoint_test import test_endpoint as try_out
from project.tls import configuration
from project.tls.line import Doors, Lines
from project.tls.listeners import Listeners
from tests.factories import make_endpoint
from tests.project.tls.conftest import Factory, free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listening() -> Iterator[SimpleNamespace]:
    """The endpoints of the database on a loop of their own; `follow()` takes in what has changed.
    An echo stands for the site, so nothing is asked at /whoami."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ports = Listeners()
    ports.factory = Factory()

    def follow(change=lambda wanted: wanted):
        wanted = [change(one) for one in configuration.load()]
        asyncio.run_coroutine_threadsafe(ports.apply(wanted), loop).result(30)

    yield SimpleNamespace(follow=follow, ports=ports)
    asyncio.run_coroutine_threadsafe(ports.stop(patience=0), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


@pytest.fixture
def follows(listening, monkeypatch):
    """A change is taken in as soon as it is announced."""
    send = changes._send

    def and_follow():
        send()
        listening.follow()

    monkeypatch.setattr(changes, "_send", and_follow)
    return listening


@pytest.fixture
def endpoint(pki):
    row = make_endpoint(pki, pki.truststore, port=free_port())
    Endpoint.objects.filter(pk=row.pk).update(address="127.0.0.1", client_certificate="required")
    return Endpoint.objects.get(pk=row.pk)


def sentences(endpoint):
    return [(result.is_right, result.sentence) for result in try_out(actor="t", endpoint=endpoint)]


ENDED = "the server ended the handshake with"
CAST = ["without a certificate", "with a good certificate", "with a certificate of another CA"]
CAST += ["with the certificate of a server", "with an expired certificate"]
CAST += ["with a revoked certificate"]


def test_endpoint_that_requires_certificates(endpoint, follows):
    follows.follow()

    told = sentences(endpoint)

    assert [sentence for is_right, sentence in told if not is_right] == []
    text = "\n".join(sentence for _, sentence in told)
    for version in ("TLS 1.2", "TLS 1.3"):
        assert (
            f"As somebody with a good certificate in {version}: the server let them in. Right."
            in text
        )
        for who, alert in (
            ("with an expired certificate", "certificate expired"),
            ("with a certificate of another CA", "unknown ca"),
            ("with the certificate of a server", "unsupported certificate"),
        ):
            assert f"As somebody {who} in {version}: {ENDED} “{alert}”. Right." in text
        assert f"s before, in {version}: {ENDED} “certificate revoked”. Right." in text
    nobody = "As somebody without a certificate in"
    assert f"{nobody} TLS 1.2: {ENDED} “handshake failure”. Right." in text
    assert f"{nobody} TLS 1.3: {ENDED} “certificate required”. Right." in text
    assert "As localhost, the server is believed by clients that trust our root." in text
    assert len(told) == 2 * len(CAST) + 1
    nothing_is_left()


def nothing_is_left():
    """But for what the trail tells."""
    person = User.objects.get(username=probes.USERNAME)
    assert not person.is_active
    assert not person.has_usable_password()
    now = timezone.now()
    issued = Certificate.objects.filter(profile__startswith="endpoint-test")
    assert [str(one.status_at(now)) for one in issued.order_by("pk")] == [
        "revoked",
        "revoked",
        "expired",
    ]
    entry = AuditEntry.objects.filter(action="endpoint.tested").get()
    assert (entry.actor, entry.target) == ("t", "main")
    assert entry.detail == {"right": 13, "wrong": []}


def test_modern_policy_refuses_tls_12(endpoint, follows):
    Endpoint.objects.filter(pk=endpoint.pk).update(policy="modern")
    endpoint.refresh_from_db()
    follows.follow()

    told = sentences(endpoint)

    assert (
        True,
        f"As a client that speaks TLS 1.2 at most: {ENDED} “protocol version”. Right.",
    ) in told
    assert [sentence for is_right, sentence in told if not is_right] == []
    assert len(told) == len(CAST) + 2


def test_server_that_never_hears_of_revocations_is_found_out(endpoint, listening, monkeypatch):
    """Nothing follows the change, so the endpoint judges by the CRL of before."""
    monkeypatch.setattr("project.endpoint_test.PATIENCE", 0.5)
    listening.follow()

    wrong = [sentence for is_right, sentence in sentences(endpoint) if not is_right]

    assert len(wrong) == 2
    for sentence in wrong:
        assert "somebody whose certificate was revoked" in sentence
        assert (
            "the server let them in. Wrong: this endpoint has to end the handshake with "
            in sentence
        )


def test_server_that_asks_nobody_is_found_out(endpoint, listening, capsys, monkeypatch):
    """It listens as it was before the row was changed."""
    monkeypatch.setattr("project.endpoint_test.PATIENCE", 0.5)
    Endpoint.objects.filter(pk=endpoint.pk).update(client_certificate="none", serves="enrol")
    listening.follow()
    Endpoint.objects.filter(pk=endpoint.pk).update(client_certificate="required", serves="main")

    with pytest.raises(CommandError, match=r"^10 of these are wrong; the others are right\.$"):
        call_command("test_endpoint", "main")

    out = capsys.readouterr().out
    assert (
        "without a certificate in TLS 1.3: the server let them in. Wrong: this endpoint has" in out
    )


def test_certificate_without_the_host_name_is_found_out(endpoint, listening, settings):
    settings.SIGNET_HOSTS = ["localhost", "chat.example.org"]
    Endpoint.objects.filter(pk=endpoint.pk).update(
        client_certificate="none", truststore=None, serves="enrol"
    )
    endpoint.refresh_from_db()
    listening.follow()

    told = sentences(endpoint)

    ((sentence,),) = [[s] for is_right, s in told if not is_right]
    assert sentence.startswith("As chat.example.org, the server is not believed by clients")
    assert "Hostname mismatch" in sentence


def test_trust_store_without_a_ca_of_ours(endpoint, follows):
    store = create_truststore(actor="t", name="partners", at=timezone.now())
    Endpoint.objects.filter(pk=endpoint.pk).update(truststore=store)
    endpoint.refresh_from_db()
    follows.follow()

    told = sentences(endpoint)

    assert "The trust store partners trusts no CA that issues here" in told[0][1]
    assert [sentence for is_right, sentence in told if not is_right] == []
    assert not Certificate.objects.filter(profile__startswith="endpoint-test").exists()


@pytest.mark.parametrize(("listed", "is_right"), [("127.0.0.1", True), ("192.0.2.1", False)])
def test_endpoint_behind_a_proxy(endpoint, listening, listed, is_right):
    Endpoint.objects.filter(pk=endpoint.pk).update(
        **{"client_certificate": "none", "truststore": None, "serves": "enrol"},
        **{"proxy": "protocol", "proxy_addresses": listed},
    )
    endpoint.refresh_from_db()
    listening.follow()

    told = sentences(endpoint)

    assert "this test speaks as the proxy" in told[0][1]
    assert {right for right, _ in told[1:]} == {is_right}
    expected = "let them in. Right." if is_right else "cut the connection without a word. Wrong"
    assert expected in told[1][1]


def test_nobody_there(endpoint):
    with pytest.raises(CommandError, match=r"Nobody answers on 127\.0\.0\.1 port .* Start it:"):
        call_command("test_endpoint", "main")


def test_endpoint_that_is_not_there(endpoint):
    with pytest.raises(CommandError, match=r"no endpoint 'mian'\. There are: main"):
        call_command("test_endpoint", "mian")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"enabled": False}, "is off"),
        ({"tls": False, "client_certificate": "none", "truststore": None}, "has no TLS"),
    ],
)
def test_endpoint_without_a_handshake(endpoint, changed, said):
    Endpoint.objects.filter(pk=endpoint.pk).update(**changed)
    endpoint.refresh_from_db()

    ((is_right, sentence),) = sentences(endpoint)

    assert is_right
    assert said in sentence


def test_interrupted_test_revokes_what_it_issued(endpoint, follows):
    follows.follow()
    running = try_out(actor="t", endpoint=endpoint)
    next(running)
    assert Certificate.objects.filter(profile="endpoint-test", revoked_at=None).exists()

    running.close()

    assert not Certificate.objects.filter(
        profile__startswith="endpoint-test", revoked_at=None
    ).exists()


@pytest.fixture
def lines(endpoint, listening):
    """The endpoint speaks lines."""
    Endpoint.objects.filter(pk=endpoint.pk).update(serves="line", client_certificate="optional")
    endpoint.refresh_from_db()
    spoken = Lines()
    listening.ports.factory = Doors(listening.ports.factory, spoken)
    yield spoken
    trust_changed.disconnect(spoken._hear)
    asyncio.run(database_sync_to_async(connections.close_all)())


def test_what_the_line_service_says_is_heard(endpoint, lines, follows):
    follows.follow()

    told = sentences(endpoint)

    assert [sentence for is_right, sentence in told if not is_right] == []
    text = "\n".join(sentence for _, sentence in told)
    for version in ("TLS 1.2", "TLS 1.3"):
        for who, said in (
            ("without a certificate", "Your client sent no certificate."),
            ("with a good certificate", "Your account has been disabled."),
            ("with an expired certificate", "Your certificate has expired."),
        ):
            let_in = f"the server let them in, and said: “{said}” Right."
            assert f"As somebody {who} in {version}: {let_in}" in text
        revoked = "the server let them in, and said: “Your certificate has been revoked.” Right."
        assert f"s before, in {version}: {revoked}" in text
    assert len(told) == 2 * len(CAST) + 1


def test_line_service_that_says_the_wrong_thing_is_found_out(endpoint, lines, follows, monkeypatch):
    monkeypatch.setattr("project.tls.line.Line._greet", _welcome_anybody)
    monkeypatch.setattr("project.endpoint_test.PATIENCE", 0.5)
    follows.follow()

    wrong = [sentence for is_right, sentence in sentences(endpoint) if not is_right]

    assert len(wrong) == 8
    assert (
        "As somebody without a certificate in TLS 1.3: the server let them in, and said: “Welcome.” "
        "Wrong: this endpoint has to let them in, and to say “Your client sent no certificate.”"
    ) in wrong


async def _welcome_anybody(line):
    line.end("Welcome.")


def test_host_that_leads_nowhere_is_found_out(endpoint, listening):
    Endpoint.objects.filter(pk=endpoint.pk).update(
        client_certificate="none", truststore=None, serves="enrol"
    )
    endpoint.refresh_from_db()
    endpoint.further_certificates.add(
        server_certificates.issue(actor="t", hosts=["chat.example.org"], at=timezone.now())
    )
    listening.follow()

    (sentence,) = (said for is_right, said in sentences(endpoint) if not is_right)
    assert sentence == (
        "chat.example.org is not in SIGNET_HOST, so pages are not served under it. "
        "Wrong: add it to SIGNET_HOST and start again."
    )
