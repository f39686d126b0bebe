"""Live connections of all processes: who is connected, and how somebody is sent away.

A process writes what it holds (`project.live.register`); a verb marks rows, and the process that
holds them ends them within a second or so, at once if it is this one. To end a connection is not to
keep somebody out: who may come in may come in again. For that revoke the certificate, or disable
the account.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from pki import audit
from pki.errors import StateError
from pki.models import User
from pki.permissions import may_manage
from project.live.processes import living
from project.models import LiveConnection, SignOut

KEPT = dt.timedelta(minutes=1)

_wakers: list[Callable[[], None]] = []


def alive() -> QuerySet[LiveConnection]:
    """Connections that a living process holds."""
    return LiveConnection.objects.filter(process__in=living())


def may_end(user: User, connection: LiveConnection) -> bool:
    """Staff with the right to, of people whom they may manage, and their own."""
    owner = connection.user
    is_free = owner is None or owner == user or may_manage(user, owner)
    return user.is_staff and user.has_perm("project.change_liveconnection") and is_free


@audit.refusals("connection.end")
@transaction.atomic
def end_connection(*, actor: str, connection: LiveConnection, at: dt.datetime) -> None:
    """Let the process that holds it end this connection: a socket is closed with 4506, a web
    connection after the answer it is giving.

    Writes an audit entry. Refuses one that has ended (StateError).
    """
    if not alive().filter(pk=connection.pk, is_to_end=False).update(is_to_end=True):
        raise StateError("This connection has ended already.")
    audit.record(
        actor=actor,
        action="connection.ended",
        target=str(connection),
        detail={"user": _name(connection.user), "kind": connection.kind},
        at=at,
    )
    transaction.on_commit(_wake)


@audit.refusals("connection.end_all")
@transaction.atomic
def end_all_of(*, actor: str, user: User, at: dt.datetime) -> int:
    """End every connection that a person has opened by `at`, as `end_connection` does; returns how
    many are known. Those that are too young to be known end all the same.

    Writes one audit entry. Refuses where there is none (StateError).
    """
    number = alive().filter(user=user, is_to_end=False).update(is_to_end=True)
    if not number:
        raise StateError(f"{user} has no connection that could be ended.")
    SignOut.objects.filter(at__lt=at - KEPT).delete()
    SignOut.objects.create(user=user, at=at)
    audit.record(
        actor=actor,
        action="connection.all_ended",
        target=user.username,
        detail={"connections": number},
        at=at,
    )
    transaction.on_commit(_wake)
    return number


def signed_out() -> dict[int, float]:
    """Person → the moment, in Unix time, up to which their connections are to end."""
    recent = SignOut.objects.filter(at__gte=Now() - KEPT).order_by("at")
    return {user_id: at.timestamp() for user_id, at in recent.values_list("user_id", "at")}


def when_marked(wake: Callable[[], None]) -> None:
    """Call `wake`, from any thread, after each verb of this process."""
    _wakers.append(wake)


def forget(wake: Callable[[], None]) -> None:
    _wakers.remove(wake)


def _wake() -> None:
    for wake in _wakers:
        wake()


def _name(user: User | None) -> str:
    return user.username if user else ""
