"""The profiles of this organisation: rows, and the rules that they stand for.

What always holds here: every row that is written can be built as `profiles.Profile`; an edited row
changes what is issued from then on, and nothing that was issued.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from pki import audit, lint, profiles
from pki.errors import ProfileError, StateError
from pki.models import Certificate, CertificateProfile
from pki.profiles import Profile
from pki.querysets import rows_of

CHANGEABLE = frozenset(
    field.name
    for field in CertificateProfile._meta.concrete_fields
    if field.name not in {"id", "name", "purpose", "built_in"}
)
LISTS = frozenset({"key_types", "key_usage", "extended_key_usage"})
COLUMNS = ("name", "purpose", "validity_days", *sorted(LISTS))
COLUMNS += ("path_length", "names", "excess", "approvals", "per_person")
NAMED = (  # asked with every certificate, so written out (`querysets.rows_of`)
    f"SELECT enabled, {', '.join(COLUMNS)} "  # noqa: S608 (constants)
    f"FROM {CertificateProfile._meta.db_table} WHERE name = %s"
)
LABELS = {
    "root": "Root CA",
    "intermediate": "CA below another",
    "ocsp": "OCSP responder",
    "server": "Server",
    "person": "Person who signs in",
    "mail": "E-mail of a person",
    "code": "Code signing",
}


def named(name: str) -> Profile:
    """The rules of the profile of that name; ProfileError names those that exist and are on."""
    if name in profiles.UNLISTED:
        return profiles.UNLISTED[name]
    found = rows_of(NAMED, name)
    if found:
        enabled, *columns = found[0]
        if enabled:
            return _rules(tuple(columns))
        raise ProfileError(f"The profile {name!r} is switched off, so nothing is issued by it.")
    known = CertificateProfile.objects.filter(enabled=True).values_list("name", flat=True)
    raise ProfileError(f"There is no profile {name!r}. Choose one of: {', '.join(known)}.")


def require_no_approval(name: str) -> None:
    """Refuse (ProfileError) a profile whose certificates somebody must approve first."""
    if named(name).approvals:
        raise ProfileError(
            f"Somebody must approve each certificate of profile {name!r} here. "
            "Request it: request_certificate, or the person's page of devices."
        )


@lru_cache(maxsize=256)
def _rules(columns: tuple[Any, ...]) -> Profile:
    """The rules of a row as it was found, worked out once: the same columns are the same rules."""
    fields = zip(COLUMNS, columns, strict=True)
    read = {name: json.loads(value) if name in LISTS else value for name, value in fields}
    return rules(CertificateProfile(**read))


def rules(row: CertificateProfile) -> Profile:
    """What a row stands for; refuses one that contradicts itself (ProfileError)."""
    try:
        return Profile(
            name=row.name,
            purpose=profiles.Purpose(row.purpose),
            validity=dt.timedelta(days=row.validity_days),
            key_usage=frozenset(row.key_usage),
            extended_key_usage=tuple(row.extended_key_usage),
            path_length=row.path_length,
            key_types=tuple(row.key_types),
            names=profiles.Names(row.names),
            excess=profiles.Excess(row.excess),
            approvals=row.approvals,
            per_person=row.per_person,
        )
    except (TypeError, ValueError) as error:  # a word that is none, a list that is none
        raise ProfileError(f"Profile {row.name!r} cannot be read: {error}.") from None


def fields_of(profile: Profile) -> dict[str, Any]:
    """The columns of a row that stands for these rules."""
    return {
        "name": profile.name,
        "purpose": profile.purpose.value,
        "validity_days": profile.validity // profiles.DAY,
        "key_types": list(profile.key_types),
        "key_usage": [usage for usage in profiles.KEY_USAGES if usage in profile.key_usage],
        "extended_key_usage": list(profile.extended_key_usage),
        "path_length": profile.path_length,
        "names": profile.names.value,
        "excess": profile.excess.value,
        "approvals": profile.approvals,
        "per_person": profile.per_person,
    }


@audit.refusals("profile.create")
def create_profile(
    *, actor: str, profile: CertificateProfile, at: dt.datetime
) -> CertificateProfile:
    """Write a new profile, with an audit entry.

    Refuses rules that contradict themselves, and a name that is taken (ProfileError).
    """
    profile.built_in = False
    _require_sound(profile)
    try:
        with transaction.atomic():
            profile.save(force_insert=True)
            detail = {name: getattr(profile, name) for name in sorted(CHANGEABLE | {"purpose"})}
            _record("profile.created", profile, actor=actor, detail=detail, at=at)
    except IntegrityError:
        raise ProfileError(f"There is a profile {profile.name!r} already.") from None
    return profile


@audit.refusals("profile.change")
def change_profile(
    *, actor: str, profile: CertificateProfile, changes: Mapping[str, Any], at: dt.datetime
) -> CertificateProfile:
    """Change fields of a profile, all at once; its name and purpose stay. Returns the row as it is
    now.

    Writes an audit entry; does nothing where there is no change. What was issued stays as it is.
    Refuses rules that contradict themselves (ProfileError), and a profile that was removed
    meanwhile (StateError).
    """
    if unknown := changes.keys() - CHANGEABLE:
        raise ProfileError(f"This cannot be changed: {', '.join(sorted(unknown))}.")
    with transaction.atomic():
        row = _locked(profile)
        before = {name: getattr(row, name) for name in changes}
        changed = {name: value for name, value in changes.items() if before[name] != value}
        if not changed:
            return row
        for name, value in changed.items():
            setattr(row, name, value)
        _require_sound(row)
        row.save(update_fields=list(changed))
        detail = {name: {"from": before[name], "to": value} for name, value in changed.items()}
        _record("profile.changed", row, actor=actor, detail=detail, at=at)
    return row


@audit.refusals("profile.remove")
def remove_profile(*, actor: str, profile: CertificateProfile, at: dt.datetime) -> None:
    """Take away a profile that was never used, with an audit entry.

    Refuses one that came with the product, and one of which there are certificates or requests:
    it can be switched off (StateError).
    """
    with transaction.atomic():
        row = _locked(profile)
        if row.built_in:
            raise StateError(f"The profile {row} came with the product. Switch it off instead.")
        if Certificate.objects.filter(profile=row.name).exists():
            raise StateError(f"There are certificates of the profile {row}. Switch it off instead.")
        try:
            row.delete()
        except models.ProtectedError:
            raise StateError(
                f"There are requests for the profile {row}. Switch it off instead."
            ) from None
        _record("profile.removed", profile, actor=actor, detail={}, at=at)


def ensure_built_in(using: str = "default") -> None:
    """Write the profiles that come with the product and are missing; what is there stays."""
    rows = CertificateProfile.objects.using(using)
    there = set(rows.values_list("name", flat=True))
    rows.bulk_create(
        [
            CertificateProfile(**fields_of(profile), label=LABELS[profile.name], built_in=True)
            for profile in profiles.BUILT_IN
            if profile.name not in there
        ],
        ignore_conflicts=True,
    )


def _locked(profile: CertificateProfile) -> CertificateProfile:
    row = CertificateProfile.objects.select_for_update(no_key=True).filter(pk=profile.pk).first()
    if row is None:
        raise StateError(f"The profile {profile} was removed meanwhile.")
    return row


def _require_sound(row: CertificateProfile) -> None:
    if not lint.is_plain_text(row.label) or not row.label:
        raise ProfileError("Name the profile in visible characters.")
    try:
        row.clean_fields(exclude={"id"})
    except ValidationError as error:
        raise ProfileError(" ".join(error.messages)) from None
    rules(row)


def _record(
    action: str,
    profile: CertificateProfile,
    *,
    actor: str,
    detail: dict[str, Any],
    at: dt.datetime,
) -> None:
    audit.record(actor=actor, action=action, target=f"profile {profile.name}", detail=detail, at=at)
