"""One publication of a CA: which CRLs there are, what each lists, and how it is signed and kept.

`crl` holds the verbs. What is here runs under the lock of the CA's row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db.models import Exists, OuterRef, QuerySet

from pki import addresses, audit, crl_lint, crl_tbs, keys
from pki.changes import announce_change
from pki.crl_tbs import Contents, Entry
from pki.errors import AuthorityError, LintError
from pki.models import Certificate, CertificateAuthority, RevocationList

FULL, DELTA = RevocationList.Kind.FULL, RevocationList.Kind.DELTA
LIFE = dt.timedelta(days=7)
DELTA_LIFE = dt.timedelta(days=1)
BASE_EVERY = dt.timedelta(days=1)  # of the full CRLs whose DER is kept for deltas
ROWS_KEPT = 50  # of each kind and partition of a CA
ADDRESSES_KEPT = 8  # under which a partition was known
BATCH = 500


@dataclass(frozen=True)
class Scope:
    """Which CRL of a CA: the one of everything, its changes, or that of a partition."""

    kind: str = FULL
    partition: int = 0

    @property
    def life(self) -> dt.timedelta:
        return DELTA_LIFE if self.kind == DELTA else LIFE

    def __str__(self) -> str:
        if self.kind == DELTA:
            return "delta"
        return f"partition {self.partition}" if self.partition else "full"


EVERYTHING, CHANGES = Scope(), Scope(DELTA)


def latest(
    authority: CertificateAuthority, scope: Scope = EVERYTHING, *, with_der: bool = False
) -> RevocationList | None:
    """The newest CRL of a CA, or None before its first; its DER is read when it is asked for."""
    crls = RevocationList.objects.filter(
        authority=authority, kind=scope.kind, partition=scope.partition
    )
    return (crls if with_der else crls.defer("der")).order_by("-number").first()


def scopes(authority: CertificateAuthority) -> list[Scope]:
    """The CRLs a CA publishes; the one of everything comes first."""
    deltas = [CHANGES] if authority.has_delta_crls else []
    return [EVERYTHING, *deltas, *(Scope(FULL, p + 1) for p in range(authority.crl_partitions))]


def file_name(authority: CertificateAuthority, scope: Scope = EVERYTHING) -> str:
    """The last part of its address."""
    ending = "-delta" if scope.kind == DELTA else f"-{scope.partition}" if scope.partition else ""
    return f"{authority.slug}{ending}.crl"


def url(authority: CertificateAuthority, scope: Scope = EVERYTHING) -> str:
    """Where a CRL is published, as certificates and CRLs name it."""
    return addresses.url("public", f"/crl/{file_name(authority, scope)}")


def newest(authority: CertificateAuthority) -> dict[Scope, RevocationList]:
    """The newest CRL of each scope, by its number; its DER is read when it is asked for. One query."""
    same = ("authority", "kind", "partition")
    newer = RevocationList.objects.filter(
        **{name: OuterRef(name) for name in same}, number__gt=OuterRef("number")
    )
    rows = RevocationList.objects.filter(~Exists(newer), authority=authority)
    return {Scope(row.kind, row.partition): row for row in rows.order_by().defer("der")}


def is_of_the_future(crl: RevocationList, *, at: dt.datetime) -> bool:
    """Signed while the clock was wrong, so what it says of its time counts for nothing.

    The audit trail refuses to go along until an admin has said that the clock is right now.
    """
    return crl.this_update > at + crl_lint.CLOCK_TOLERANCE


# --- One publication ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Publication:
    """What the CRLs of one number have in common."""

    authority: CertificateAuthority
    newest: dict[Scope, RevocationList]
    number: int
    this_update: dt.datetime
    at: dt.datetime


def publish(
    locked: CertificateAuthority, wanted: list[Scope], *, actor: str, at: dt.datetime
) -> list[RevocationList]:
    if locked.certificate.key is None:
        raise AuthorityError(f"{locked} cannot sign a CRL: its key is not kept here.")
    last = newest(locked)
    turn = _Publication(locked, last, locked.next_crl_number, _this_update(last, at), at)
    listed = _listed(turn, wanted)
    made = [crl for scope in wanted if (crl := _make(turn, scope, listed)) is not None]
    CertificateAuthority.objects.filter(pk=locked.pk).update(next_crl_number=turn.number + 1)
    _record(turn, made, actor=actor)
    announce_change()
    return made


def _this_update(last: dict[Scope, RevocationList], at: dt.datetime) -> dt.datetime:
    """Whoever waited for the lock may be earlier than who had it: the list is as of the later."""
    believed = [one.this_update for one in last.values() if not is_of_the_future(one, at=at)]
    return max([at.astimezone(dt.UTC).replace(microsecond=0), *believed])


def _make(
    turn: _Publication, scope: Scope, listed: dict[Scope, list[Entry]]
) -> RevocationList | None:
    base = _base(turn) if scope.kind == DELTA else None
    if scope.kind == DELTA and base is None:
        return None  # nothing to add to yet: the full CRL of this turn will be the first base
    entries = _changes(turn, base, listed[scope]) if base else listed[scope]
    contents = Contents(
        issuer=x509.load_der_x509_certificate(bytes(turn.authority.certificate.der)),
        number=turn.number,
        this_update=turn.this_update,
        next_update=turn.this_update + scope.life,
        entries=entries,
        base_number=base.number if base else None,
        points=_points(turn.authority, scope) if scope.partition else (),
        freshest=_freshest(turn.authority, scope),
    )
    crl = RevocationList.objects.create(
        authority=turn.authority,
        kind=scope.kind,
        partition=scope.partition,
        number=turn.number,
        base_number=contents.base_number,
        this_update=contents.this_update,
        next_update=contents.next_update,
        entries=len(entries),
        der=_sign(turn, scope, contents),
    )
    _tidy(turn, scope)
    return crl


def _sign(turn: _Publication, scope: Scope, contents: Contents) -> bytes:
    """Lint the twin, sign, and see that the two say the same."""
    key = turn.authority.certificate.key
    assert key is not None  # publish looked
    last = turn.newest.get(scope)
    crl_lint.lint_entries(contents)
    twin = crl_lint.sign_twin(contents, algorithm=key.algorithm)
    crl_lint.lint_crl(
        crl_lint.Candidate(
            twin=twin,
            contents=contents,
            is_partition=bool(scope.partition),
            at=turn.at,
            last_number=last.number if last else 0,
            last_update=last.this_update if last else None,
        )
    )
    signed = keys.sign_revocation_list(crl_tbs.build(contents, contents.entries), key=key)
    if list(signed.extensions) != list(twin.extensions) or signed.issuer != twin.issuer:
        raise LintError(["twin: what was signed is not what was linted"])
    return signed.public_bytes(Encoding.DER)


def _record(turn: _Publication, made: list[RevocationList], *, actor: str) -> None:
    detail: dict[str, object] = {
        "entries": made[0].entries,
        "next_update": made[0].next_update.isoformat(),
    }
    kinds = [str(Scope(crl.kind, crl.partition)) for crl in made]
    if kinds != [str(EVERYTHING)]:
        detail["lists"] = kinds
    audit.record(
        actor=actor,
        action="crl.published",
        target=f"CRL {turn.number} of {turn.authority.slug}",
        detail=detail,
        at=turn.at,
    )


# --- Entries --------------------------------------------------------------------------------

COLUMNS = ("sha256", "serial", "revoked_at", "revocation_reason", "not_after")


def _listed(turn: _Publication, wanted: Iterable[Scope]) -> dict[Scope, list[Entry]]:
    """What each CRL lists; a delta is given what the CRL of everything would list.

    After a CRL of the future everything is listed, expired or not, and what was revoked then is
    revoked now.
    """
    revoked = Certificate.objects.revoked().filter(authority=turn.authority)
    rows = list(revoked.order_by("revoked_at", "pk").values_list(*COLUMNS))
    has_partitions = any(scope.partition for scope in wanted)
    where = partitions_of(turn.authority, [row[0] for row in rows]) if has_partitions else {}
    listed: dict[Scope, list[Entry]] = {scope: [] for scope in wanted}
    for scope, entries in listed.items():
        last = turn.newest.get(EVERYTHING if scope.kind == DELTA else scope)
        if last is not None and is_of_the_future(last, at=turn.at):
            last = None
        entries += [
            Entry(int(serial, 16), min(at.replace(microsecond=0), turn.this_update), reason)
            for sha256, serial, at, reason, not_after in rows
            if (last is None or not_after >= last.this_update)
            and (not scope.partition or where[sha256] == scope.partition)
        ]
    return listed


_known_partitions: dict[str, int] = {}  # SHA-256 of a certificate → the partition it names
KNOWN_PARTITIONS = 2**18


def partitions_of(authority: CertificateAuthority, digests: Collection[str]) -> dict[str, int]:
    """The partition that each certificate names, read from it once in the life of a process."""
    if len(_known_partitions) > KNOWN_PARTITIONS:
        _known_partitions.clear()
    unknown = [sha256 for sha256 in digests if sha256 not in _known_partitions]
    for start in range(0, len(unknown), BATCH):
        some = Certificate.objects.filter(sha256__in=unknown[start : start + BATCH])
        for sha256, der in some.order_by().values_list("sha256", "der"):
            _known_partitions[sha256] = crl_tbs.partition_in(bytes(der), authority.slug)
    return {sha256: _known_partitions[sha256] for sha256 in digests}


def _points(authority: CertificateAuthority, scope: Scope) -> tuple[str, ...]:
    """The address of a partition now, and those that certificates issued before may name."""
    last = latest(authority, scope, with_der=True)
    before = crl_tbs.points(bytes(last.der)) if last and last.der else ()
    return tuple(dict.fromkeys([url(authority, scope), *before]))[:ADDRESSES_KEPT]


def _freshest(authority: CertificateAuthority, scope: Scope) -> str:
    return url(authority, CHANGES) if scope == EVERYTHING and authority.has_delta_crls else ""


# --- Deltas and what is kept for them -------------------------------------------------------


def _base(turn: _Publication) -> RevocationList | None:
    """The full CRL that a delta adds to: the newest kept one that is older than every current one.

    So whoever holds any CRL that is still in force can use the delta. Before there is one that
    old, the oldest that is kept.
    """
    kept = list(_kept(turn).filter(number__lt=turn.number).defer("der"))
    old = [crl for crl in kept if crl.this_update <= turn.this_update - LIFE]
    return old[-1] if old else kept[0] if kept else None


def _changes(turn: _Publication, base: RevocationList, now: list[Entry]) -> list[Entry]:
    last = latest(turn.authority, CHANGES, with_der=True)
    before = crl_tbs.read(bytes(last.der)) if last and last.der else {}
    return crl_tbs.changes(
        base=crl_tbs.read(bytes(base.der)),
        before={  # a removal of the future is one of now
            serial: entry._replace(at=min(entry.at, turn.this_update))
            for serial, entry in before.items()
        },
        now={entry.serial: entry for entry in now},
        since=base.this_update,
        at=turn.this_update,
    )


def _tidy(turn: _Publication, scope: Scope) -> None:
    """Forget what nobody asks for any more: DERs but the newest and the bases, and old rows."""
    rows = RevocationList.objects.filter(
        authority=turn.authority, kind=scope.kind, partition=scope.partition
    )
    with_der = rows.exclude(der=b"").filter(number__lt=turn.number)
    with_der.exclude(pk__in=_bases(turn) if scope == EVERYTHING else []).update(der=b"")
    numbers = list(rows.order_by("-number").values_list("number", flat=True)[:ROWS_KEPT])
    rows.filter(number__lt=numbers[-1], der=b"").delete()


def _bases(turn: _Publication) -> list[int]:
    """Of the older full CRLs those that a delta may need: about one a day, for a week."""
    if not turn.authority.has_delta_crls:
        return []
    base, bases, last = _base(turn), [], None
    for crl in _kept(turn).filter(number__lt=turn.number).defer("der"):
        if base is None or crl.number < base.number:
            continue
        if last is None or crl.this_update >= last + BASE_EVERY:
            bases.append(crl.pk)
            last = crl.this_update
    return bases


def _kept(turn: _Publication) -> QuerySet[RevocationList]:
    rows = RevocationList.objects.filter(
        authority=turn.authority,
        kind=FULL,
        partition=0,
        this_update__lte=turn.at + crl_lint.CLOCK_TOLERANCE,
    )
    return rows.exclude(der=b"").order_by("number")
