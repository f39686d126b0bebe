"""Who may do what with certificates. Doors ask; verbs are told who the actor is."""

from __future__ import annotations

from pki.models import Certificate, User


def may_issue(user: User) -> bool:
    """Staff with the right to issue (`has_perm` is False for a closed account)."""
    return user.is_staff and user.has_perm("pki.issue_certificate")


def may_revoke(user: User, certificate: Certificate) -> bool:
    """The owner, and staff with the right to revoke."""
    if not user.is_active:
        return False
    is_owner = certificate.owner_id is not None and certificate.owner_id == user.pk
    return is_owner or (user.is_staff and user.has_perm("pki.revoke_certificate"))
