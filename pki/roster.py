"""Certificates for many people at once, from a list: checked as a whole, issued in steps.

What always holds here:
  1. every row is checked before the first certificate is signed, as if those before it had been
     issued, and what is refused is told together;
  2. a step (its people, certificates, audit entries, and the files the caller keeps) is one
     transaction: all of it exists, or nothing;
  3. a row is done when the person has a valid certificate of the profile for the device (and for
     the key, where there is a CSR), so a list can be run again after any interruption.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction
from django.utils.text import slugify

from pki import algorithms, audit, authorities, catalogue, excess, handout, issuance, names, people
from pki.errors import ProfileError, RequestError, RowsError
from pki.handout import Format
from pki.issuance import Prepared
from pki.models import Certificate, CertificateAuthority, User
from pki.profiles import PERSON
from pki.progress import Progress, unwatched
from pki.wanted import Wanted

MOST_ROWS = 10_000  # all are kept in memory between their check and their issue
STEP = 500  # certificates in one transaction
STEP_WITH_KEYS = 25  # to pack a key takes some 30 ms, and the audit trail is locked meanwhile
AT_ONCE = 500  # people in one query


@dataclass(frozen=True)
class Row:
    """One certificate of a list. `name` and `email` are those of a person who is to be created."""

    number: int
    username: str
    device: str
    name: str = ""
    email: str = ""
    profile: str = PERSON.name
    csr: x509.CertificateSigningRequest | None = None

    def __str__(self) -> str:
        return f"row {self.number} ({self.username or 'nobody'})"

    @property
    def stem(self) -> str:
        """What the row's file is called, without its suffix."""
        kind = "" if self.profile == PERSON.name else self.profile
        return slugify(f"{self.username} {self.device} {kind}")


@dataclass(frozen=True)
class Ready:
    """A row whose certificate may be signed; `key` is made here where there is no CSR."""

    row: Row
    prepared: Prepared
    key: ec.EllipticCurvePrivateKey | None


@dataclass(frozen=True)
class Handed:
    """What a row came to: its certificate, and the file for its person, which is kept nowhere."""

    row: Row
    certificate: Certificate
    content: bytes
    password: str | None
    differences: tuple[str, ...]


@dataclass
class Checked:
    """A list after its check, in its order: what may be issued, what was before, what is refused."""

    authority: CertificateAuthority
    ready: list[Ready] = field(default_factory=list)
    done: list[tuple[Row, Certificate]] = field(default_factory=list)
    refused: list[tuple[Row, RequestError]] = field(default_factory=list)


Keep = Callable[[Handed], None]


@audit.refusals("certificate.issue_many")
def check(
    *,
    actor: str,
    rows: Sequence[Row],
    create_people: bool = False,
    keep_going: bool = False,
    at: dt.datetime,
    progress: Progress = unwatched,
) -> Checked:
    """Decide about every row of a list, and make ready what may be issued. Changes nothing.

    Refuses (RowsError, which names each row and why) where any row is refused; with `keep_going`
    these are in `refused`, and in the audit trail. A row is refused for what `issuance.prepare`
    refuses, a profile whose certificates need approval, a person who is not there (unless
    `create_people`), and a file that another row writes. Refuses more than 10,000 rows
    (RequestError), and when no CA issues (AuthorityError).
    """
    if not 0 < len(rows) <= MOST_ROWS:
        raise RequestError(f"A list has 1 to {MOST_ROWS} rows; this one has {len(rows)}.")
    checked = Checked(authorities.require_issuing(at=at))
    wanted = _wanted(rows, checked, _people(rows, create_people=create_people), at)
    found = issuance.prepare_many(
        actor=actor,
        authority=checked.authority,
        wanted=[each for _, each, _ in wanted],
        at=at,
        progress=progress,
    )
    for (row, _, key), result in zip(wanted, found, strict=True):
        if isinstance(result, Prepared):
            checked.ready.append(Ready(row, result, key))
        else:
            checked.refused.append((row, result))
    checked.refused.sort(key=lambda refused: refused[0].number)
    if checked.refused and not keep_going:
        raise RowsError([(str(row), str(error)) for row, error in checked.refused])
    for row, error in checked.refused:
        audit.record_refusal(error, actor=actor, action="certificate.issue", target=row.username)
    return checked


