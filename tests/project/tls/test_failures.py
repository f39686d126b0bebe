"""A flood of bad handshakes does not become a flood of lines."""

from __future__ import annotations

import pytest

from project.tls import failures


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


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("CRL has expired", "manage.py publish_crl"),
        ("unsuitable certificate purpose", "not meant for clients"),
        ("never heard of", failures.OTHERWISE),
    ],
)
def test_each_reason_has_its_advice(caplog, reason, advice):
    record(failures.FailureLog(), reason=reason)
    assert advice in caplog.text
