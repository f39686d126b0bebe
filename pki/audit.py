"""The audit trail: a chain of entries, each bound to the one before by a keyed hash.

What always holds here:
  1. an entry is written in the transaction of the change it tells of, or neither is;
  2. entries are numbered from 1 without holes, one at a time under the lock of the head;
  3. a changed, missing, added or reordered entry is found by `verify`, unless whoever changed it
     also holds the master key. Cutting off the end together with the head is found only by
     comparing with a copy of the head kept elsewhere (`verify` returns the number of entries).
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction

from pki import masterkey
from pki.errors import AuditError
from pki.models import AuditEntry, AuditHead

ROW = 1
BEGINNING = "0" * 64
PURPOSE = "audit trail"


def record(
    *, actor: str, action: str, target: str, detail: dict[str, Any], at: dt.datetime
) -> AuditEntry:
    """Append one entry in the caller's transaction.

    Holds the head's lock until that transaction ends, so entries are written one at a time.
    Refuses (AuditError): no transaction, a detail that is not JSON, a database that will not write.
    """
    if not transaction.get_connection().in_atomic_block:
        raise AuditError("An audit entry belongs into the transaction of what it tells of.")
    secret = _secret()
    try:
        with transaction.atomic():
            return _append(secret, actor, action, target, _plain(detail), at)
    except DatabaseError as error:
        raise AuditError(f"The audit trail cannot be written: {error}.") from error


def verify() -> int:
    """Walk the whole trail; returns the number of entries, raises AuditError at the first fault.

    Entries may be appended meanwhile: the walk goes on until it meets the head.
    """
    secret = _secret()
    count, last = 0, BEGINNING
    while True:
        head = _head()  # read before the walk: everything up to it is there to be read
        before = count
        count, last = _walk(secret, count, last)
        if (count, last) == head:
            return count
        if head[0] > count:
            raise AuditError(f"Audit entry {count + 1} is missing: the trail ended at {head[0]}.")
        if count == before:
            raise AuditError(f"Audit entry {count} is not the one that was written last.")


def _head() -> tuple[int, str]:
    head = AuditHead.objects.filter(pk=ROW).first()
    return (head.sequence, head.hash) if head else (0, BEGINNING)


def _walk(secret: bytes, count: int, previous: str) -> tuple[int, str]:
    """Check the entries after number `count`; returns the number and hash of the last."""
    entries = AuditEntry.objects.order_by("sequence")
    for entry in (entries.filter(sequence__gt=count) if count else entries).iterator():
        count += 1
        if entry.sequence != count:
            raise AuditError(f"Audit entry {count} is missing.")
        if entry.previous != previous:
            raise AuditError(f"Audit entry {count} does not follow entry {count - 1}.")
        if not hmac.compare_digest(entry.hash, _hash_of(secret, entry)):
            raise AuditError(f"Audit entry {count} has been changed.")
        previous = entry.hash
    return count, previous


def _append(
    secret: bytes, actor: str, action: str, target: str, detail: dict[str, Any], at: dt.datetime
) -> AuditEntry:
    AuditHead.objects.get_or_create(pk=ROW)
    head = AuditHead.objects.select_for_update().get(pk=ROW)
    entry = AuditEntry(
        sequence=head.sequence + 1,
        at=at,
        actor=actor,
        action=action,
        target=target,
        detail=detail,
        previous=head.hash,
    )
    entry.hash = _hash_of(secret, entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=ROW).update(sequence=entry.sequence, hash=entry.hash)
    return entry


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail as it will come back from the database, so that its hash stays the same."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(detail, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AuditError(f"This detail cannot be written to the audit trail: {error}.") from None
    return plain


def _hash_of(secret: bytes, entry: AuditEntry) -> str:
    fields = [
        entry.sequence,
        entry.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.target,
        entry.detail,
        entry.previous,
    ]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.digest(secret, canonical.encode(), "sha256").hex()


def _secret() -> bytes:
    return masterkey.load(settings.SIGNET_MASTER_KEY_FILE).derive(PURPOSE)
