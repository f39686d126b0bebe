"""People: who exists here, and whether their account is open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import (
    get_default_password_validators,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from pki import audit
from pki.changes import announce_change
from pki.errors import RequestError
from pki.models import Invitation, TrustStore, User

CHANGEABLE = frozenset({"name", "email", "is_staff", "is_superuser", "groups"})
# Who acts in the audit trail without being a person; see also `adoption.RECOGNISED`.
RESERVED = frozenset(
    {"signet", "check", "upkeep", "bootstrap", "command", "endpoint-test", "retention"}
)
AT_ONCE = 500  # people in one query


@audit.refusals("person.create")
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

    Where a trust store recognises people, certificates from elsewhere may be this person's at
    once: `recognised_by` says so, and the audit entry does.

    Refuses (RequestError) a username that is taken, has letters other than allowed, or is one that
    the audit trail calls this machine by.
    """
    user = draft_person(username=username, name=name, email=email, admin=admin)
    add_person(actor=actor, user=user, at=at)
    return user


def draft_person(*, username: str, name: str, email: str, admin: bool = False) -> User:
    """A person who is not written yet; refuses what `create_person` refuses."""
    if username in RESERVED:
        raise RequestError(
            f"The audit trail calls this machine {username!r}. Choose another username."
        )
    user = User(username=username, name=name, email=email, is_staff=admin, is_superuser=admin)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None
    return user


def by_username(usernames: Iterable[str]) -> dict[str, User]:
    """Those of these people who are there."""
    wanted, found = sorted(set(usernames)), dict[str, User]()
    for start in range(0, len(wanted), AT_ONCE):
        some = User.objects.filter(username__in=wanted[start : start + AT_ONCE])
        found.update({user.username: user for user in some})
    return found


def add_person(*, actor: str, user: User, at: dt.datetime) -> None:
    """Write a person that `draft_person` made, with an audit entry; refuses (RequestError) where
    somebody else took the username meanwhile."""
    detail: dict[str, Any] = {"admin": user.is_superuser}
    if said := recognised_by(user):
        detail["recognised_by"] = said
    with transaction.atomic():
        _insert(user)
        audit.record(
            actor=actor, action="person.created", target=user.username, detail=detail, at=at
        )


def recognised_by(user: User) -> list[str]:
    """A sentence for each trust store by whose certificates from elsewhere this person is known."""
    if user.is_staff or user.is_superuser:
        return []  # nobody of the console is recognised
    names = {TrustStore.Recognises.SUBJECT.value: user.username}
    if user.email:
        names[TrustStore.Recognises.EMAIL.value] = user.email
    return [
        f"Whoever has a certificate for {names[store.recognises]!r} that trust store {store} trusts "
        f"signs in as {user.username}, though it was not issued here."
        for store in TrustStore.objects.filter(recognises__in=names).order_by("name")
    ]


