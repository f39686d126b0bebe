from __future__ import annotations

import pytest

from project.tls import tally
from project.tls.note import Note


@pytest.fixture(autouse=True)
def own_numbers(monkeypatch):
    monkeypatch.setattr(tally, "_counts", type(tally._counts)())
    monkeypatch.setattr(tally, "_kinds", type(tally._kinds)())


def test_labels_that_peers_choose_do_not_fill_the_memory():
    for number in range(tally.MOST + 50):
        tally.count("handshakes", "main", f"reason {number}")
    tally.count("handshakes", "main", "reason 0")
    counted = tally.counts()
    assert len(counted) == tally.MOST + 1
    assert counted["handshakes\tmain\tother"] == 50
    assert counted["handshakes\tmain\treason 0"] == 2


def test_note_counts_what_goes_both_ways():
    note = Note(kind="socket")
    note.active_at = 0
    note.said()
    assert note.active_at == 0
    note.heard()
    assert (note.received, note.sent) == (1, 1)
    assert note.active_at > 0
    assert tally.counts() == {"messages\tsocket\tsent": 1, "messages\tsocket\treceived": 1}
    assert Note().number > note.number
