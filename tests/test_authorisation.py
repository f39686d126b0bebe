"""Who may do what: every operation of the chat and every address, for everybody there is.

The operations and the addresses are taken from the program, so that a new one without a row here
fails. A row says what each of these gets:

  stranger    a person who was never in the room
  ex_member   one who has left it
  member, moderator, owner
  admin       runs the console and is not in the room
  revoked     was a member; their certificate has been revoked
  nobody      a connection without a certificate
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from PIL import Image

from chat import attachments, members, messages, pins, reactions, rooms
from chat.consumers import _perform
from chat.errors import ChatError
from chat.models import Membership
from chat.protocol import IDENTITY_CLOSES, JSON, Limits
from chat.requests import REQUESTS, parse
from pki import revocation
from pki.identity import (
    CertificateRevokedError,
    Identity,
    IdentityError,
    NoCertificateError,
)
from tests import factories
from tests.chat.sockets import Client
from tests.client import Visitor
from tests.pki.client import ConsoleVisitor

pytestmark = pytest.mark.django_db

EVERYBODY = ("stranger", "ex_member", "member", "moderator", "owner", "admin", "revoked", "nobody")
PEOPLE = EVERYBODY[:6]


@dataclass
class House:
    """A private room with one person of each kind, and things in it to do something with."""

    people: dict[str, Identity]
    chains: dict[str, list[bytes]]
    room: str
    names: dict[str, str]  # what stands for {…} in rows
    certificate_pk: int  # of somebody whom no row is about

    def fill(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("{"):
            return self.names[value[1:-1]]
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return value


@pytest.fixture
def house(pki: factories.PKI, people: factories.People, at: dt.datetime) -> House:
    users = {name: factories.make_person(name) for name in (*EVERYBODY[:5], "revoked", "other")}
    users["admin"] = people.admin
    devices = {name: factories.make_device(user, pki.issuing) for name, user in users.items()}
    chains = {name: device.chain for name, device in devices.items()}
    identities = {name: factories.identify(chain=chain, at=at) for name, chain in chains.items()}
    owner = identities["owner"]
    inside = ["ex_member", "member", "moderator", "revoked", "other"]
    rooms.create_room(actor=owner, room="den", name="Den", kind="private", members=inside, at=at)
    rooms.leave(actor=identities["ex_member"], room="den", at=at)
    Membership.objects.filter(user__username="moderator").update(role="moderator")
    factories.make_person("banned")
    members.ban(actor=owner, room="den", user="banned", reason="Spam", at=at)
    post = messages.post_message
    posted = post(actor=identities["member"], room="den", client_id="1", body="hello", at=at)
    pinned = post(actor=identities["member"], room="den", client_id="2", body="pinned", at=at)
    pins.pin_message(actor=owner, room="den", message=str(pinned.event.pk), at=at)
    others = post(actor=identities["other"], room="den", client_id="3", body="buy!", at=at)
    for name in ("member", "moderator", "owner"):
        reactions.add_reaction(
            actor=identities[name], room="den", message=str(posted.event.pk), emoji="👍", at=at
        )
    file = upload(identities["member"], at)
    post(actor=identities["member"], room="den", client_id="4", body="", attachments=[file], at=at)
    coming = attachments.begin(
        actor=identities["member"], room="den", name="b", size=9, media_type="text/plain", at=at
    )
    revocation.revoke(
        actor="tests", certificate=devices["revoked"].certificate, reason="keyCompromise", at=at
    )
    return House(
        people=identities,
        chains={**chains, "nobody": []},
        room="den",
        names={
            "message": str(posted.event.pk),
            "pinned": str(pinned.event.pk),
            "serial": identities["member"].serial,
            "others": str(others.event.pk),
            "file": file,
            "coming": str(coming.pk),
        },
        certificate_pk=devices["other"].certificate.pk,
    )


def upload(actor: Identity, at: dt.datetime) -> str:
    """A picture in the den, complete and not posted yet."""
    picture = BytesIO()
    Image.new("RGB", (1000, 800), "teal").save(picture, "PNG")
    content = picture.getvalue()
    begun = attachments.begin(
        actor=actor, room="den", name="file.png", size=len(content), media_type="image/png", at=at
    )
    attachments.receive(actor=actor, room="den", upload=begun.pk, offset=0, data=content)
    return str(begun.pk)


# --- Operations -----------------------------------------------------------------------------

OUTSIDE = ("not_found", "not_found")  # a stranger and who has left


def inside(member: str = "ok", moderator: str = "ok", owner: str = "ok") -> tuple[str, ...]:
    """For those in the room; nobody else learns that it exists, an admin no more than others."""
    return (*OUTSIDE, member, moderator, owner, "not_found")


ANYBODY = ("ok",) * 6
NO = "not_allowed"
IN_ROOM = {"room": "den"}
ON_MESSAGE = {"room": "den", "message": "{message}"}

OPS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "post": ({**IN_ROOM, "client_id": "new", "body": "hi"}, inside()),
    "edit": ({**ON_MESSAGE, "body": "changed"}, inside("ok", NO, NO)),
    "delete": (ON_MESSAGE, inside()),
    "react": ({**ON_MESSAGE, "emoji": "🎉"}, inside()),
    "unreact": ({**ON_MESSAGE, "emoji": "👍"}, inside()),
    "pin": (ON_MESSAGE, inside(NO)),
    "unpin": ({**IN_ROOM, "message": "{pinned}"}, inside(NO)),
    "report": ({**IN_ROOM, "message": "{others}", "reason": "Spam"}, inside()),
    "sync": ({"rooms": {"den": 0}}, inside()),
    "history": ({**IN_ROOM, "before": 5, "limit": 5}, inside()),
    "thread": (ON_MESSAGE, inside()),
    "pins": (IN_ROOM, inside()),
    "search": ({"query": "hello", **IN_ROOM}, inside()),
    "read": ({**IN_ROOM, "seq": 1}, inside()),
    "typing": (IN_ROOM, inside()),
    "presence": ({"state": "away"}, ANYBODY),
    "create": ({"room": "fresh", "name": "Fresh", "kind": "private"}, ANYBODY),
    "change": ({**IN_ROOM, "name": "Another"}, inside(NO, NO)),
    "join": (IN_ROOM, inside()),
    "leave": (IN_ROOM, inside("ok", "ok", NO)),  # somebody has to own it
    "invite": ({**IN_ROOM, "user": "charlie"}, inside()),
    "remove": ({**IN_ROOM, "user": "other"}, inside(NO)),
    "ban": ({**IN_ROOM, "user": "other", "reason": "Spam"}, inside(NO)),
    "unban": ({**IN_ROOM, "user": "banned"}, inside(NO)),
    "role": ({**IN_ROOM, "user": "other", "role": "moderator"}, inside(NO, NO)),
    "notify": ({**IN_ROOM, "level": "mentions"}, inside()),
    "members": (IN_ROOM, inside()),
    "rooms": ({}, ANYBODY),
    "people": ({"query": "mem"}, ANYBODY),
    "certificates": ({"serials": ["{serial}"]}, ANYBODY),
    "ping": ({}, ()),  # asks for nothing; the session answers it
}


class Undo(Exception):
    """Ends a transaction, so that the next one finds everything as it was."""


def outcome(identity: Identity, op: str, fields: dict[str, Any]) -> str:
    request = parse(JSON.encode({"op": op, "ref": 1, **fields}), codec=JSON, limits=Limits())
    try:
        with transaction.atomic():
            _perform(identity, request, "connection")
            raise Undo
    except Undo:
        return "ok"
    except ChatError as error:
        return error.code
    except IdentityError as error:
        return str(int(IDENTITY_CLOSES[error.code]))


def test_every_operation_has_a_row():
    assert OPS.keys() == REQUESTS.keys()


def test_operations(house):
    """One house for all of them, which each leaves as it found it; a difference names its row."""
    different = {}
    for op, (fields, row) in OPS.items():
        if op != "ping":
            given = {name: house.fill(value) for name, value in fields.items()}
            expected = dict(zip(PEOPLE, row, strict=True)) | {"revoked": "4501"}
            found = {who: outcome(house.people[who], op, given) for who in expected}
            if found != expected:
                different[op] = {who: found[who] for who in found if found[who] != expected[who]}
    assert different == {}


def test_what_strangers_get_does_not_show_what_there_is(house):
    """Neither who is in a room nor whose certificate signed there."""
    for who in ("stranger", "ex_member", "admin"):
        request = parse(
            JSON.encode({"op": "certificates", "ref": 1, "serials": [house.names["serial"]]}),
            codec=JSON,
            limits=Limits(),
        )
        assert _perform(house.people[who], request, "") == {"certificates": {}}


@pytest.mark.parametrize("path", ["/ws/chat/", "/ws/echo/"])
@pytest.mark.parametrize(("who", "code"), [("nobody", 4504), ("revoked", 4501)])
async def test_sockets_tell_nobody_anything(path, who, code):
    """What they would have to be sent first is a close."""
    errors = {"nobody": NoCertificateError(), "revoked": CertificateRevokedError()}
    client = Client(errors[who], path=path)
    accepted, _ = await client.socket.connect(timeout=5)
    assert accepted
    assert (await client.socket.receive_output(timeout=5))["code"] == code


# --- Addresses ------------------------------------------------------------------------------


def addresses(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        address = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address
        else:
            yield from addresses(pattern, address)


ALL = list(addresses(get_resolver("project.urls")))
CONSOLE = [address for address in ALL if address.startswith("console/")]
OTHERS = [address for address in ALL if not address.startswith("console/")]

PAGE = (200, 200, 200, 200, 200, 200, 401, 401)
MEMBERS = (404, 404, 200, 200, 200, 404, 401, 401)  # the room's people
OWN = (404, 404, 404, 404, 404, 404, 401, 401)  # somebody else's thing is not there
UPLOADER = (404, 404, 200, 404, 404, 404, 401, 401)
OPEN = (200,) * 8
FILES = "rooms/<slug:slug>/files/"
WISH = {"name": "c", "size": 1, "type": "text/plain"}
ROWS: dict[tuple[str, str], tuple[int, ...]] = {
    ("get", ""): PAGE,
    ("get", "manifest.webmanifest"): PAGE,
    ("get", "rooms/<slug:slug>/"): MEMBERS,
    ("get", FILES): MEMBERS,
    ("post", FILES): (404, 404, 201, 201, 201, 404, 401, 401),
    ("put", FILES + "<uuid:key>/"): UPLOADER,
    ("delete", FILES + "<uuid:key>/"): (404, 404, 204, 404, 404, 404, 401, 401),
    ("get", FILES + "<uuid:key>/<str:name>"): MEMBERS,
    ("get", FILES + "<uuid:key>/thumbnail"): MEMBERS,
    ("get", "devices/"): PAGE,
    ("get", "devices/<int:pk>/revoke/"): OWN,
    ("post", "devices/<int:pk>/revoke/"): OWN,
    ("post", "devices/links/<int:pk>/withdraw/"): OWN,
    ("get", "devices/requests/"): (302,) * 6 + (401, 401),
    ("post", "devices/requests/<int:pk>/withdraw/"): OWN,
    ("post", "devices/requests/<int:pk>/again/"): OWN,
    ("get", "devices/requests/<int:pk>.pem"): OWN,
    ("get", "whoami"): OPEN,
    ("get", "healthz"): OPEN,
    ("get", "readyz"): OPEN,
    ("get", "metrics"): OPEN,  # to this machine; tests/project/test_metrics.py has the others
}


def test_every_address_has_a_row():
    assert {address for _, address in ROWS} == set(OTHERS)


def filled(address: str, values: dict[str, str]) -> str:
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found.group(1)], address)


def status(visitor: Visitor, method: str, path: str) -> int:
    """What the address answers; then everything is as before."""
    ask = getattr(visitor.client, method)
    content = {"post": {"data": WISH, "content_type": "application/json"}, "put": {"data": b"123"}}
    with suppress(Undo), transaction.atomic():
        response = async_to_sync(ask)(path, secure=True, **content.get(method, {}))
        raise Undo
    return int(response.status_code)


def test_addresses(house):
    different = {}
    for (method, address), row in ROWS.items():
        key = house.names["coming" if method in ("put", "delete") else "file"]
        pk = str(house.certificate_pk) if "devices/<int" in address else "999999"
        values = {"slug": house.room, "pk": pk, "key": key, "name": "file.png"}
        path = filled(address, values) + ("?offset=0" if method == "put" else "")
        found = tuple(status(Visitor(house.chains[who]), method, path) for who in EVERYBODY)
        if found != row:
            different[method, address] = found
    assert different == {}


def console_path(address: str) -> str:
    """One that leads to the address, whatever its parts are to be."""
    with_keys = re.sub(r"<uuid:\w+>", str(uuid.UUID(int=1)), address)
    return "/" + re.sub(r"<(?:\w+:)?\w+>|\(.*|\^.*", "1", with_keys)


@pytest.mark.parametrize("method", ["get", "post"])
def test_console_is_for_those_who_run_it(house, method):
    """With a certificate of somebody else none of its addresses does anything, and says the same."""
    for who in ("stranger", "owner", "revoked", "nobody"):
        visitor = ConsoleVisitor(house.chains[who])
        expected = {401} if who in ("revoked", "nobody") else {403, 404}
        for address in CONSOLE:
            path = console_path(address)
            status = getattr(visitor, method)(path).status_code
            assert status in expected, f"{who} {method} {path}"


def test_console_is_shut_until_the_password_is_given(house):
    visitor = ConsoleVisitor(house.chains["admin"])
    for address in CONSOLE:
        path = console_path(address)
        if "/login/" not in path and "/logout/" not in path:
            response = visitor.get(path)
            assert response.status_code in (302, 403, 404), path
            assert response.status_code != 302 or "/console/login/" in response["Location"], path
