"""How a long operation says how far it is.

A verb that takes a while takes `progress` and calls it after each piece that is safely committed.
Whoever watches may raise `StoppedError` from it: the operation ends there, and nothing is half done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

Progress = Callable[[int, int], None]  # pieces done, pieces in all


def unwatched(done: int, total: int) -> None:
    """For callers to whom only the end matters."""


class ProgressLine:
    """A progress for a terminal: one line that is drawn over and over; silent anywhere else.

    Used as `with ProgressLine(…) as progress`, it ends its line however the operation ends.
    """

    BETWEEN_DRAWINGS = 0.1

    def __init__(self, title: str, stream: TextIO) -> None:
        self.title, self.stream = title, stream
        self.done = self.total = 0
        self._is_shown = stream.isatty()
        self._begun, self._drawn, self._width = time.monotonic(), float("-inf"), 0

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now = time.monotonic()
        if self._is_shown and (done == total or now - self._drawn >= self.BETWEEN_DRAWINGS):
            self._drawn = now
            self._draw(self.text(seconds=now - self._begun))

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._width:
            self.stream.write("\n")
            self.stream.flush()

    def text(self, *, seconds: float) -> str:
        if not self.total:
            return f"{self.title}: {self.done}"
        share = self.done / self.total
        line = f"{self.title}: {self.done}/{self.total} ({share:.0%})"
        if not 0 < share < 1:
            return line
        return f"{line}, {duration(seconds / share - seconds)} left"

    def _draw(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self._width))
        self.stream.flush()
        self._width = len(text)


TICK = 0.5


@contextmanager
def waiting_line(title: str, stream: TextIO) -> Iterator[None]:
    """For a wait that cannot tell how far it is, such as for a key: one line that counts the
    seconds while the work goes on, gone when it ends. Silent where nobody looks."""
    if not stream.isatty():
        yield
        return
    over, begun = threading.Event(), time.monotonic()

    def count() -> None:
        while not over.wait(TICK):
            stream.write(f"\r{title} … {duration(time.monotonic() - begun)} ")
            stream.flush()

    counter = threading.Thread(target=count, name="waiting line", daemon=True)
    counter.start()
    try:
        yield
    finally:
        over.set()
        counter.join()
        stream.write("\r\033[K")  # ECMA-48: erase to the end of the line
        stream.flush()


def duration(seconds: float) -> str:
    """In a person's words, as exact as an estimate deserves."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