@audit.refusals("certificate.issue_many")
def issue(
    *,
    actor: str,
    checked: Checked,
    keep: Keep,
    format: Format = Format.P12,
    password: str | None = None,
    create_people: bool = False,
    keep_going: bool = False,
    at: dt.datetime,
    progress: Progress = unwatched,
) -> None:
    """Issue what is ready, step by step, and hand each to `keep` in the transaction of its step.

    A CSR's certificate is packed as PEM with its CAs, a key made here in `format`, under `password`
    or else one of its own. What `keep` raises undoes the step. Interrupted by `progress` between
    two steps, or in any other way, it can be run again from `check`.

    Where something has changed since the check, the rows of that step are checked and tried once
    more: what is refused now stops it (RowsError), and nothing of that step is issued; with
    `keep_going` it is added to `refused`, and the others go on.
    """
    packing = _Packing(format, password, keep)
    ready = checked.ready
    size = STEP if all(each.key is None for each in ready) else STEP_WITH_KEYS
    for start in range(0, len(ready), size):
        step = ready[start : start + size]
        try:
            _issue_step(step, packing, actor=actor, at=at)
        except RequestError:
            again = check(
                actor=actor,
                rows=[each.row for each in step],
                create_people=create_people,
                keep_going=keep_going,
                at=at,
            )
            checked.done += again.done
            checked.refused += again.refused
            _issue_step(again.ready, packing, actor=actor, at=at)
        progress(start + len(step), len(ready))


# --- Checking -------------------------------------------------------------------------------

Asked = tuple[Row, Wanted, ec.EllipticCurvePrivateKey | None]


def _wanted(
    rows: Sequence[Row], checked: Checked, owners: dict[str, User | RequestError], at: dt.datetime
) -> list[Asked]:
    """What is left to prepare after what can be said of a row before."""
    before, first = _held(owners, at), dict[str, Row]()
    wanted: list[Asked] = []
    for row in rows:
        try:
            device, owner = names.clean_device(row.device), owners[row.username]
            if isinstance(owner, RequestError):
                raise owner
            if (other := first.setdefault(row.stem, row)) is not row:
                raise ProfileError(f"It has the same file as {other}. Name its device otherwise.")
            known = before.get((row.username, device, row.profile), [])
            if done := _done(row, known):
                checked.done.append((row, done))
                continue
            catalogue.require_no_approval(row.profile)
        except RequestError as refusal:
            checked.refused.append((row, refusal))
            continue
        key = None if row.csr else handout.make_key()
        public = key.public_key() if key else None
        asked = Wanted(row.profile, public, row.csr, owner=owner, device=device)
        wanted.append((row, asked, key))
    return wanted


def _people(rows: Sequence[Row], *, create_people: bool) -> dict[str, User | RequestError]:
    found: dict[str, User | RequestError] = {**people.by_username(row.username for row in rows)}
    for row in rows:
        if row.username not in found:
            found[row.username] = _new_person(row, create_people=create_people)
    return found


def _new_person(row: Row, *, create_people: bool) -> User | RequestError:
    if not create_people:
        return RequestError(f"There is no person {row.username!r}, and nobody is to be created.")
    try:
        return people.draft_person(username=row.username, name=row.name, email=row.email)
    except RequestError as refusal:
        return refusal


def _held(
    owners: dict[str, User | RequestError], at: dt.datetime
) -> dict[tuple[str, str, str], list[Certificate]]:
    """The valid certificates of these people by username, device and profile."""
    ids = sorted(user.pk for user in owners.values() if isinstance(user, User) and user.pk)
    held: dict[tuple[str, str, str], list[Certificate]] = {}
    for start in range(0, len(ids), AT_ONCE):
        rows = Certificate.objects.active(at).filter(owner__in=ids[start : start + AT_ONCE])
        for one in rows.select_related("owner").defer("der"):
            if one.owner:
                place = (one.owner.username, one.device, one.profile)
                held.setdefault(place, []).append(one)
    return held


def _done(row: Row, known: Sequence[Certificate]) -> Certificate | None:
    if row.csr is None or not known:
        return known[0] if known else None
    spki = algorithms.spki_sha256(excess.certified_key(row.csr))
    return next((one for one in known if one.spki_sha256 == spki), None)


# --- Issuing --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Packing:
    format: Format
    password: str | None
    keep: Keep

    def hand(self, ready: Ready, certificate: Certificate, above: list[x509.Certificate]) -> None:
        format = self.format if ready.key else Format.PEM
        password = None if format is Format.PEM else self.password or handout.make_password()
        packed = handout.pack(
            key=ready.key,
            chain=[x509.load_der_x509_certificate(bytes(certificate.der)), *above],
            format=format,
            password=password,
            name=ready.row.stem,
        )
        differences = ready.prepared.differences
        self.keep(Handed(ready.row, certificate, packed.content, password, differences))


def _issue_step(step: Sequence[Ready], packing: _Packing, *, actor: str, at: dt.datetime) -> None:
    if not step:
        return
    owners = [each.prepared.owner for each in step if each.prepared.owner]
    new = {owner.username: owner for owner in owners if owner.pk is None}.values()
    try:
        with transaction.atomic():
            for owner in new:
                people.add_person(actor=actor, user=owner, at=at)
            issued = issuance.issue_many([each.prepared for each in step])
            above = handout.chain_of(issued[0])[1:]
            for each, certificate in zip(step, issued, strict=True):
                packing.hand(each, certificate, above)
    except BaseException:
        for owner in new:  # drafts again: the number they were given may go to somebody else
            owner.pk, owner._state.adding = None, True
        raise
