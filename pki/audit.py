"""The audit trail: what was done and what was refused, each an entry of one chain.

What always holds here:
  1. an entry is written in the transaction of the change it tells of, or neither is;
  2. what a verb refuses to somebody is recorded once, outside the transaction it ended; while the
     trail cannot be sealed, because the master key is away, it waits in the backlog.
How entries hang together, and what `verify` finds, is said in `pki.audit_chain`.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.db import transaction
from django.utils import timezone

from pki import audit_chain
from pki.audit_chain import accept_clock, reseal, verify
from pki.errors import AuditError, IdentityError, PKIError, StoppedError
from pki.models import AuditBacklog, AuditEntry, Certificate, CertificateAuthority

__all__ = [
    "accept_clock",
    "record",
    "record_many",
    "record_refusal",
    "refusals",
    "reseal",
    "sweep_backlog",
    "verify",
]

Verb = TypeVar("Verb", bound=Callable[..., Any])

ABOUT = ["certificate", "authority", "request", "endpoint", "truststore", "anchor"]
ABOUT += ["user", "owner", "key", "name"]
UNTOLD = (IdentityError, StoppedError)  # a connection's or a person's own end, and no refusal
REASON_LONGEST = 500
MOST_A_MINUTE = 30  # refusals to one actor; the rest of that minute is in the log alone
LOOKED_AT = 200
MOST_IN_BACKLOG = 1000

logger = logging.getLogger("pki")
_within: contextvars.ContextVar[bool] = contextvars.ContextVar("within a verb", default=False)


def record(
    *, actor: str, action: str, target: str, detail: dict[str, Any], at: dt.datetime
) -> AuditEntry:
    """Append one entry in the caller's transaction.

    Holds the head's lock until that transaction ends, so entries are written one at a time.
    Refuses: no transaction, a detail that is not JSON, a database that will not write (AuditError);
    another master key than the trail's (MasterKeyError); a clock that was set back (ClockError).
    """
    entry = AuditEntry(actor=actor, action=action, target=target, detail=detail, at=at)
    record_many([entry])
    return entry


def record_many(entries: Sequence[AuditEntry]) -> None:
    """Append entries (rows that are not written yet, without number and hash) in their order, as
    `record` does each: all in the caller's transaction, or none. Refuses what `record` refuses."""
    if not transaction.get_connection().in_atomic_block:
        raise AuditError("An audit entry belongs into the transaction of what it tells of.")
    audit_chain.append(entries)


# --- Refusals -------------------------------------------------------------------------------


def refusals(action: str) -> Callable[[Verb], Verb]:
    """Decorates a verb: what it refuses to an actor becomes the entry "<action>.refused".

    The entry is written outside the verb's own transaction, which is rolled back by then. Of verbs
    within verbs the outermost writes. Inside a transaction of somebody else's the entry is only
    noted on the error: that one is about to be rolled back too, so an outer verb or the door
    writes it (`record_refusal`). Without an actor nothing is recorded: nobody without a name may
    fill the trail.
    """

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        def refusing(*args: Any, **kwargs: Any) -> Any:
            is_outermost = not _within.get()
            token = _within.set(True)
            try:
                return verb(*args, **kwargs)
            except PKIError as error:
                _note(error, action, _facts(args, kwargs))
                if is_outermost and _stands_alone():
                    record_refusal(error)
                raise
            finally:
                _within.reset(token)

        return cast(Verb, refusing)

    return decorate


def record_refusal(error: PKIError, *, actor: str = "", action: str = "", target: str = "") -> None:
    """Write down what a verb refused, once; for doors, and for whoever swallows the error.

    Where no decorated verb noted it, `actor` and `action` say who tried what. Never raises: what
    cannot be sealed now waits in the backlog, and what cannot be kept either is in the log.
    """
    if _noted(error) is None:
        _note(error, action, {"actor": actor, "name": target})
    noted = _noted(error)
    if noted is None or noted.is_written:
        return
    noted.is_written = True
    try:
        _write(noted)
    except Exception as trouble:  # the refusal itself must reach whoever asked
        logger.error("A refusal could not be recorded (%s): %s", trouble, noted)


def sweep_backlog(*, at: dt.datetime) -> int:
    """Move what waits in the backlog into the trail; returns how many entries that were.

    Each in a transaction of its own, with the time it happened at in its detail. Refuses what
    `record` refuses; what waits then goes on waiting.
    """
    moved = 0
    for kept in AuditBacklog.objects.all():
        with transaction.atomic():
            if not AuditBacklog.objects.filter(pk=kept.pk).delete()[0]:
                continue  # another process was faster
            record(
                actor=kept.actor,
                action=kept.action,
                target=kept.target,
                detail={**kept.detail, "happened_at": kept.at.isoformat()},
                at=at,
            )
        moved += 1
    return moved


@dataclass
class _Refusal:
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    at: dt.datetime
    is_written: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        fields = vars(self).copy()
        del fields["is_written"]
        return fields


def _note(error: PKIError, action: str, facts: dict[str, Any]) -> None:
    """Remember on the error what will be recorded; who notes later stands further out."""
    noted, actor = _noted(error), str(facts.get("actor") or "")
    if isinstance(error, UNTOLD) or not (actor and action) or (noted and noted.is_written):
        return
    error._refusal = _Refusal(  # type: ignore[attr-defined]
        actor=_clean(actor, 64),
        action=f"{action[:56]}.refused",
        target=_clean(_target(facts), 255),
        detail={"reason": _clean(str(error), REASON_LONGEST), "error": type(error).__name__},
        at=facts.get("at") or timezone.now(),
    )


def _noted(error: PKIError) -> _Refusal | None:
    return getattr(error, "_refusal", None)


def _facts(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a verb was called with; one that takes a prepared thing, or a list of such, is told by
    the fields of the first."""
    first = next(iter(args), None)
    first = next(iter(first), None) if isinstance(first, list) else first
    return {**getattr(first, "__dict__", {}), **kwargs}


def _target(facts: dict[str, Any]) -> str:
    """In the words that entries about done things use, so that a search finds both."""
    match next((facts[name] for name in ABOUT if facts.get(name)), ""):
        case Certificate() as certificate:
            return f"certificate {certificate.serial}"
        case CertificateAuthority() as authority:
            return f"CA {authority.slug}"
        case other:
            return str(other)


def _clean(text: str, longest: int) -> str:
    """Short, and without NUL, which PostgreSQL does not store."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _stands_alone() -> bool:
    """Whether what is written now is committed, whatever becomes of the caller."""
    try:
        with transaction.atomic(durable=True):
            return True
    except RuntimeError:
        return False


def _write(noted: _Refusal) -> None:
    if _is_too_many(noted):
        logger.error("Refused, beyond what the audit trail takes from one actor: %s", noted)
        return
    try:
        with transaction.atomic():
            record(**noted.fields)
    except PKIError as error:
        _keep(noted, error)


def _is_too_many(noted: _Refusal) -> bool:
    newest = AuditEntry.objects.order_by("-sequence").values_list("actor", "action", "at")
    since = noted.at - dt.timedelta(minutes=1)
    same = [
        at
        for actor, action, at in newest[:LOOKED_AT]
        if actor == noted.actor and action.endswith(".refused") and at > since
    ]
    return len(same) >= MOST_A_MINUTE


def _keep(noted: _Refusal, error: PKIError) -> None:
    logger.error("The audit trail cannot be sealed (%s), so this waits: %s", error, noted)
    if AuditBacklog.objects.count() < MOST_IN_BACKLOG:
        with transaction.atomic():
            AuditBacklog.objects.create(**noted.fields)
