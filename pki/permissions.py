"""Who may do what with certificates. Doors ask; verbs are told who the actor is."""

from __future__ import annotations

from django.db.models import QuerySet

from pki.models import Certificate, User


def may_issue(user: User) -> bool:
    """Staff with the right to issue (`has_perm` is False for a closed account)."""
    return user.is_staff and user.has_perm("pki.issue_certificate")


def people_to_issue_for(user: User) -> QuerySet[User]:
    """Whom this person may make certificates for, given that they may: those with an open account.

    For people of the console only administrators: such a certificate is half the way to its rights.
    """
    people = User.objects.filter(is_active=True)
    return people if user.is_superuser else people.filter(is_staff=False, is_superuser=False)


def may_manage(user: User, subject: User) -> bool:
    """Administrators manage everybody; others nobody who can open the console."""
    return user.is_superuser or not (subject.is_staff or subject.is_superuser)


def may_switch(user: User, subject: User) -> bool:
    """Nobody disables or enables their own account."""
    return may_manage(user, subject) and subject != user


def may_give_rights(user: User) -> bool:
    """Administrators alone say who opens the console, and with which rights."""
    return user.is_superuser


def may_take_console(user: User, subject: User) -> bool:
    """Nobody takes the console from themselves: the last administrator could not come back."""
    return may_give_rights(user) and subject != user


def may_set_password(user: User, subject: User) -> bool:
    """Administrators, and for people who use the console alone."""
    return user.is_superuser and subject.is_staff


def may_revoke(user: User, certificate: Certificate) -> bool:
    """The owner, and staff with the right to revoke."""
    if not user.is_active:
        return False
    is_owner = certificate.owner_id is not None and certificate.owner_id == user.pk
    return is_owner or (user.is_staff and user.has_perm("pki.revoke_certificate"))
