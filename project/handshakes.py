"""Failed handshakes in the database: written in batches, counted, and forgotten in time.

What always holds here: rows are a help to find faults, and nobody's right depends on one. They are
a sample (`project.tls.sample`), the newest 10,000 of at most 30 days; what was not yet written is
lost with its process. Nothing in a row was verified, the certificate least of all.
"""

from __future__ import annotations

import datetime as dt
import hashlib

from cryptography import x509
from django.db import DatabaseError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum

from pki.description import UNREADABLE
from pki.models import AuditEntry, Endpoint
from project.models import HandshakeFailure
from project.tls import failures
from project.tls.sample import MINUTE, Failure, Key, Sample
from project.visit import EVERYWHERE

KEPT = 10_000
KEPT_FOR = dt.timedelta(days=30)
DAY = dt.timedelta(days=1)
TEST_LASTS = dt.timedelta(seconds=30)  # from its first failure to its audit entry, at most

_rows: dict[Key, int] = {}  # of the last minutes, which are still counted on


def keep(sample: Sample = failures.sample) -> int:
    """Write down what failed since the last time, in one transaction; returns how many rows.

    What fails again within its minute raises the count of its row. Where the database refuses
    (DatabaseError), what was taken waits on, as much as there is room for.
    """
    taken = sample.take()
    if not taken:
        return 0
    _forget_rows(max(failure.since for failure in taken))
    try:
        with transaction.atomic():
            new = [failure for failure in taken if not _count_on(failure)]
            written = HandshakeFailure.objects.bulk_create([_row(failure) for failure in new])
    except DatabaseError:
        sample.put_back(taken)
        raise
    _rows.update({failure.key: row.pk for failure, row in zip(new, written, strict=True)})
    return len(taken)


def prune(*, at: dt.datetime) -> int:
    """Forget what is older than 30 days, and all but the newest 10,000; returns how many rows."""
    deleted, _ = HandshakeFailure.objects.filter(at__lt=at - KEPT_FOR).delete()
    oldest = HandshakeFailure.objects.order_by("-at", "-pk")[KEPT - 1 : KEPT].first()
    if oldest is not None:
        deleted += HandshakeFailure.objects.filter(at__lt=oldest.at).delete()[0]
    return deleted


def counts(*, at: dt.datetime, endpoint: str = "") -> list[tuple[str, int]]:
    """Reason and number of the last 24 hours, the most frequent first."""
    rows: QuerySet[HandshakeFailure] = HandshakeFailure.objects.filter(at__gt=at - DAY)
    if endpoint:
        rows = rows.filter(endpoint=endpoint)
    summed = rows.order_by().values("reason").annotate(number=Sum("count"))
    found = [(row["reason"], row["number"]) for row in summed]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def with_tests(rows: QuerySet[HandshakeFailure]) -> QuerySet[HandshakeFailure]:
    """With what `is_by_test` asks for: whether the endpoint was being tested, and from where."""
    at: F = OuterRef("at")
    tests = AuditEntry.objects.filter(
        action="endpoint.tested", target=OuterRef("endpoint"), at__gte=at, at__lt=at + TEST_LASTS
    )
    address = Endpoint.objects.filter(name=OuterRef("endpoint")).values("address")[:1]
    return rows.annotate(was_tested=Exists(tests), address=Subquery(address))


def is_by_test(row: HandshakeFailure) -> bool:
    """Whether a test of the endpoint failed there as it should; a test connects from the address
    that it connects to."""
    address, peer = str(getattr(row, "address", "")), row.peer.rpartition(":")[0].strip("[]")
    return bool(getattr(row, "was_tested", False)) and peer == EVERYWHERE.get(address, address)


def _count_on(failure: Failure) -> bool:
    """Whether there is a row of this minute, which has its count raised."""
    if (pk := _rows.get(failure.key)) is None:
        return False
    row = HandshakeFailure.objects.filter(pk=pk)
    return bool(row.update(count=F("count") + failure.count, at=failure.at))


def _forget_rows(newest: dt.datetime) -> None:
    for key in [key for key in _rows if key[-1] < newest - 2 * MINUTE]:
        del _rows[key]


def _row(failure: Failure) -> HandshakeFailure:
    der = failure.heard.certificate
    return HandshakeFailure(
        at=failure.at,
        endpoint=failure.endpoint,
        peer=failure.peer[:64],
        server_name=failure.heard.server_name,
        protocol=failure.heard.protocol,
        reason=failure.reason[:128],
        advice=failure.advice[:500],
        subject=_subject(der) if der else "",
        sha256=hashlib.sha256(der).hexdigest() if der else "",
        certificate=der,
        count=failure.count,
    )


def _subject(der: bytes) -> str:
    """What the certificate claims, in characters that can be seen; bytes of a stranger's."""
    try:
        claimed = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except UNREADABLE:
        return "(cannot be read)"
    return "".join(one if one.isprintable() else "�" for one in claimed)[:500]
