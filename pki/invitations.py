"""One-time links for many people at once, from a list: looked at as a whole, made in steps.

What always holds here:
  1. every line is looked at before the first link is made, as if those before it had been carried
     out, and nothing is begun while one has a fault;
  2. a step (its people, links and audit entries) is one transaction, by the verbs that do it for
     one person; stopped anywhere, the list goes on where it was;
  3. no link is kept: they are made out again when they are handed out, once and to whoever began
     the list. Then the list is gone, and nobody can make them out any more;
  4. what is locked is locked in this order: list, certificate, links, audit trail.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from pki import (
    addresses,
    audit,
    authorities,
    catalogue,
    enrolment,
    lint,
    names,
    operations,
    people,
    permissions,
    profiles,
)
from pki.errors import NotAllowedError, RequestError, RowsError, StateError
from pki.models import Certificate, Invitation, InvitationList, Operation, User
from pki.people_list import COLUMNS, Line, harmless, is_formula
from pki.profiles import Profile
from pki.progress import Progress

MOST_LINES = 3000
# Of a step's transaction everybody who writes waits: SQLite has one lock, and all have the trail.
STEP = 5  # people in one transaction
PAUSE = 0.05  # seconds between two, and at least as long as a step took: others get their turn
AT_ONCE = 500  # people in one query
DAYS = (1, 3, 7)  # how long the links of a list may work
KEPT = dt.timedelta(days=max(DAYS))
CHANGED = "The list, or the people here, have changed since. Look at it again."
GONE = "This list is gone: its links have been handed out already, or it was too old."
SIMILAR = str.maketrans("01l", "oii", "._-")


class Fate(StrEnum):
    """What becomes of a line."""

    NEW = "new person, link"
    LINK = "link"
    AGAIN = "new link, the open one ends"
    HAS = "nothing: has a certificate"
    MADE = "link made"
    OVER = "its link was used or has ended"
    FAULT = "fault"


IS_MADE = (Fate.NEW, Fate.LINK, Fate.AGAIN)


@dataclass
class Outlook:
    """A line and what would become of it now; `said` are sentences about it."""

    line: Line
    device: str
    fate: Fate = Fate.FAULT
    owner: User | None = None
    said: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        username = f" ({self.line.username})" if self.line.username else ""
        return f"Line {self.line.number}{username}"


def check(
    *, inviter: User, lines: Sequence[Line], device: str = "", once: str = "", at: dt.datetime
) -> list[Outlook]:
    """What would become of each line of a list, in its order. Changes nothing.

    `device` stands where a line names none. A line is at fault where a person cannot be created,
    has no open account, may not be invited by `inviter`, could not be certified by the profile
    "person", or is in the list before. With `once` the links made by it are known again.
    """
    outlooks = [Outlook(line, line.device or device) for line in lines]
    found = _Found(outlooks, inviter=inviter, once=once, at=at)
    before: dict[tuple[str, str], Outlook] = {}
    for outlook in outlooks:
        try:
            outlook.device = names.clean_device(outlook.device)
            _decide(outlook, found, before)
        except RequestError as fault:
            outlook.fate, outlook.said = Fate.FAULT, [str(fault)]
    return outlooks


def digest(outlooks: Iterable[Outlook]) -> str:
    """The same while nothing has changed that `check` looks at."""
    seen = [(astuple(one.line), one.device, one.fate.value, one.said) for one in outlooks]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


@audit.refusals("invitation_list.begin")
def begin(
    *,
    actor: str,
    inviter: User,
    lines: Sequence[Line],
    device: str,
    seen: str,
    days: int,
    asked_with: int,
    parted_by: str,
    at: dt.datetime,
) -> InvitationList:
    """Begin to make the links of a list beside the console, each good for `days`.

    Writes an audit entry. Refuses (StateError) what is no longer as `seen`, the `digest` of what
    was looked at, and while another list is carried out; RowsError where a line has a fault;
    RequestError where there is no link to make, and for more than 3,000 lines; NotAllowedError for
    whoever may not invite many; AuthorityError when no CA issues.
    """
    _require_allowed(inviter, asked_with, at=at)
    outlooks = check(inviter=inviter, lines=lines, device=device, at=at)
    if digest(outlooks) != seen:
        raise StateError(CHANGED)
    faults = [(str(one), " ".join(one.said)) for one in outlooks if one.fate is Fate.FAULT]
    if faults:
        raise RowsError(faults)
    number = sum(one.fate in IS_MADE for one in outlooks)
    if not 0 < number <= len(outlooks) <= MOST_LINES or days not in DAYS:
        raise RequestError("Nobody on this list needs a link, or it is too long.")
    authorities.require_issuing(at=at)
    with transaction.atomic():
        audit.record(  # this locks the trail: of two who begin at once, the second sees the first
            actor=actor,
            action="invitation_list.begun",
            target=f"list of {len(outlooks)}",
            detail={"links": number, "days": days},
            at=at,
        )
        started = InvitationList.objects.create(
            actor=actor,
            once=enrolment.new_once(),
            lines=[asdict(replace(one.line, device=one.device)) for one in outlooks],
            parted_by=parted_by,
            days=days,
            asked_with_id=asked_with,
            created_at=at,
        )
        _start(started, at=at)
    return started


@audit.refusals("invitation_list.begin")
def go_on(*, actor: str, inviter: User, started: InvitationList, at: dt.datetime) -> None:
    """Carry on a list that was stopped or has failed; what was made stays.

    Refuses (StateError) one that runs or is gone, and while another one runs; NotAllowedError for
    whoever may not invite many, or not with the certificate that the list was begun with.
    """
    _require_allowed(inviter, started.asked_with_id, at=at)
    with transaction.atomic():
        _lock(started)
        audit.record(
            actor=actor,
            action="invitation_list.gone_on",
            target=f"list of {len(started.lines)}",
            detail={},
            at=at,
        )
        _start(started, at=at)


@audit.refusals("invitation_list.carry_out")
def carry_out(*, actor: str, started: InvitationList, progress: Progress) -> str:
    """Make the links of a list, step by step; returns the sentence that tells how it ended.

    Each step looks anew at its lines, and then leaves others time to write. A line that has a fault
    by now is left out, and in the audit trail. Of a person and device that have an open link, that
    one ends. Refuses (NotAllowedError) where whoever began it may not invite many any more.
    """
    lines, made = lines_of(started), 0
    for start in range(0, len(lines), STEP):
        begun = time.monotonic()
        made += _step(actor, started, lines[start : start + STEP])
        progress(min(start + STEP, len(lines)), len(lines))
        time.sleep(max(PAUSE, time.monotonic() - begun))
    noun = "link was" if made == 1 else "links were"
    return f"{made} {noun} made. Whoever began it fetches them on the page of the list, once."


@audit.refusals("invitation_list.hand_out")
def hand_out(*, actor: str, started: InvitationList, at: dt.datetime) -> bytes:
    """The links of a list that are open now, as CSV for a mail merge. The list is gone with it.

    Writes an audit entry. Refuses (StateError) a list that runs, has no open link, or was handed
    out; NotAllowedError for anybody but who began it and may still invite many.
    """
    if started.actor != actor:
        raise NotAllowedError("Only whoever began a list gets its links.")
    _require_right(User.objects.filter(username=actor).first())
    with transaction.atomic():
        _lock(started)
        if is_running(started, at=at):
            raise StateError("This list is being carried out. Wait until it has ended.")
        links = _links_of(started, at=at)
        if not links:
            raise StateError("No link of this list is open. Add the people again.")
        InvitationList.objects.filter(pk=started.pk).delete()
        audit.record(
            actor=actor,
            action="invitation_list.handed_out",
            target=f"list of {len(started.lines)}",
            detail={"links": len(links)},
            at=at,
        )
    return _table(links, started.parted_by)


def prune(*, at: dt.datetime) -> None:
    """Forget the lists whose links nobody has fetched in seven days."""
    InvitationList.objects.filter(created_at__lt=at - KEPT).delete()


def lines_of(started: InvitationList) -> list[Line]:
    return [Line(**fields) for fields in started.lines]


def number_open(started: InvitationList, *, at: dt.datetime) -> int:
    """How many links of a list are open."""
    return len(_links_of(started, at=at))


def is_running(started: InvitationList, *, at: dt.datetime) -> bool:
    operation = Operation.objects.filter(pk=started.operation_id or 0).first()
    running = Operation.State.RUNNING
    return operation is not None and operations.state_at(operation, at) is running


# --- Looking --------------------------------------------------------------------------------


class _Found:
    """What the database knows of the people of a list, asked for all at once."""

    def __init__(
        self, outlooks: Sequence[Outlook], *, inviter: User, once: str, at: dt.datetime
    ) -> None:
        self.inviter = inviter
        self.kind: Profile = catalogue.named(profiles.PERSON.name)
        self.owners = people.by_username(outlook.line.username for outlook in outlooks)
        self.held: set[tuple[int, str]] = set()
        self.number: dict[int, int] = {}
        self.open: set[tuple[int, str]] = set()
        known = list(self.owners.values())
        for start in range(0, len(known), AT_ONCE):
            self._look_at(known[start : start + AT_ONCE], at)
        self.made: dict[tuple[int, str], bool] = {}
        if once:
            wanted = [
                (self.owners[one.line.username], one.device)
                for one in outlooks
                if one.line.username in self.owners
            ]
            made = enrolment.made_before(actor=inviter.username, once=once, wanted=wanted)
            self.made = {place: _is_open(link, at=at) for place, (link, _) in made.items()}

    @cached_property
    def similar(self) -> dict[str, str]:
        """Usernames by what is left of them for a hasty reader."""
        usernames = User.objects.order_by("-username").values_list("username", flat=True)
        return {username.translate(SIMILAR): username for username in usernames}

    def _look_at(self, some: list[User], at: dt.datetime) -> None:
        valid = Certificate.objects.active(at).filter(owner__in=some, profile=self.kind.name)
        self.held.update(valid.values_list("owner", "device"))
        counted = valid.order_by().values_list("owner").annotate(Count("pk"))
        self.number.update(dict(counted))
        links = Invitation.objects.open(at).filter(user__in=some)
        self.open.update(links.values_list("user", "device"))


def _decide(outlook: Outlook, found: _Found, before: dict[tuple[str, str], Outlook]) -> None:
    line = outlook.line
    if line.fault:
        raise RequestError(line.fault)
    if not line.username:
        raise RequestError("It has no username.")
    other = before.setdefault((line.username, outlook.device.casefold()), outlook)
    if other is not outlook:
        raise RequestError(f"Line {other.line.number} has the same person and device.")
    owner = found.owners.get(line.username)
    if owner is None:
        owner = found.owners[line.username] = _draft(outlook, found)
        outlook.fate = Fate.NEW
    else:
        outlook.fate = _fate(outlook, owner, found)
    outlook.owner = owner


def _draft(outlook: Outlook, found: _Found) -> User:
    line = outlook.line
    if hidden := [letter for letter in line.name if not lint.is_plain_text(f"x{letter}x")]:
        raise RequestError(f"The name has an invisible character (U+{ord(hidden[0]):04X}).")
    if is_formula(line.name) or is_formula(line.email):
        raise RequestError("Spreadsheets take a field for a formula that begins with = + - or @.")
    draft = people.draft_person(username=line.username, name=line.name, email=line.email)
    _require_certifiable(draft, found)
    other = found.similar.setdefault(line.username.translate(SIMILAR), line.username)
    if other != line.username:
        outlook.said.append(f"Looks like {other}: is it somebody else?")
    return draft


def _fate(outlook: Outlook, owner: User, found: _Found) -> Fate:
    """Of somebody who is there, or will be by a line before."""
    line, place = outlook.line, (owner.pk or 0, outlook.device)
    differing = {
        what
        for what, said, known in (
            ("name", line.name, owner.name),
            ("e-mail", line.email, owner.email),
        )
        if said and said != known
    }
    if owner.pk is None:
        if differing:
            raise RequestError(f"A line before calls {owner.username} otherwise.")
        return Fate.LINK
    if not permissions.may_manage(found.inviter, owner):
        raise RequestError(f"{owner.username} opens the console: administrators alone invite them.")
    _require_certifiable(owner, found)
    outlook.said += [f"The {what} stays as it is here." for what in sorted(differing)]
    if place in found.made:
        return Fate.MADE if found.made[place] else Fate.OVER
    if place in found.held:
        return Fate.HAS
    most = found.kind.per_person
    if most is not None and found.number.get(owner.pk, 0) >= most:
        raise RequestError(
            f"{owner.username} has {most} valid certificates; more are not admitted."
        )
    return Fate.AGAIN if place in found.open else Fate.LINK


def _require_certifiable(owner: User, found: _Found) -> None:
    """What would refuse their certificate whatever its key: better said now than to them."""
    names.names_of(found.kind, owner=owner)
    if owner.email and not lint.MAILBOX.match(owner.email):
        raise RequestError("This e-mail address cannot stand in a certificate.")


# --- Carrying out ---------------------------------------------------------------------------


def _require_allowed(inviter: User | None, asked_with: int, *, at: dt.datetime) -> None:
    """Asked before each step: rights may be taken, and a certificate revoked, meanwhile."""
    _require_right(inviter)
    if not Certificate.objects.active(at).filter(pk=asked_with).exists():
        raise NotAllowedError("The certificate that this list was begun with is not valid now.")


def _require_right(inviter: User | None) -> None:
    if inviter is None or not permissions.may_invite_many(inviter):
        raise NotAllowedError("Whoever begins a list must be allowed to issue and to add people.")


def _lock(started: InvitationList) -> None:
    """As it is now, and until the end of the transaction."""
    try:
        started.refresh_from_db(from_queryset=InvitationList.objects.select_for_update())
    except InvitationList.DoesNotExist:
        raise StateError(GONE) from None


def _start(started: InvitationList, *, at: dt.datetime) -> None:
    for other in InvitationList.objects.exclude(operation=None):
        if is_running(other, at=at):
            raise StateError("A list is being carried out already: see Operations.")
    number = len(started.lines)
    started.operation = operations.start(
        actor=started.actor,
        title=f"Links for {number} {'person' if number == 1 else 'people'}",
        work=partial(_work, started),
        at=at,
    )
    started.save(update_fields=["operation"])


def _work(started: InvitationList, progress: Progress) -> str:
    return carry_out(actor=started.actor, started=started, progress=progress)


def _step(actor: str, started: InvitationList, lines: Sequence[Line]) -> int:
    at, refused = timezone.now(), []
    with transaction.atomic():
        _lock(started)
        # Locked, so that a revocation of it either is seen here or sees these links.
        list(Certificate.objects.select_for_update(no_key=True).filter(pk=started.asked_with_id))
        usernames = [line.username for line in lines]
        links = Invitation.objects.open(at).filter(user__username__in=usernames)
        list(links.select_for_update(of=("self",)))
        inviter = User.objects.filter(username=actor).first()
        _require_allowed(inviter, started.asked_with_id, at=at)
        assert inviter is not None
        outlooks = check(inviter=inviter, lines=lines, once=started.once, at=at)
        for outlook in outlooks:
            if outlook.fate is Fate.FAULT:
                refused.append(outlook)
            elif outlook.fate in IS_MADE:
                _make(actor, started, outlook, at=at)
    for outlook in refused:
        error = RequestError(" ".join(outlook.said))
        target = outlook.line.username
        audit.record_refusal(error, actor=actor, action="invitation.create", target=target)
    return sum(outlook.fate in IS_MADE for outlook in outlooks)


def _make(actor: str, started: InvitationList, outlook: Outlook, *, at: dt.datetime) -> None:
    owner, device = outlook.owner, outlook.device
    assert owner is not None
    if owner.pk is None:
        people.add_person(actor=actor, user=owner, at=at)
    for link in Invitation.objects.open(at).filter(user=owner, device=device):
        enrolment.withdraw_link(actor=actor, invitation=link, at=at)
    enrolment.invite(
        actor=actor,
        user=owner,
        device=device,
        asked_with=started.asked_with_id,
        lifetime=dt.timedelta(days=started.days),
        once=started.once,
        at=at,
    )


# --- Handing out ----------------------------------------------------------------------------

Link = tuple[User, Invitation, str]


def _links_of(started: InvitationList, *, at: dt.datetime) -> list[Link]:
    lines = lines_of(started)
    owners = people.by_username(line.username for line in lines)
    wanted = [(owners[line.username], line.device) for line in lines if line.username in owners]
    made = enrolment.made_before(actor=started.actor, once=started.once, wanted=wanted)
    found = [
        (owner, *made[owner.pk, device]) for owner, device in wanted if (owner.pk, device) in made
    ]
    return [link for link in found if _is_open(link[1], at=at)]


def _is_open(invitation: Invitation, *, at: dt.datetime) -> bool:
    return invitation.redeemed_at is None and invitation.expires_at > at


def _table(links: Iterable[Link], parted_by: str) -> bytes:
    """With the mark that spreadsheets know UTF-8 by, parted as the list was."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";" if parted_by == ";" else ",")
    writer.writerow([*COLUMNS, "link", "works until (UTC)"])
    for user, invitation, token in links:
        until = f"{invitation.expires_at:%Y-%m-%d %H:%M}"
        cells = [user.username, user.name, user.email, invitation.device]
        writer.writerow([*map(harmless, cells), addresses.enrolment_link(token), until])
    return text.getvalue().encode("utf-8-sig")
