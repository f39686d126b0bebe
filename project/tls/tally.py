"""Numbers of this process that only rise; `project.live` carries them into the database.

A name has at most `MOST` combinations of labels: what comes from peers must not fill the memory.
"""

from __future__ import annotations

import threading
from collections import Counter

MOST = 200
OTHER = "other"
SEPARATOR = "\t"

_counts: Counter[str] = Counter()
_kinds: Counter[str] = Counter()
_lock = threading.Lock()


def count(name: str, *labels: str) -> None:
    """One more of `name` with these labels. From any thread."""
    key = SEPARATOR.join((name, *labels))
    with _lock:
        if key not in _counts:
            if _kinds[name] >= MOST:
                key = SEPARATOR.join((name, *labels[:1], *(OTHER for _ in labels[1:])))
            _kinds[name] += 1
        _counts[key] += 1


def counts() -> dict[str, int]:
    """A copy of all numbers: name and labels, joined by tabs → how many."""
    with _lock:
        return dict(_counts)
