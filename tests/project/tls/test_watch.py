"""A serving process follows the database."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import threading
from dataclasses import replace

import pytest
from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from pki import changes, revocation, upkeep
from pki.models import Endpoint, TrustVersion
from pki.signals import trust_changed
from project.tls import configuration, watch
from tests.factories import ACTOR, make_device, make_people, make_pki, make_server_certificate
from tests.project.tls.conftest import free_port
from tests.project.tls.test_connection import until
from tests.project.tls.test_listeners import is_refused

pytestmark = pytest.mark.django_db(transaction=True)


class Scene:
    """An endpoint that requires certificates, Alice's device, and a running watch."""

    def __init__(self, ground, tmp_path):
        self.ground, self.pki = ground, make_pki()
        self.port = free_port()
        self.endpoint = Endpoint.objects.create(
            name="main",
            port=self.port,
            certificate=make_server_certificate(self.pki.issuing, hosts=("localhost",)),
            client_certificate="required",
            truststore=self.pki.truststore,
            serves="main",
        )
        self.device = make_device(make_people().alice, self.pki.issuing)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.client.load_verify_locations(cadata=bytes(self.pki.root.certificate.der))
        self.client.load_cert_chain(self.device.write_pem(tmp_path / "alice.pem"))
        self.watch = watch.Watch(version=changes.current_version())
        ground.on_loop(ground.ports.start, configuration.load())
        self.task = ground.on_loop(self._start)

    async def _start(self):
        return asyncio.create_task(self.watch.run(self.ground.ports))

    def connect(self):
        return self.ground.connect(self.port, client=self.client)

    def is_let_in(self) -> bool:
        try:
            with self.connect() as client:
                client.sendall(b"x")
                return bool(client.recv(1) == b"x")
        except ssl.SSLError:
            return False

    def stop(self):
        self.ground.on_loop(self.task.cancel)
        until(lambda: self.task.done())
        for thread in (self.watch._thread, self.watch._upkeep_thread):
            thread.shutdown(wait=True)  # what it still writes would reach the next test


@pytest.fixture
def scene(ground, tmp_path):
    scene = Scene(ground, tmp_path)
    yield scene
    scene.stop()


def change_elsewhere() -> None:
    """As another process does: no signal arrives here."""
    TrustVersion.objects.update(version=F("version") + 1)


def revoke(scene) -> None:
    revocation.revoke(
        actor=ACTOR,
        certificate=scene.device.certificate,
        reason="keyCompromise",
        at=timezone.now(),
    )


def test_revoked_here_is_refused_at_the_next_handshake(scene, monkeypatch):
    monkeypatch.setattr(watch, "POLL_SECONDS", 60)  # the signal alone must do
    assert scene.is_let_in()
    with scene.connect() as live:
        revoke(scene)
        until(lambda: not scene.is_let_in())
        live.sendall(b"x")
        assert live.recv(1) == b"x"  # a live one is the application's to judge


def test_revoked_elsewhere_is_refused_within_a_second_and_announced(scene):
    assert scene.is_let_in()
    until(lambda: scene.watch._applied == changes.current_version())
    heard = threading.Event()

    def hear(**_):
        heard.set()

    receivers, trust_changed.receivers = trust_changed.receivers, []  # nothing arrives from here
    trust_changed.sender_receivers_cache.clear()
    try:
        revoke(scene)
    finally:
        trust_changed.receivers = receivers
        trust_changed.sender_receivers_cache.clear()
    trust_changed.connect(hear)
    until(lambda: not scene.is_let_in(), 2)
    assert heard.wait(2)


def test_endpoint_goes_and_comes_back(scene):
    Endpoint.objects.update(enabled=False)
    change_elsewhere()
    until(lambda: is_refused(scene.port))
    Endpoint.objects.update(enabled=True)
    change_elsewhere()
    until(lambda: not is_refused(scene.port))
    assert scene.is_let_in()


def test_endpoint_moves(scene):
    other = free_port()
    Endpoint.objects.update(port=other)
    change_elsewhere()
    until(lambda: is_refused(scene.port) and not is_refused(other))


def test_unreadable_database_is_logged_once_and_serving_goes_on(scene, monkeypatch, caplog):
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)
    turns = []

    def fail() -> int:
        turns.append(1)
        raise OperationalError("gone")

    monkeypatch.setattr(changes, "current_version", fail)
    until(lambda: len(turns) > 3)
    assert scene.is_let_in()
    assert caplog.text.count("Serving goes on as it was. OperationalError: gone") == 1
    monkeypatch.undo()
    change_elsewhere()
    until(lambda: scene.watch._applied == changes.current_version())


