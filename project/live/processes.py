"""Serving processes: each has a row with a lease, and what it counted.

What always holds here:
  1. a process whose row was not renewed for `LEASE` is dead: nobody sees what it held any more, and
     whoever looks next takes its row away;
  2. what it had counted stays: in the transaction that takes its row away its numbers are added to
     those of the past, so no sum ever falls;
  3. time is the database's, so that clocks of several machines need not agree.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from project.models import PastCounters, Process

LEASE = dt.timedelta(seconds=10)
PAST = 1

Counts = Counter[str]


def living() -> QuerySet[Process]:
    return Process.objects.filter(seen_at__gt=Now() - LEASE)


def bury_dead() -> int:
    """Take away the rows of dead processes and keep what they counted; returns how many."""
    dead = Process.objects.filter(seen_at__lte=Now() - LEASE)
    if not dead.exists():
        return 0
    with transaction.atomic():
        return _take_away(dead, past=_lock_past())


def leave(process_id: UUID, counters: dict[str, int]) -> None:
    """Take away the row of a process that ends in order, with its last counts."""
    with transaction.atomic():
        past = _lock_past()  # before its own row, as `bury_dead` does
        mine = Process.objects.filter(pk=process_id)
        mine.update(counters=counters)
        _take_away(mine, past=past)


def counted() -> Counts:
    """The sums of all processes, of those that live and of those that are gone.

    One statement, so that nobody can be seen on both sides or on neither.
    """
    rows = Process.objects.order_by().values_list("counters", flat=True)
    past = PastCounters.objects.order_by().values_list("counters", flat=True)
    sums: Counts = Counter()
    for counters in rows.union(past, all=True):
        sums.update(counters)
    return sums


def held() -> dict[tuple[str, str], int]:
    """Endpoint and kind → the connections that living processes hold now."""
    sums: Counter[tuple[str, str]] = Counter()
    for held_by_one in living().order_by().values_list("held", flat=True):
        for endpoint, kinds in held_by_one.items():
            for kind, number in kinds.items():
                sums[endpoint, kind] += number
    return dict(sums)


def served_by_all() -> set[str] | None:
    """The names of the endpoints on which every living process listens; None if none lives."""
    names = [set(held) for held in living().order_by().values_list("held", flat=True)]
    return set.intersection(*names) if names else None


def _lock_past() -> PastCounters:
    PastCounters.objects.get_or_create(pk=PAST)
    return PastCounters.objects.select_for_update().get(pk=PAST)


def _take_away(processes: QuerySet[Process], *, past: PastCounters) -> int:
    gone = list(processes.select_for_update().order_by("pk"))
    if gone:
        sums: Counts = Counter(past.counters)
        for process in gone:
            sums.update(process.counters)
        past.counters = dict(sums)
        past.save(update_fields=["counters"])
        Process.objects.filter(pk__in=[process.pk for process in gone]).delete()
    return len(gone)
