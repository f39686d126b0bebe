"""Who has what already: whose key a key is, and how many certificates people have.

`Holdings` asks the database once for all that are wanted; those that are admitted count from then
on, so that many at once are measured as if one came after the other.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Count

from pki.errors import KeyReuseError, ProfileError
from pki.models import Certificate, RevocationReason, User
from pki.profiles import Profile
from pki.querysets import rows_of

AT_ONCE = 500  # keys in one query
# Of whose certificates the key is somebody else's by now (RFC 5280, 5.3.1); of a CA it is the second.
COMPROMISED = frozenset({RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE})
# Asked with every certificate, so written out (`querysets.rows_of`).
SAME_KEY = f"""
    SELECT spki_sha256, owner_id, profile, revocation_reason, key_id, subject
    FROM {Certificate._meta.db_table} WHERE spki_sha256 IN ({{}})
"""  # noqa: S608 (the name of the table is a constant)

Bearer = int | str | None  # the id of a person, the username of one to be, or nobody


@dataclass(frozen=True)
class Claim:
    """One certificate to be: for which key, of which kind, for whom, and which CA's it renews."""

    spki_sha256: str
    kind: Profile
    owner: User | None
    renews: Certificate | None

    @property
    def bearer(self) -> Bearer:
        return (self.owner.pk or self.owner.username) if self.owner else None


class _Holder(NamedTuple):
    bearer: Bearer
    profile: str
    reason: str
    key_id: int | None
    subject: str


class Holdings:
    def __init__(self, claims: Sequence[Claim], *, at: dt.datetime) -> None:
        self._holders: defaultdict[str, list[_Holder]] = defaultdict(list)
        for spki, *fields in _same_keys({claim.spki_sha256 for claim in claims}):
            self._holders[spki].append(_Holder(*fields))
        self._held = _held(claims, at)

    def admit(self, claim: Claim) -> None:
        """From now on this one counts.

        Refuses a key that belongs to somebody else, to a CA, or was compromised (KeyReuseError),
        and an owner who has as many as the profile admits (ProfileError).
        """
        for holder in self._holders[claim.spki_sha256]:
            _refuse_reuse(claim, holder)
        kind, place = claim.kind, (claim.bearer, claim.kind.name)
        if claim.owner and kind.per_person is not None and self._held[place] >= kind.per_person:
            raise ProfileError(
                f"{claim.owner} has {kind.per_person} valid certificates of profile {kind.name!r}, "
                "and more are not admitted. Revoke one first."
            )
        self._held[place] += 1
        renewed = (claim.renews.key_id, claim.renews.subject) if claim.renews else (None, "")
        self._holders[claim.spki_sha256].append(_Holder(claim.bearer, kind.name, "", *renewed))


def _refuse_reuse(claim: Claim, holder: _Holder) -> None:
    """One key, one bearer: only a renewal for the same person, server or CA may use a key again."""
    if holder.reason in COMPROMISED:
        raise KeyReuseError("This key was reported lost or stolen. Make a new one.")
    if claim.kind.is_ca:
        own = claim.renews and claim.renews.key_id and (claim.renews.key_id, claim.renews.subject)
        is_same = own == (holder.key_id, holder.subject)
    else:
        is_same = holder.profile == claim.kind.name
    if holder.bearer != claim.bearer or not is_same:
        raise KeyReuseError("This key already belongs to somebody else. Make a new one.")


def _same_keys(spkis: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    wanted = sorted(spkis)
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        yield from rows_of(SAME_KEY.format(", ".join(["%s"] * len(some))), *some)


def _held(claims: Sequence[Claim], at: dt.datetime) -> Counter[tuple[Bearer, str]]:
    """How many valid certificates the owners have, of kinds that admit only so many."""
    limited = [claim for claim in claims if claim.owner and claim.kind.per_person is not None]
    owners = sorted({claim.owner.pk for claim in limited if claim.owner and claim.owner.pk})
    names = {claim.kind.name for claim in limited}
    found: Counter[tuple[Bearer, str]] = Counter()
    for start in range(0, len(owners), AT_ONCE):
        rows = Certificate.objects.active(at).filter(
            owner__in=owners[start : start + AT_ONCE], profile__in=names
        )
        for owner, profile, count in rows.values_list("owner", "profile").annotate(Count("pk")):
            found[owner, profile] = count
    return found
