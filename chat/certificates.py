"""Which certificate is behind what was written, and how it stands now.

What always holds: somebody sees a certificate only where it signed an event in a room they are in, or
where it is their own. About others they do not even learn that they exist.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection

from django.db import connection

from chat import lookalikes, protocol
from chat.models import Event
from chat.protocol import Wire
from pki.identity import CertificateFacts, Identity, describe, describe_changed

OVERLAP = dt.timedelta(seconds=60)  # a change may be committed that long after its moment
ANYBODY = 0
Signature = tuple[str, int]  # serial number, and whose
SEEN = """
    WITH wanted (serial, owner) AS (VALUES {values})
    SELECT serial, owner FROM wanted WHERE EXISTS (
        SELECT 1 FROM chat_membership place WHERE place.user_id = %s AND EXISTS (
            SELECT 1 FROM chat_event event
            WHERE event.certificate_serial = wanted.serial AND event.room_id = place.room_id
            AND (wanted.owner = 0 OR event.by_id = wanted.owner)
        )
    )
"""


def certificates(*, actor: Identity, serials: Collection[str], at: dt.datetime) -> Wire:
    """What these certificates say and how they stand; those the actor may not see are left out.

    A serial number that signed something here and is nobody's any more is “unknown”. Two queries,
    and one where accounts have changed.
    """
    known = describe(serials, at=at)
    lost = set(serials) - {facts.serial for facts in known}
    asked: list[Signature] = [(f.serial, f.owner_id) for f in known if f.owner_id != actor.user_id]
    asked += [(serial, ANYBODY) for serial in lost]
    seen = _seen_by(actor.user_id, asked)
    found: dict[str, Wire] = {
        s: {"serial": s, "state": "unknown"} for s, by in seen if by == ANYBODY
    }
    for facts in known:
        if facts.owner_id == actor.user_id or (facts.serial, facts.owner_id) in seen:
            found[facts.serial] = _wire(facts)
    return {"certificates": found}


def _seen_by(user_id: int, signatures: Collection[Signature]) -> set[Signature]:
    """Those of them that are in a room of this person, in one query.

    It looks into the index once for each signature and room, however long the logs are. It is
    written out: to build it would take longer than to run it.
    """
    asked = list(dict.fromkeys(signatures))
    if not asked:
        return set()
    query = SEEN.format(values=", ".join(["(%s, %s)"] * len(asked)))
    values: list[str | int] = [part for signature in asked for part in signature]
    with connection.cursor() as cursor:
        cursor.execute(query, [*values, user_id])
        return {(serial, owner) for serial, owner in cursor.fetchall()}


def _wire(facts: CertificateFacts) -> Wire:
    flag = lookalikes.flag_of(facts.owner_id)
    owner = protocol.person(facts.owner_id, facts.username, facts.name)
    wire: Wire = {
        "serial": facts.serial,
        "sha256": facts.sha256,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "owner": owner | (flag.wire if flag is not None else {}),
        "device": facts.device,
        "not_before": protocol.moment(facts.not_before),
        "not_after": protocol.moment(facts.not_after),
        "state": facts.state,
    }
    if facts.revoked_at is not None:
        wire |= {"revoked_at": protocol.moment(facts.revoked_at), "reason": facts.reason}
    return wire


class Watch:
    """What has happened to certificates since one last looked; each thing once.

    Signals stay in their process, so it is the rows that are asked: for what was revoked or expired
    meanwhile, and for what may be good again. What is so for good is forgotten.
    """

    def __init__(self, *, at: dt.datetime) -> None:
        self._begun = self._since = at
        self._known: dict[str, str] = {}  # SHA-256 → state, of those last found not good
        self._serials: set[str] = set()  # of those of them that may be good again
        self._is_first = True

    def look(self, *, at: dt.datetime, rooms: Collection[int]) -> list[tuple[Wire, int, set[int]]]:
        """The pushes, each with whose certificate it is and in which of these rooms it signed."""
        since = self._since - OVERLAP
        found = describe_changed(since=since, at=at, also=self._serials)
        news = [facts for facts in found if self._is_news(facts, since=since, at=at)]
        bad = [facts for facts in found if facts.state != "good"]
        self._known = {facts.sha256: facts.state for facts in bad}
        self._serials = {facts.serial for facts in bad if _may_be_good_again(facts)}
        self._since = at
        if self._is_first:  # what was so before anybody here could have been told otherwise
            news = [facts for facts in news if _changed_at(facts, at) > self._begun]
            self._is_first = False
        signed = _rooms_signed(news, rooms)
        return [(_push(f, at), f.owner_id, signed[f.serial, f.owner_id]) for f in news]

    def _is_news(self, facts: CertificateFacts, *, since: dt.datetime, at: dt.datetime) -> bool:
        """It stands otherwise than before. What was revoked long ago and expires now does not."""
        if facts.sha256 in self._known or _may_be_good_again(facts):
            return self._known.get(facts.sha256, "good") != facts.state
        return facts.state != "good" and _changed_at(facts, at) > since


def _may_be_good_again(facts: CertificateFacts) -> bool:
    """A hold ends, that of a CA above too, and a validity begins."""
    return facts.is_held or facts.state == "not_yet_valid"


def _changed_at(facts: CertificateFacts, at: dt.datetime) -> dt.datetime:
    return facts.revoked_at or (facts.not_after if facts.state == "expired" else at)


def _push(facts: CertificateFacts, at: dt.datetime) -> Wire:
    since = protocol.moment(_changed_at(facts, at))
    return protocol.push("certificate", serial=facts.serial, state=facts.state, at=since)


def _rooms_signed(
    news: Collection[CertificateFacts], rooms: Collection[int]
) -> dict[tuple[str, int], set[int]]:
    signed: dict[tuple[str, int], set[int]] = defaultdict(set)
    if news and rooms:
        events = Event.objects.filter(
            certificate_serial__in={facts.serial for facts in news}, room_id__in=rooms
        )
        keys = events.order_by().values_list("certificate_serial", "by_id", "room_id").distinct()
        for serial, owner, room_id in keys:
            signed[serial, owner].add(room_id)
    return signed
