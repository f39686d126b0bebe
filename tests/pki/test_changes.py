"""The number that rises."""

from __future__ import annotations

from django.db import transaction

from pki.changes import announce_change, current_version
from pki.signals import trust_changed


def test_announce_change_raises_version_and_signals_after_commit(
    db: None, django_capture_on_commit_callbacks
) -> None:
    heard: list[object] = []

    def hear(**_: object) -> None:
        heard.append(current_version())

    trust_changed.connect(hear)
    before = current_version()
    try:
        with django_capture_on_commit_callbacks(execute=True):
            announce_change()
            assert heard == []
    finally:
        trust_changed.disconnect(hear)
    assert current_version() == before + 1
    assert heard == [before + 1]


def test_announce_change_rolled_back_is_none(db: None) -> None:
    announce_change()
    before = current_version()
    with transaction.atomic():
        announce_change()
        transaction.set_rollback(True)
    assert current_version() == before


def test_current_version_before_any_change(db: None) -> None:
    assert current_version() == 0
