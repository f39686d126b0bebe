from __future__ import annotations

import io
import threading
import time
from itertools import count
from types import SimpleNamespace

import pytest

from pki import progress
from pki.progress import ProgressLine, waiting_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (0, 0, 1, "Revoking: 0"),
        (0, 200, 1, "Revoking: 0/200 (0%)"),
        (50, 200, 10, "Revoking: 50/200 (25%), 30 s left"),
        (1, 100, 10, "Revoking: 1/100 (1%), 16 min 30 s left"),
        (1, 1000, 10, "Revoking: 1/1000 (0%), 2 h 46 min left"),
        (200, 200, 10, "Revoking: 200/200 (100%)"),
    ],
)
def test_line_tells_how_far_and_how_long(done: int, total: int, seconds: float, text: str) -> None:
    line = ProgressLine("Revoking", io.StringIO())
    line(done, total)
    assert line.text(seconds=seconds) == text


def test_line_is_drawn_over_itself_and_ended(monkeypatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", iter(range(100)).__next__)
    terminal = Terminal()
    with ProgressLine("Revoking", terminal) as line:
        line(1, 2)
        line(2, 2)
    first, second, end = terminal.getvalue().replace("\n", "\r\n").split("\r")[1:]
    assert first == "Revoking: 1/2 (50%), 1 s left"
    assert second == "Revoking: 2/2 (100%)".ljust(len(first))
    assert end == "\n"


def test_line_is_not_drawn_too_often(monkeypatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 5.0)
    terminal = Terminal()
    with ProgressLine("Revoking", terminal) as line:
        for done in range(1, 101):
            line(done, 100)
    assert terminal.getvalue().count("\r") == 2  # the first and the last


def test_line_is_silent_elsewhere() -> None:
    stream = io.StringIO()
    with ProgressLine("Revoking", stream) as line:
        line(1, 2)
    assert stream.getvalue() == ""


def test_wait_counts_seconds_while_the_work_goes_on_and_clears_its_line(monkeypatch) -> None:
    monkeypatch.setattr(progress, "TICK", 0.01)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=count(100).__next__))
    terminal = Terminal()
    with waiting_line("Making the key", terminal):
        until(lambda: "\rMaking the key … 1 s \rMaking the key … 2 s " in terminal.getvalue())
    assert terminal.getvalue().endswith("\r\033[K")


def test_wait_ends_with_the_work_that_fails(monkeypatch) -> None:
    monkeypatch.setattr(progress, "TICK", 0.01)
    with pytest.raises(ValueError, match="no"), waiting_line("Making the key", Terminal()):
        raise ValueError("no")
    assert "waiting line" not in [thread.name for thread in threading.enumerate()]


def test_wait_is_silent_elsewhere() -> None:
    stream = io.StringIO()
    with waiting_line("Making the key", stream):
        pass
    assert stream.getvalue() == ""


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