@audit.refusals("person.change")
def change_person(*, actor: str, user: User, changes: Mapping[str, Any], at: dt.datetime) -> User:
    """Change what is known about a person: name, email, is_staff, is_superuser, groups.

    Saves these fields alone, writes an audit entry and announces the change; does nothing where
    there is none. Whoever is given the console, or the whole of it, loses their open enrolment
    links: people made them who may not make them now. Returns the row as it is now.

    Refuses (RequestError) what may not be changed here, values that do not fit, and an
    administrator without the console.
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise RequestError(f"This cannot be changed: {', '.join(sorted(unknown))}.")
    with transaction.atomic():
        row = lock_person(user)
        if not changes:
            return row
        columns = [name for name in changes if name != "groups"]
        before = row.is_staff, row.is_superuser
        for name in columns:
            setattr(row, name, changes[name])
        _require_sound(row, columns)
        row.save(update_fields=columns)
        if "groups" in changes:
            row.groups.set(changes["groups"])
        is_raised = (row.is_staff, row.is_superuser) > before
        links = (
            _locked_links(row, at=at) if is_raised else []
        )  # before the audit trail, as elsewhere
        detail = {name: _words(value) for name, value in changes.items()}
        audit.record(
            actor=actor, action="person.changed", target=row.username, detail=detail, at=at
        )
        for link in links:
            _end_link(link, actor=actor, at=at)
        announce_change()
    return row


def lock_person(user: User) -> User:
    """The row as it is now, which nobody else changes before the caller's transaction ends.

    Whoever locks more locks this first: then links, and the audit trail last.
    """
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


@audit.refusals("person.set_password")
def set_console_password(*, actor: str, user: User, password: str, at: dt.datetime) -> None:
    """Set the password that opens the console, which locks every console open under the old one.

    Writes an audit entry. Refuses a weak password, and one set meanwhile (RequestError).
    """
    hashed = hash_console_password(user=user, password=password)
    put_console_password(actor=actor, user=user, hashed=hashed, at=at)


def hash_console_password(*, user: User, password: str) -> str:
    """What is kept of a console password; takes a while. Refuses a weak one (RequestError)."""
    try:
        check_console_password(user=user, password=password)
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None
    return make_password(password)


def check_console_password(*, user: User, password: str) -> None:
    """Refuses a weak one (Django's ValidationError, for a form's field)."""
    validate_password(password, user)


def shortest_console_password() -> int:
    lengths = (getattr(one, "min_length", 1) for one in get_default_password_validators())
    return max(lengths, default=1)


def put_console_password(*, actor: str, user: User, hashed: str, at: dt.datetime) -> None:
    """The quick half of `set_console_password`, for a caller whose transaction must be short.

    Refuses (RequestError) when the password is no longer the one that `user` was read with.
    """
    _put(user, hashed, action="person.password_set", actor=actor, at=at)


def hold_console_password(
    *, actor: str, user: User, hashed: str, invitation: Invitation, at: dt.datetime
) -> None:
    """Keep a password that was chosen with a link aside, where it opens nothing, until the request
    that came through this link is issued (`release_console_password`) or comes to nothing
    (`drop_console_password`). Of several links the last one counts.

    Writes an audit entry. Refuses what `put_console_password` refuses.
    """
    held = _held(invitation) + hashed
    _put(user, held, action="person.password_chosen", actor=actor, at=at)


def release_console_password(
    *, actor: str, user: User, invitation: Invitation, at: dt.datetime
) -> None:
    """From now on what was chosen with this link opens the console; nothing where none is held."""
    row = User.objects.get(pk=user.pk)
    if row.password.startswith(_held(invitation)):
        hashed = row.password.removeprefix(_held(invitation))
        put_console_password(actor=actor, user=row, hashed=hashed, at=at)


def drop_console_password(
    *, actor: str, user: User, invitation: Invitation, at: dt.datetime
) -> None:
    """What was chosen with this link never opens the console; nothing where none is held."""
    row = User.objects.get(pk=user.pk)
    if row.password.startswith(_held(invitation)):
        _put(row, make_password(None), action="person.password_dropped", actor=actor, at=at)


@audit.refusals("person.disable")
def disable_person(*, actor: str, user: User, at: dt.datetime) -> None:
    """Close the account: no certificate of this person signs in, open sockets are closed."""
    _switch(actor=actor, user=user, active=False, action="person.disabled", at=at)


@audit.refusals("person.enable")
def enable_person(*, actor: str, user: User, at: dt.datetime) -> None:
    """Open the account again; certificates revoked meanwhile stay revoked."""
    _switch(actor=actor, user=user, active=True, action="person.enabled", at=at)


def _held(invitation: Invitation) -> str:
    """A hash behind this is no password yet: Django takes none that begins with "!"."""
    return f"!{invitation.pk}:"


def _put(user: User, password: str, *, action: str, actor: str, at: dt.datetime) -> None:
    with transaction.atomic():
        unchanged = User.objects.filter(pk=user.pk, password=user.password)
        if not unchanged.update(password=password):
            raise RequestError(f"The password of {user.username} was set meanwhile. Try again.")
        audit.record(actor=actor, action=action, target=user.username, detail={}, at=at)
    user.password = password


def _locked_links(user: User, *, at: dt.datetime) -> list[Invitation]:
    """Open ones: whoever redeems one has ended it before, or waits."""
    return list(Invitation.objects.open(at).filter(user=user).select_for_update(of=("self",)))


def _end_link(link: Invitation, *, actor: str, at: dt.datetime) -> None:
    Invitation.objects.filter(pk=link.pk).update(expires_at=at)
    audit.record(
        actor=actor,
        action="invitation.withdrawn",
        target=link.user.username,
        detail={"device": link.device, "because": "the person was given the console"},
        at=at,
    )


def _insert(user: User) -> None:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:  # somebody else took the name since it was looked for
        raise RequestError("A person with this username exists already.") from None


def _require_sound(user: User, columns: list[str]) -> None:
    if user.is_superuser and not user.is_staff:
        raise RequestError("An administrator needs the console.")
    others = {field.name for field in User._meta.concrete_fields} - set(columns)
    try:
        user.clean_fields(exclude=others)
    except ValidationError as error:
        raise RequestError(" ".join(error.messages)) from None


def _words(value: Any) -> str:
    """A new value in the words of the audit trail."""
    if isinstance(value, str | bool):
        return str(value)
    return ", ".join(map(str, value)) or "none"


def _switch(*, actor: str, user: User, active: bool, action: str, at: dt.datetime) -> None:
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active)
        if not changed:
            state = "open" if active else "disabled"
            raise RequestError(f"The account of {user.username} is {state} already.")
        audit.record(actor=actor, action=action, target=user.username, detail={}, at=at)
        announce_change()
    user.is_active = active