def test_endpoint_that_cannot_be_prepared_stays_as_it_was(scene, monkeypatch, caplog):
    real = configuration.prepare

    def prepare(row):
        if row.name == "main":
            raise configuration.ConfigurationError("Endpoint main cannot be served: no.")
        return real(row)

    monkeypatch.setattr(configuration, "prepare", prepare)
    port = free_port()
    Endpoint.objects.create(name="public", port=port, tls=False, serves="public")
    change_elsewhere()
    until(lambda: not is_refused(port))
    assert scene.is_let_in()
    assert caplog.text.count("Endpoint main cannot be served: no.") == 1


def test_endpoint_that_breaks_unexpectedly_keeps_no_other_from_following(
    scene, monkeypatch, caplog
):
    real = configuration.prepare

    def prepare(row):
        if row.name == "main":
            raise ZeroDivisionError("nobody thought of this")
        return real(row)

    monkeypatch.setattr(configuration, "prepare", prepare)
    port = free_port()
    Endpoint.objects.create(name="public", port=port, tls=False, serves="public")
    change_elsewhere()
    until(lambda: not is_refused(port))
    assert scene.is_let_in()
    assert caplog.text.count("unexpected ZeroDivisionError") == 1


def test_change_is_announced_where_the_ports_cannot_follow(scene, monkeypatch, caplog):
    async def fail(wanted):
        raise ZeroDivisionError("nobody thought of this")

    heard = threading.Event()

    def hear(**_):
        heard.set()

    until(lambda: scene.watch._applied == changes.current_version())
    monkeypatch.setattr(scene.ground.ports, "apply", fail)
    trust_changed.connect(hear)
    change_elsewhere()

    assert heard.wait(30)
    assert scene.watch._applied != changes.current_version()
    until(lambda: "unexpected ZeroDivisionError" in caplog.text)
    assert caplog.text.count("unexpected ZeroDivisionError") == 1
    monkeypatch.undo()
    until(lambda: scene.watch._applied == changes.current_version())


def test_changes_do_not_wait_for_upkeep(scene, monkeypatch):
    begun, end = threading.Event(), threading.Event()

    def take_long(*, at):
        begun.set()
        end.wait(60)

    monkeypatch.setattr(upkeep, "carry_out_punctual", take_long)
    try:
        assert begun.wait(30)
        change_elsewhere()
        until(lambda: scene.watch._applied == changes.current_version())
    finally:
        end.set()


def test_upkeep_that_fails_is_logged_once_and_goes_on(scene, monkeypatch, caplog):
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.02)
    turns = []

    def fail(*, at):
        turns.append(1)
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(upkeep, "carry_out_punctual", fail)
    until(lambda: len(turns) > 3)
    assert caplog.text.count("unexpected ZeroDivisionError") == 1


def test_due_crls_are_published(scene):
    before = scene.pki.issuing.crls.count()
    scene.pki.issuing.crls.all().delete()
    assert before
    scene.watch._upkeep_at = 0.0
    until(lambda: scene.pki.issuing.crls.exists())


def test_planned_revocation_bites_within_seconds(scene):
    """Long before the minute of upkeep is over."""
    certificate = scene.device.certificate
    until(lambda: scene.watch._upkeep_at > 0)
    now = timezone.now()
    revocation.plan(
        actor=ACTOR,
        certificate=certificate,
        reason="superseded",
        at_time=now + dt.timedelta(seconds=3),
        at=now,
    )
    assert scene.is_let_in()
    until(lambda: not scene.is_let_in(), seconds=12)
    certificate.refresh_from_db()
    assert certificate.revoked_at >= now + dt.timedelta(seconds=3)


def test_broken_receiver_does_not_stop_the_watch(scene, caplog):
    def break_down(**_):
        raise RuntimeError("mine")

    trust_changed.connect(break_down)
    change_elsewhere()
    until(lambda: "failed on trust_changed" in caplog.text)
    trust_changed.disconnect(break_down)
    change_elsewhere()
    until(lambda: scene.watch._applied == changes.current_version())


def test_settings_are_values(scene):
    (wanted,) = configuration.load()
    assert replace(wanted.settings) == wanted.settings
