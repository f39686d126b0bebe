"""An organisation to look at: people with certificates, rooms with long histories, files and code.

Everything goes through the verbs, as the people themselves would do it, so what is shown is what
the product does. It is meant for an empty SIGNET_HOME and refuses one that is in use.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from PIL import Image, ImageDraw

from chat import attachments, members, messages, pins, reactions, rooms
from chat.models import Room
from pki import issuance, people
from pki.identity import Identity, identify
from pki.models import CertificateAuthority, User
from project.bootstrap import bootstrap

ACTOR = "command:demo"
DAYS = 60
PEOPLE = {
    "alice": "Alice Ahlberg",
    "bob": "Bob Okafor",
    "carmen": "Carmen Ruiz",
    "dmitri": "Dmitri Volkov",
    "eun-ji": "Eun-ji Park",
    "farid": "Farid Haddad",
    "grace": "Grace Mwangi",
    "hugo": "Hugo Lindqvist",
    "ines": "Inês Carvalho",
    "jonas": "Jonas Weber",
    "kavya": "Kavya Nair",
    "liam": "Liam O’Brien",
}
ROOMS = (
    ("engineering", "Engineering", "public", "What we build, and what breaks.", 1200),
    ("releases", "Releases", "public", "One message for each release; talk in its thread.", 60),
    ("design", "Design", "public", "Sketches, colours, words.", 300),
    ("support", "Support", "public", "Questions from customers that need more than one head.", 500),
    ("security", "Security", "private", "Findings before they are fixed.", 150),
    ("lunch", "Lunch", "public", "Who goes where, and when.", 250),
)
OPENINGS = (
    "The nightly run is green again.",
    "Does anybody remember why the importer reads the file **twice**?",
    "I moved the meeting to 14:00, please shout if that does not work.",
    "Customer 4711 asks for an export as CSV. Again.",
    "Half of the time goes into parsing dates. Figures in the sheet.",
    "The new labels read much better on a phone.",
    "> ship it when it is boring\n\nIt is boring now.",
    "Reading through the log I found three things:\n\n"
    "1. a retry without a pause\n2. a pause without a retry\n3. a typo in the word *pause*",
    "Draft of the announcement: https://example.org/announcement",
    "Who is on call this weekend?",
    "I would rather delete that switch than document it.",
    "The certificate of the build host was renewed by itself last night. Nobody noticed, as it should be.",
)
ANSWERS = (
    "Agreed.",
    "Let me check and come back to you.",
    "Works for me.",
    "I wrote it down in the wiki.",
    "That was me, sorry. Fixed.",
    "Can you say more about the second point?",
    "+1, and please with a test.",
    "I have seen this before: the proxy sends its answer before it has read the question.",
    "Nice!",
    "Not before Thursday, I am afraid.",
    "/me makes coffee",
    "`make test` is green here on both databases.",
)
CODE = (
    "```python\ndef heads(rooms: Iterable[Room]) -> dict[str, int]:\n"
    '    """The newest number of each room."""\n'
    "    return {room.slug: room.last_seq for room in rooms}\n```",
    "```sql\nSELECT slug, last_seq\n  FROM chat_room\n"
    " WHERE archived_at IS NULL\n ORDER BY last_seq DESC;\n```",
    "```sh\nmanage.py revoke_certificate --user bob --reason keyCompromise\n```",
)
EMOJI = ("👍", "🎉", "😂", "👀", "❤️")
Tell = Callable[[str], None]


class InUseError(Exception):
    """There are people here, who would find themselves among invented ones."""


@dataclass
class Cast:
    identities: list[Identity]

    def __getitem__(self, username: str) -> Identity:
        return next(one for one in self.identities if one.username == username)


def fill(*, at: dt.datetime, tell: Tell, share: float = 1.0) -> None:
    """Fill a deployment that is migrated and no more; with `share` of the histories' length.

    Its authority is as old as the first message, so that certificates were good when they signed.
    Refuses a deployment in which somebody is known (InUseError).
    """
    if User.objects.exists():
        raise InUseError
    tell("An authority, people and their certificates …")
    start = at - dt.timedelta(days=DAYS)
    bootstrap(hosts=settings.SIGNET_HOSTS, admin="admin", at=start)
    cast = _cast(start)
    chance = random.Random(1848)  # noqa: S311 (the same organisation each time)
    for slug, name, kind, description, count in ROOMS:
        tell(f"{name} …")
        _room(cast, slug, name, kind, description, chance, start)
        _talk(cast, slug, max(6, int(count * share)), chance, start, at)
    _highlights(cast, at)


def _cast(at: dt.datetime) -> Cast:
    authority = CertificateAuthority.objects.exclude(parent=None).get()
    users = [
        people.create_person(actor=ACTOR, username=username, name=name, at=at)
        for username, name in PEOPLE.items()
    ]
    wanted = [
        issuance.prepare(
            actor=ACTOR,
            authority=authority,
            profile="person",
            public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
            owner=user,
            device="desk",
            at=at,
        )
        for user in users
    ]
    certificates = issuance.issue_many(wanted)
    return Cast([identify(chain=[bytes(one.der)], at=at) for one in certificates])


def _room(
    cast: Cast,
    slug: str,
    name: str,
    kind: str,
    description: str,
    chance: random.Random,
    at: dt.datetime,
) -> None:
    owner = cast["alice"]
    invited = [one.username for one in cast.identities if one is not owner]
    if kind == "private":
        invited = ["bob", *chance.sample(invited[1:], 3)]
    rooms.create_room(
        actor=owner,
        room=slug,
        name=name,
        kind=kind,
        description=description,
        members=invited,
        at=at,
    )
    members.change_role(actor=owner, room=slug, user="bob", role="moderator", at=at)


def _talk(
    cast: Cast, slug: str, count: int, chance: random.Random, start: dt.datetime, end: dt.datetime
) -> None:
    """A history of so many messages, at moments between start and end."""
    inside = [one for one in cast.identities if one.username in _usernames(slug)]
    moments = sorted(start + chance.random() * (end - start) for _ in range(count))
    last: list[str] = []
    for number, moment in enumerate(moments):
        actor = chance.choice(inside)
        body, reply_to = chance.choice(OPENINGS), None
        if number % 3:
            body = chance.choice(ANSWERS)
            reply_to = chance.choice(last) if last and chance.random() < 0.2 else None
        elif chance.random() < 0.15:
            body = chance.choice(CODE)
        posted = _post(actor, slug, body, moment, reply_to=reply_to)
        last = [*last[-5:], posted]
        for reader in chance.sample(inside, chance.choice((0, 0, 0, 1, 2))):
            emoji = chance.choice(EMOJI)
            reactions.add_reaction(actor=reader, room=slug, message=posted, emoji=emoji, at=moment)


def _highlights(cast: Cast, at: dt.datetime) -> None:
    """What shows a feature and would not come about by chance."""
    alice, bob, carmen = cast["alice"], cast["bob"], cast["carmen"]
    minute = dt.timedelta(minutes=1)
    picture = _upload(alice, "engineering", "response-times.png", "image/png", _chart(), at)
    notes = _upload(bob, "engineering", "notes.txt", "text/plain", b"Measure, then cut.\n", at)
    shown = _post(
        alice,
        "engineering",
        "Response times of last week. @bob, do you see the step on Tuesday?",
        at - 9 * minute,
        attachments=[picture],
    )
    _post(bob, "engineering", "That was the proxy.", at - 8 * minute, thread=shown)
    _post(carmen, "engineering", "And it is gone since.", at - 7 * minute, thread=shown)
    _post(bob, "engineering", "My notes:", at - 6 * minute, attachments=[notes])
    pins.pin_message(actor=alice, room="engineering", message=shown, at=at)
    draft = _post(carmen, "design", "The new seal has 12 lobs.", at - 5 * minute)
    messages.edit_message(
        actor=carmen, room="design", message=draft, body="The new seal has 12 lobes.", at=at
    )
    wrong = _post(bob, "lunch", "Wrong room, sorry.", at - 4 * minute)
    messages.delete_message(actor=bob, room="lunch", message=wrong, at=at)
    rooms.create_room(
        actor=alice,
        room="dm-alice-bob",
        name="alice and bob",
        kind="direct",
        members=["bob"],
        at=at - 3 * minute,
    )
    _post(alice, "dm-alice-bob", "Look into Engineering when you have a minute.", at - 2 * minute)


def _post(
    actor: Identity,
    room: str,
    body: str,
    at: dt.datetime,
    *,
    reply_to: str | None = None,
    thread: str | None = None,
    attachments: Sequence[str] = (),
) -> str:
    said = f"{actor.username} {room} {at.isoformat()} {body}"
    written = messages.post_message(
        actor=actor,
        room=room,
        client_id=hashlib.sha256(said.encode()).hexdigest(),
        body=body,
        reply_to=reply_to,
        thread=thread,
        attachments=attachments,
        at=at,
    )
    return str(written.event.pk)


def _upload(
    actor: Identity, room: str, name: str, media_type: str, content: bytes, at: dt.datetime
) -> str:
    begun = attachments.begin(
        actor=actor, room=room, name=name, size=len(content), media_type=media_type, at=at
    )
    step = attachments.chunk_bytes()
    for offset in range(0, len(content), step):
        chunk = content[offset : offset + step]
        attachments.receive(actor=actor, room=room, upload=begun.pk, offset=offset, data=chunk)
    return str(begun.pk)


def _usernames(slug: str) -> set[str]:
    places = Room.objects.get(slug=slug).memberships
    return set(places.values_list("user__username", flat=True))


def _chart() -> bytes:
    """A picture: bars of seven days."""
    image = Image.new("RGB", (960, 540), "#f8f7f3")
    draw = ImageDraw.Draw(image)
    for day, height in enumerate((180, 210, 400, 230, 205, 150, 140)):
        left = 90 + day * 115
        draw.rounded_rectangle((left, 480 - height, left + 75, 480), 8, fill="#0b6557")
    draw.line((60, 480, 900, 480), fill="#262e2b", width=3)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
