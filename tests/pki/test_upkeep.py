"""Duties that fall due by themselves."""

from __future__ import annotations

from pki import ocsp, upkeep


def test_crls_are_renewed(pki, at):
    pki.issuing.crls.all().delete()
    upkeep.carry_out(at=at)
    assert pki.issuing.crls.count() == 1


def test_responders_are_renewed_and_answers_signed_ahead(pki, at):
    ocsp.cache.clear()
    upkeep.carry_out(at=at)
    pki.issuing.refresh_from_db()
    assert pki.issuing.responder is not None
    assert len(ocsp.cache) > 0


def test_a_duty_that_fails_keeps_no_other_from_its_turn(pki, at, monkeypatch, caplog):
    def fail(_):
        raise RuntimeError("mine")

    duties = {"do the impossible": fail, **upkeep.DUTIES}
    monkeypatch.setattr(upkeep, "DUTIES", duties)
    pki.issuing.crls.all().delete()
    upkeep.carry_out(at=at)
    assert pki.issuing.crls.count() == 1
    assert "Could not do the impossible" in caplog.text
