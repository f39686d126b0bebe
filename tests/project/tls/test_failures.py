"""A flood of bad handshakes does not become a flood of lines; each good one is told to who asks."""

from __future__ import annotations

import time

import pytest

from project.tls import advice, failures
from project.tls.sample import Sample
from tests.project.tls.conftest import TLS12, TLS13


@pytest.fixture(autouse=True)
def sample(monkeypatch):
    fresh = Sample()
    monkeypatch.setattr(failures, "sample", fresh)
    return fresh


def record(log, times=1, reason="certificate revoked"):
    for _ in range(times):
        log.record(endpoint="main", peer="192.0.2.1:1", reason=reason)


def test_burst_is_written_and_the_rest_is_counted(caplog, monkeypatch):
    monkeypatch.setattr(failures.time, "monotonic", lambda: 100.0)
    log = failures.FailureLog(last=100.0)
    record(log, 500)
    assert len(caplog.records) == failures.BURST
    monkeypatch.setattr(failures.time, "monotonic", lambda: 101.0)
    record(log)
    assert "(470 more were not written down)" in caplog.records[-1].message


def test_receivers_are_spared_too(monkeypatch):
    monkeypatch.setattr(failures.time, "monotonic", lambda: 100.0)
    told = []

    def hear(**what):
        told.append(what)

    failures.handshake_failed.connect(hear)
    record(failures.FailureLog(last=100.0), 500)
    assert len(told) == failures.BURST


def test_what_is_silenced_is_counted_in_the_sample(sample, monkeypatch):
    monkeypatch.setattr(failures.time, "monotonic", lambda: 100.0)
    record(failures.FailureLog(last=100.0), 500)

    assert sum(one.count for one in sample.take()) == 500


def test_line_says_what_to_do(caplog):
    record(failures.FailureLog(), reason="CRL has expired")
    assert advice.CRL in caplog.text


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
def test_each_success_is_told_with_who_and_how(ground, world, version):
    told = []

    def hear(**what):
        told.append(what)

    def break_down(**_):
        raise RuntimeError("a receiver's own fault")

    failures.handshake_completed.connect(break_down)
    failures.handshake_completed.connect(hear)
    try:
        with ground.connect(ground.serve("required"), "good", version) as connection:
            connection.sendall(b"still there")
            assert connection.recv(100) == b"still there"
            peer = "{}:{}".format(*connection.getsockname())
            expected = connection.version(), connection.cipher()[0]
        deadline = time.monotonic() + 30
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        failures.handshake_completed.disconnect(break_down)
    (one,) = told
    assert (one["endpoint"], one["peer"]) == ("main", peer)
    assert (one["tls"].version, one["tls"].cipher) == expected
    assert one["tls"].certificate == world.clients["good"].der
    assert one["tls"].server_name == "localhost"


def test_certificate_that_a_trusted_ca_signed_and_nobody_can_read_ends_in_order(
    ground, world, tmp_path, caplog
):
    odd = world.issuing.issue_odd().write_pem(tmp_path / "odd.pem")
    client = world.client()
    client.load_cert_chain(odd)
    port = ground.serve("optional")
    with ground.connect(port, client=client) as connection:
        assert connection.recv(100) == b""  # close_notify; a cut connection would raise
    deadline = time.monotonic() + 30
    while ground.ports.connections() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ground.ports.connections() == []
    assert ground.factory.built == []
    assert "the client's certificate cannot be read" in caplog.text
    assert "Traceback" not in caplog.text
    with ground.connect(port, "good") as connection:  # the endpoint goes on
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"


def test_failure_is_no_success(ground):
    told = []

    def hear(**what):
        told.append(what)

    failures.handshake_completed.connect(hear)
    with (
        pytest.raises(OSError),  # noqa: PT011
        ground.connect(ground.serve("required"), "revoked") as connection,
    ):
        connection.recv(1)
    assert told == []
