"""The chain of the audit trail: how entries are bound to each other, and how that is checked.

What always holds here:
  1. entries are numbered from 1 without holes, one at a time under the lock of the head;
  2. a changed, missing, added or reordered entry is found by `verify`, unless whoever changed it
     also holds the master key. Cutting off the end together with the head is found only by
     comparing with a copy of the head kept elsewhere (`pki.audit_head`);
  3. nothing is appended while this machine's clock stands more than five minutes before what it
     showed when the newest entry was written;
  4. after a change of the master key, entries are hashed under a secret of the new one. The
     secrets of former ones stay, sealed, for the entries they vouch for, and the new chain holds
     the last hash of the old: who stole a former master key cannot change what was written.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
import os
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from pki import masterkey
from pki.errors import AuditError, ClockError, MasterKeyInvalidError
from pki.masterkey import MasterKey
from pki.models import AuditEntry, AuditHead
from pki.progress import Progress, unwatched
from pki.querysets import moment, rows_of

ROW = 1
BEGINNING = "0" * 64
PURPOSE = "audit trail"
SEALING = "audit trail, former secrets"
NONCE_BYTES = 12
CLOCK_TOLERANCE = dt.timedelta(minutes=5)
STEP = 500  # entries between two words of progress
# Asked with every entry, so written out (`querysets.rows_of`).
END = f"SELECT sequence, hash, at, key_id FROM {AuditHead._meta.db_table} WHERE id = %s"  # noqa: S608
MOVE_END = (
    f"UPDATE {AuditHead._meta.db_table} "  # noqa: S608 (a constant)
    "SET sequence = %s, hash = %s, at = %s, key_id = %s WHERE id = %s"
)
NEIGHBOURS = 1000  # how far away an entry is looked for that stands in the wrong place


def append(entries: Sequence[AuditEntry]) -> None:
    """Append rows that are not written yet in the caller's transaction, in their order; for
    `audit.record` and `audit.record_many`, which say what is refused."""
    master = _master()
    try:
        head = _locked_end()
        _refuse_other_key(head, master)
        _refuse_clock_set_back(head)
        for entry in entries:
            entry.detail = _plain(entry.detail)
        _append(head, master, entries)
    except DatabaseError as error:
        transaction.set_rollback(True)  # whoever swallows this must not commit the change alone
        raise AuditError(f"The audit trail cannot be written: {error}.") from error


def verify(*, progress: Progress = unwatched) -> int:
    """Walk the whole trail; returns the number of entries, raises AuditError at the first fault.

    Entries may be appended meanwhile: the walk goes on until it meets the head. Refuses
    (MasterKeyError) without the master key the trail is written under.
    """
    count, last = 0, BEGINNING
    while True:
        now = head()  # read before the walk: everything up to it is there to be read
        walk = _Walk(_Secrets(now, _master()), progress, now.sequence)
        before = count
        count, last = walk.onward(count, last)
        if (count, last) == (now.sequence, now.hash):
            progress(count, count)
            return count
        if now.sequence > count:
            raise AuditError(
                f"Audit entry {count + 1} is missing: the trail ended at {now.sequence}."
            )
        if count == before:
            raise AuditError(f"Audit entry {count} is not the one that was written last.")


class _Secrets:
    """Which secret vouches for which entry."""

    def __init__(self, head: AuditHead, master: MasterKey) -> None:
        _refuse_other_key(head, master)
        self._former = [_unseal(one, master) for one in head.former_secrets]
        self._current = master.derive(PURPOSE)

    def of(self, number: int) -> bytes:
        return next((secret for until, secret in self._former if number <= until), self._current)

    def vouch_for(self, entry: AuditEntry, *, number: int) -> bool:
        return hmac.compare_digest(entry.hash, _hash_of(self.of(number), entry, number))


class _Walk:
    def __init__(self, secrets: _Secrets, progress: Progress, total: int) -> None:
        self.secrets, self.progress, self.total = secrets, progress, total

    def onward(self, count: int, previous: str) -> tuple[int, str]:
        """Check the entries after number `count`; returns the number and hash of the last."""
        entries = AuditEntry.objects.filter(sequence__gt=count) if count else AuditEntry.objects
        for entry in entries.order_by("sequence").iterator():
            count += 1
            if entry.sequence != count:
                raise AuditError(f"Audit entry {count} is missing.")
            is_genuine = self.secrets.vouch_for(entry, number=count)
            if not (is_genuine and entry.previous == previous):
                raise AuditError(self._fault(entry, previous, is_genuine=is_genuine))
            previous = entry.hash
            if count % STEP == 0:
                self.progress(count, max(count, self.total))
        return count, previous

    def _fault(self, entry: AuditEntry, previous: str, *, is_genuine: bool) -> str:
        number = entry.sequence
        if is_genuine:
            return (
                f"Audit entry {number} does not follow entry {number - 1}: "
                "one of the two belongs to another course of the trail."
            )
        for other in range(max(1, number - NEIGHBOURS), number + NEIGHBOURS):
            if self.secrets.vouch_for(entry, number=other):
                return (
                    f"Audit entry {number} is in the wrong place: it was written as entry {other}. "
                    "Entries were reordered, or one before it was removed or added."
                )
        after = AuditEntry.objects.filter(sequence=number + 1, previous=previous)
        if after.exists() or number > head().sequence:
            return f"Audit entry {number} was added by somebody else than this software."
        return f"Audit entry {number} has been changed."


# --- The head and its secret ----------------------------------------------------------------


def reseal(*, actor: str, old: MasterKey, new: MasterKey, at: dt.datetime) -> None:
    """Go over to another master key, in the transaction that wraps the keys under it.

    Seals the secret of the entries so far under `new` and records the change as the first entry
    that `new` vouches for. From then on `record` and `verify` need `new` as the master key file.
    Done already, it changes nothing. Refuses a trail that is written under neither
    (MasterKeyInvalidError), and what `record` refuses.
    """
    with transaction.atomic():
        head = _locked_head()
        if head.key_id == new.identifier:
            return
        _refuse_other_key(head, old)
        _refuse_clock_set_back(head)
        known = [_unseal(one, old) for one in head.former_secrets]
        known.append((head.sequence, old.derive(PURPOSE)))
        head.former_secrets = [_seal(until, secret, new) for until, secret in known if until]
        head.save(update_fields=["former_secrets"])
        detail = {"from": old.identifier, "to": new.identifier}
        target = f"master key {new.identifier}"
        entry = AuditEntry(
            actor=actor, action="master_key.changed", target=target, detail=detail, at=at
        )
        _append(head, new, [entry])


def accept_clock(*, actor: str, at: dt.datetime) -> None:
    """Believe this machine's clock again, after it was wrongly ahead when entries were written.

    Records both times.
    """
    with transaction.atomic():
        head, now = _locked_head(), timezone.now()
        detail = {"before": head.at.isoformat() if head.at else None, "now": now.isoformat()}
        AuditHead.objects.filter(pk=ROW).update(at=now)
        action, target = "clock.accepted", "the clock"
        append([AuditEntry(actor=actor, action=action, target=target, detail=detail, at=at)])


def head() -> AuditHead:
    """The newest entry's number and hash, as they are committed."""
    return AuditHead.objects.filter(pk=ROW).first() or AuditHead(pk=ROW)


