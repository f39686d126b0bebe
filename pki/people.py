"""People: who exists here, and whether their account is open."""

from __future__ import annotations

import datetime as dt

from django.core.exceptions import ValidationError
from django.db import transaction

from pki import audit
from pki.changes import announce_change
from pki.errors import RequestError
from pki.models import User


def create_person(
    *,
    actor: str,
    username: str,
    name: str = "",
    email: str = "",
    admin: bool = False,
    at: dt.datetime,
) -> User:
    """Create a person without a password; an admin may use the whole console.

    Refuses (RequestError) a username that is taken or has letters other than allowed.
    """
    user = User(username=username, name=name, email=email, is_staff=admin, is_superuser=admin)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None
    with transaction.atomic():
        user.save()
        audit.record(
            actor=actor, action="person.created", target=username, detail={"admin": admin}, at=at
        )
    return user


def disable_person(*, actor: str, user: User, at: dt.datetime) -> None:
    """Close the account: no certificate of this person signs in, open sockets are closed."""
    _switch(actor=actor, user=user, active=False, action="person.disabled", at=at)


def enable_person(*, actor: str, user: User, at: dt.datetime) -> None:
    """Open the account again; certificates revoked meanwhile stay revoked."""
    _switch(actor=actor, user=user, active=True, action="person.enabled", at=at)


def _switch(*, actor: str, user: User, active: bool, action: str, at: dt.datetime) -> None:
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active)
        if not changed:
            state = "open" if active else "disabled"
            raise RequestError(f"The account of {user.username} is {state} already.")
        audit.record(actor=actor, action=action, target=user.username, detail={}, at=at)
        announce_change()
    user.is_active = active
