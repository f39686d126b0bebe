"""A number in the database that rises with every change other processes must notice.

Signals stay in their process; a process that serves looks at the number every half second.
"""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import F

from pki.models import TrustVersion
from pki.signals import trust_changed

ROW = 1
VERSION = f"SELECT version FROM {TrustVersion._meta.db_table} WHERE id = %s"  # noqa: S608 (a constant)


def announce_change() -> None:
    """Raise the number in the caller's transaction; send `trust_changed` once it is committed."""
    with transaction.atomic():
        TrustVersion.objects.get_or_create(pk=ROW)
        TrustVersion.objects.filter(pk=ROW).update(version=F("version") + 1)
        transaction.on_commit(_send)


def current_version() -> int:
    """The number as it is committed; 0 before the first change. One small query, written out: it
    is asked for with every OCSP answer, and to build it would take longer than to run it."""
    with connection.cursor() as cursor:
        cursor.execute(VERSION, [ROW])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _send() -> None:
    trust_changed.send_robust(sender=None)