def _locked_head() -> AuditHead:
    AuditHead.objects.get_or_create(pk=ROW)
    return AuditHead.objects.select_for_update().get(pk=ROW)


def _locked_end() -> AuditHead:
    """The head, locked, without the former secrets."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    found = rows_of(END + lock, ROW)
    if not found:
        return _locked_head()
    sequence, last, at, key_id = found[0]
    return AuditHead(pk=ROW, sequence=sequence, hash=last, at=moment(at), key_id=key_id)


def _append(head: AuditHead, master: MasterKey, entries: Sequence[AuditEntry]) -> None:
    secret = master.derive(PURPOSE)
    for entry in entries:
        entry.sequence, entry.previous = head.sequence + 1, head.hash
        entry.hash = _hash_of(secret, entry, entry.sequence)
        head.sequence, head.hash = entry.sequence, entry.hash
    AuditEntry.objects.bulk_create(entries)
    now = timezone.now()
    shown = connection.ops.adapt_datetimefield_value(max(now, head.at or now))
    with connection.cursor() as cursor:
        cursor.execute(MOVE_END, [head.sequence, head.hash, shown, master.identifier, ROW])


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    """The detail as it will come back from the database, so that its hash stays the same."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(detail, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AuditError(f"This detail cannot be written to the audit trail: {error}.") from None
    return plain


def _hash_of(secret: bytes, entry: AuditEntry, number: int) -> str:
    fields = [
        number,
        entry.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.target,
        entry.detail,
        entry.previous,
    ]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.digest(secret, canonical.encode(), "sha256").hex()


def _master() -> MasterKey:
    return masterkey.load(settings.SIGNET_MASTER_KEY_FILE)


def _refuse_other_key(head: AuditHead, master: MasterKey) -> None:
    if head.key_id and head.key_id != master.identifier:
        raise MasterKeyInvalidError(
            settings.SIGNET_MASTER_KEY_FILE,
            f"is another one ({master.identifier}) than the one the audit trail is written under "
            f"({head.key_id}); put the right file back from your backup",
        )


def _refuse_clock_set_back(head: AuditHead) -> None:
    """By the real clock, whatever time the entry tells of."""
    now = timezone.now()
    if head.at and now < head.at - CLOCK_TOLERANCE:
        raise ClockError(
            f"The clock of this machine shows {now:%Y-%m-%d %H:%M} UTC, but it showed "
            f"{head.at:%Y-%m-%d %H:%M} UTC when the audit trail was last written. Set the clock. If "
            "it is right now and was wrong then, run: verify_audit --accept-clock"
        )


def _seal(until: int, secret: bytes, master: MasterKey) -> dict[str, Any]:
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(master.derive(SEALING)).encrypt(nonce, secret, str(until).encode())
    return {"until": until, "sealed": base64.b64encode(nonce + sealed).decode()}


def _unseal(one: dict[str, Any], master: MasterKey) -> tuple[int, bytes]:
    """Up to which entry a former secret vouches, and the secret."""
    try:
        until, sealed = int(one["until"]), base64.b64decode(one["sealed"], validate=True)
        nonce, box = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        return until, AESGCM(master.derive(SEALING)).decrypt(nonce, box, str(until).encode())
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise AuditError(
            "A former secret of the audit trail has been changed; restore the database from your "
            "backup."
        ) from None
