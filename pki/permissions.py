"""Who may do what with certificates. Doors ask; verbs are told who the actor is."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from pki.models import Certificate, CertificateProfile, CertificationRequest, TrustStore, User


def may_issue(user: User) -> bool:
    """Staff with the right to issue (`has_perm` is False for a closed account)."""
    return user.is_staff and user.has_perm("pki.issue_certificate")


def people_to_issue_for(user: User) -> QuerySet[User]:
    """Whom this person may make certificates for, given that they may: those with an open account.

    For people of the console only administrators: such a certificate is half the way to its rights.
    """
    people = User.objects.filter(is_active=True)
    return people if user.is_superuser else people.filter(is_staff=False, is_superuser=False)


def may_issue_for(user: User, subject: User) -> bool:
    return may_issue(user) and people_to_issue_for(user).filter(pk=subject.pk).exists()


def may_invite_many(user: User) -> bool:
    """Who may issue and create people: a list may hold those who are here and those who are not."""
    return may_issue(user) and user.has_perm("pki.add_user")


def is_sound_link(made_by: str, subject: User) -> bool:
    """Whether a link of this maker still serves this person.

    Who opens the console enrols by a link of their own, or of somebody who may issue for them by
    now. Makers that are nobody's username are the machine's own: its set-up, or its shell.
    """
    if made_by == subject.username or not (subject.is_staff or subject.is_superuser):
        return True
    maker = User.objects.filter(username=made_by).first()
    return maker is None or may_issue_for(maker, subject)


def may_set_email(user: User) -> bool:
    """Where a trust store recognises people by e-mail, an address is as good as a certificate."""
    by_email = TrustStore.objects.filter(recognises=TrustStore.Recognises.EMAIL)
    return user.is_superuser or may_issue(user) or not by_email.exists()


def may_create_people(user: User) -> bool:
    """Where a trust store recognises people by a common name, a username is as good as well."""
    by_subject = TrustStore.objects.filter(recognises=TrustStore.Recognises.SUBJECT)
    return user.is_superuser or may_issue(user) or not by_subject.exists()


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


def may_ask_for_own_hosts(user: User | None) -> bool:
    """Administrators, and the shell (None): such a certificate can stand in for this server."""
    return user is None or (user.is_active and user.is_superuser)


def may_see_requests(user: User) -> bool:
    """Staff with the right to decide, or to look."""
    rights = ("pki.decide_certificationrequest", "pki.view_certificationrequest")
    return user.is_staff and any(user.has_perm(right) for right in rights)


def may_decide(user: User, request: CertificationRequest) -> bool:
    """Staff with the right to decide, about people whom they may manage.

    Whoever asked may not; `certification.approve` says so in words of its own.
    """
    is_decider = user.is_staff and user.has_perm("pki.decide_certificationrequest")
    return is_decider and (request.owner is None or may_manage(user, request.owner))


def profiles_to_ask_for() -> QuerySet[CertificateProfile]:
    """What people may ask for themselves: to sign code only where somebody looks at it first."""
    purposes = CertificateProfile.Purpose
    return CertificateProfile.objects.filter(
        Q(purpose__in=(purposes.PERSON, purposes.MAIL))
        | Q(purpose=purposes.CODE, approvals__gte=1),
        enabled=True,
    )


def profiles_for_csrs() -> QuerySet[CertificateProfile]:
    """What staff may ask for with a CSR: everything but CAs and what our own servers need."""
    purposes = CertificateProfile.Purpose
    leaves = (purposes.SERVER, purposes.PERSON, purposes.MAIL, purposes.CODE)
    return CertificateProfile.objects.filter(purpose__in=leaves, enabled=True)
