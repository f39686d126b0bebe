"""The chat socket from outside: handshake, ready, requests, pushes, closes."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from chat import hub, messages, rooms
from chat.consumers import SocketConsumer
from chat.models import Room
from chat.protocol import Limits
from pki.errors import AccountDisabledError, CertificateExpiredError, CertificateNotTrustedError
from pki.identity import NoCertificateError
from pki.models import Certificate
from tests.chat.sockets import Client, Closed, connected

pytestmark = pytest.mark.django_db(transaction=True)
database = sync_to_async


def message(room, body="hello", client_id=None):
    return {"room": room, "body": body, "client_id": client_id or str(uuid.uuid4())}


@pytest.fixture
def limited(monkeypatch):
    """Other limits for the connections of this test."""
    return lambda **limits: monkeypatch.setattr(SocketConsumer, "limits", Limits(**limits))


class TestHandshake:
    @pytest.mark.parametrize("offer", [[], ["chat", "signet.v2.json"]])
    async def test_without_our_subprotocol_is_refused_with_a_reason(self, cast, offer):
        client = Client(cast.alice, offer=offer)
        await client.socket.send_input({"type": "websocket.connect"})
        start = await client.socket.receive_output()
        body = await client.socket.receive_output()

        assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
        assert body["body"] == (
            b"Offer the WebSocket subprotocol signet.v1.json or signet.v1.msgpack.\n"
        )

    async def test_without_the_extension_is_refused_plainly(self, cast):
        client = Client(cast.alice, offer=[])
        del client.socket.scope["extensions"]["websocket.http.response"]
        assert await client.socket.connect() == (False, 1000)

    @pytest.mark.parametrize("offer", ["signet.v1.json", "signet.v1.msgpack"])
    async def test_ready_comes_first_and_says_everything(self, cast, den, offer):
        async with connected(cast.bob, offer=["x", offer]) as (bob,):
            epoch = bob.ready["epoch"]
            assert len(epoch) == 32
            assert bob.ready == {
                "ev": "ready",
                "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
                "certificate": {
                    "serial": cast.bob.serial,
                    "sha256": cast.bob.sha256,
                    "not_after": cast.bob.not_after.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                },
                "rooms": [
                    {
                        "room": "den", "name": "Den", "kind": "private", "head": 2, "read": 2,
                        "role": "member", "description": "", "posting": "members",
                        "slow_seconds": 0, "archived": False, "notify": "all", "others": [],
                        "mentions": 0,
                    }
                ],
                "limits": {
                    "body_bytes": 16384, "frame_bytes": 65536, "rate": 30, "burst": 200,
                    "silence": 600,
                },
                "heartbeat": 25,
                "epoch": epoch,
            }  # fmt: skip

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (NoCertificateError(), 4504),
            (CertificateNotTrustedError(), 4505),
            (CertificateExpiredError(), 4502),
            (AccountDisabledError(), 4503),
        ],
    )
    @pytest.mark.parametrize("path", ["/ws/chat/", "/ws/echo/"])
    async def test_nobody_is_accepted_and_closed_without_a_frame(self, error, code, path):
        client = Client(error, path=path)
        assert (await client.socket.connect())[0]
        with pytest.raises(Closed) as closed:
            await client.raw()
        assert (closed.value.code, closed.value.reason) == (code, str(error))
        await client.send('{"op":"ping","ref":1}')
        assert await client.is_quiet()
        await client.leave()

    async def test_certificate_revoked_after_the_tls_handshake_gets_no_ready(self, cast):
        await database(revoke)(cast.alice)
        client = Client(cast.alice)
        assert (await client.socket.connect())[0]
        assert await client.closed() == 4501
        await client.leave()

    async def test_new_person_is_in_the_rooms_for_everyone(self, cast):
        await Room.objects.acreate(slug="lobby", name="Lobby", kind="public", everyone=True)
        async with connected(cast.charlie) as (charlie,):
            (room,) = charlie.ready["rooms"]
            assert (room["room"], room["head"], room["role"]) == ("lobby", 1, "member")

    async def test_direct_room_bears_the_name_of_the_other(self, cast, at):
        await database(rooms.create_room)(
            actor=cast.alice, room="d", name="x", kind="direct", members=["bob"], at=at
        )
        async with connected(cast.alice, cast.bob) as (alice, bob):
            assert alice.ready["rooms"][0]["name"] == "Bob"
            assert bob.ready["rooms"][0]["name"] == "Alice"

    async def test_too_many_connections_of_a_person_are_refused(self, cast, limited):
        limited(connections=2)
        async with connected(cast.alice, cast.alice, cast.bob):
            third = Client(cast.alice)
            assert (await third.socket.connect())[0]
            assert await third.closed() == 4510
            await third.leave()
        async with connected(cast.alice, cast.alice):
            pass

    async def test_database_failure_at_the_start_asks_to_come_back(self, cast, monkeypatch):
        def fail(*_args, **_options):
            raise OperationalError

        monkeypatch.setattr("chat.consumers.standings", fail)
        client = Client(cast.alice)
        assert (await client.socket.connect())[0]
        assert await client.closed() == 1013
        await client.leave()

    async def test_consumer_that_the_server_gives_up_on_is_forgotten(self, cast):
        client = Client(cast.alice)
        await client.open()
        assert hub.current().people
        client.socket.future.cancel()
        await asyncio.wait([client.socket.future], timeout=30)
        assert not hub.current().people


class TestRequests:
    async def test_post_is_answered_and_delivered_to_members_alone(self, cast, den):
        async with connected(cast.alice, cast.bob, cast.charlie) as (alice, bob, charlie):
            reply = await alice.ask("post", **message(den))
            pushed = await bob.push("event")

            assert reply == {"ref": 1, "ok": True, "event": pushed}
            assert pushed["seq"] == 3
            assert pushed["data"]["html"] == "<p>hello</p>"
            assert await charlie.is_quiet()

    async def test_both_subprotocols_say_the_same(self, cast, den):
        async with (
            connected(cast.alice, offer=["signet.v1.msgpack"]) as (alice,),
            connect_also(cast.bob) as bob,
        ):
            reply = await alice.ask("post", **message(den))
            assert reply["event"] == await alice.push("event") == await bob.push("event")

    async def test_duplicate_is_answered_with_the_stored_event_and_not_pushed_again(
        self, cast, den
    ):
        async with connected(cast.alice, cast.bob) as (alice, bob):
            first = await alice.ask("post", **message(den, client_id="c1"))
            again = await alice.ask("post", **message(den, client_id="c1"))
            conflict = await alice.ask("post", **message(den, "other", client_id="c1"))

            assert again == {"ref": 2, "ok": True, "event": first["event"], "duplicate": True}
            assert conflict["error"]["code"] == "client_id_conflict"
            assert await bob.events(1) == [3]
            assert await bob.is_quiet()

    async def test_stranger_gets_the_same_answer_for_a_private_and_a_missing_room(self, cast, den):
        async with connected(cast.charlie) as (charlie,):
            answers = []
            for room in (den, "nowhere"):
                for op, fields in (
                    ("post", message(room)),
                    ("history", {"room": room, "before": 9, "limit": 1}),
                    ("sync", {"rooms": {room: 0}}),
                    ("read", {"room": room, "seq": 1}),
                    ("typing", {"room": room}),
                    ("join", {"room": room}),
                    ("leave", {"room": room}),
                    ("change", {"room": room, "name": "Mine"}),
                    ("members", {"room": room}),
                    ("invite", {"room": room, "user": "charlie"}),
                    ("remove", {"room": room, "user": "bob"}),
                    ("ban", {"room": room, "user": "bob", "reason": "x"}),
                    ("unban", {"room": room, "user": "bob"}),
                    ("role", {"room": room, "user": "charlie", "role": "owner"}),
                    ("notify", {"room": room, "level": "all"}),
                ):
                    reply = await charlie.ask(op, **fields)
                    answers.append((room, op, reply["ok"], reply["error"]))
        half = len(answers) // 2
        assert [a[1:] for a in answers[:half]] == [a[1:] for a in answers[half:]]
        assert {a[3]["code"] for a in answers} == {"not_found"}

    async def test_unknown_op_and_bad_frames_get_one_error_each(self, cast):
        async with connected(cast.alice) as (alice,):
            assert (await alice.ask("shout", text="x"))["error"]["code"] == "unknown_op"
            await alice.send("nonsense")
            assert (await alice.next())["ref"] is None
            assert (await alice.ask("ping"))["ok"]

    async def test_failure_of_ours_is_unavailable_and_the_socket_lives(
        self, cast, den, monkeypatch, caplog
    ):
        def fail(**_options):
            raise OperationalError("disk full")

        async with connected(cast.alice) as (alice,):
            with monkeypatch.context() as patch:
                patch.setattr(messages, "post_message", fail)
                reply = await alice.ask("post", **message(den))
            assert reply["error"]["code"] == "unavailable"
            assert "disk full" not in str(reply)
            assert "disk full" in caplog.text
            assert (await alice.ask("post", **message(den)))["ok"]

    async def test_frame_above_the_limit_closes(self, cast):
        async with connected(cast.alice) as (alice,):
            await alice.send("x" * 65_537)
            assert await alice.closed() == 1009

    async def test_flood_is_refused_and_then_closed(self, cast, limited):
        limited(rate=1, burst=5)
        hub.current().clock = lambda: 0.0
        async with connected(cast.alice) as (alice,):
            for _ in range(5):
                assert (await alice.ask("ping"))["ok"]
            refused = await alice.ask("ping")
            assert refused["error"]["code"] == "rate_limited"
            assert 0 < refused["error"]["retry_after"] <= 1
            for _ in range(5):
                await alice.send('{"op":"ping","ref":1}')
            assert await alice.closed() == 4029

    async def test_read_mark_goes_to_the_other_devices(self, cast, den):
        async with connected(cast.bob, cast.bob, cast.alice) as (phone, laptop, alice):
            assert (await alice.ask("post", **message(den)))["ok"]
            await phone.events(1), await laptop.events(1), await alice.events(1)
            assert await phone.ask("read", room=den, seq=3) == {"ref": 1, "ok": True}
            assert await laptop.push("read") == {"ev": "read", "room": den, "seq": 3}
            assert await phone.is_quiet()
            assert await alice.is_quiet()

    async def test_new_name_of_a_person_shows_at_once(self, cast, den, people):
        async with connected(cast.bob, cast.alice) as (bob, alice):
            people.bob.name = "Robert"
            await people.bob.asave()
            await bob.ask("typing", room=den)
            assert (await alice.push("typing"))["user"]["name"] == "Robert"
            async with connect_also(cast.bob) as phone:
                assert phone.ready["user"]["name"] == "Robert"

    @pytest.mark.parametrize("field", ["room", "client_id", "body"])
    async def test_nul_is_a_bad_request_and_no_failure_of_ours(self, cast, den, field):
        async with connected(cast.alice) as (alice,):
            reply = await alice.ask("post", **message(den) | {field: "a\x00b"})
            assert reply["error"]["code"] == "bad_request"

    async def test_typing_is_shown_to_the_others(self, cast, den):
        async with connected(cast.bob, cast.bob, cast.alice, cast.charlie) as clients:
            phone, laptop, alice, charlie = clients
            assert await phone.ask("typing", room=den) == {"ref": 1, "ok": True}
            assert await alice.push("typing") == {
                "ev": "typing",
                "room": den,
                "user": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
            }
            for other in (phone, laptop, charlie):
                assert await other.is_quiet()


class TestComingAndGoing:
    async def test_created_room_is_live_for_everybody_in_it(self, cast):
        async with connected(cast.alice, cast.bob, cast.charlie) as (alice, bob, charlie):
            reply = await alice.ask(
                "create", room="new", name="New", kind="private", members=["bob"]
            )
            assert (reply["event"]["type"], reply["event"]["seq"]) == ("room.created", 1)
            assert await bob.push("room") == {
                "ev": "room", "room": "new", "name": "New", "kind": "private", "head": 1,
                "read": 2, "role": "member", "description": "", "posting": "members",
                "slow_seconds": 0, "archived": False, "notify": "all", "others": [], "mentions": 0,
            }  # fmt: skip
            await alice.ask("post", **message("new"))
            assert await bob.events(2) == [2, 3]
            assert await alice.events(3) == [1, 2, 3]
            assert await charlie.is_quiet()

    async def test_joined_room_is_live_on_all_devices(self, cast, square):
        async with connected(cast.bob, cast.bob, cast.alice) as (phone, laptop, alice):
            reply = await phone.ask("join", room=square)
            assert reply["event"]["seq"] == 2
            await alice.ask("post", **message(square))
            for device in (phone, laptop, alice):
                assert await device.events(2) == [2, 3]

    async def test_ex_member_gets_the_farewell_and_nothing_after(self, cast, den):
        async with connected(cast.bob, cast.bob, cast.alice) as (phone, laptop, alice):
            await alice.ask("post", **message(den))
            assert await laptop.events(1) == await phone.events(1) == [3]

            assert (await phone.ask("leave", room=den))["event"]["seq"] == 4
            await alice.ask("post", **message(den))

            assert await alice.events(3) == [3, 4, 5]
            for device in (phone, laptop):
                assert await device.events(1) == [4]
                assert await device.is_quiet()
            refused = await phone.ask("sync", rooms={den: 4})
            assert refused["error"]["code"] == "not_found"

    async def test_who_comes_back_hears_again(self, cast, square):
        async with connected(cast.bob, cast.alice) as (bob, alice):
            for _ in range(3):
                await bob.ask("join", room=square)
                await bob.ask("leave", room=square)
            await bob.ask("join", room=square)
            await alice.ask("post", **message(square))
            assert await alice.events(8) == list(range(2, 10))
            heard = await bob.events(1)
            while heard[-1] != 9:  # what passed while he was out is not for him
                heard += await bob.events(1)
            assert heard[-2:] == [8, 9]
            assert heard == sorted(set(heard))

    @pytest.mark.parametrize("how", [{"op": "remove"}, {"op": "ban", "reason": "Spam"}])
    async def test_who_is_put_out_hears_so_and_nothing_after(self, cast, den, how):
        async with connected(cast.bob, cast.bob, cast.alice) as (phone, laptop, alice):
            await alice.ask("post", **message(den))
            assert await laptop.events(1) == await phone.events(1) == [3]

            assert (await alice.ask(room=den, user="bob", **how))["event"]["seq"] == 4
            await alice.ask("post", **message(den))

            assert await alice.events(3) == [3, 4, 5]
            for device in (phone, laptop):
                farewell = await device.push("event")
                assert (farewell["seq"], farewell["data"]["user"]["username"]) == (4, "bob")
                for _ in range(2):
                    assert (await device.ask("ping"))["ok"]
                    await asyncio.sleep(0.1)
                assert [m for m in device.pushed if m["ev"] == "event"] == []
            for op, fields in (
                ("sync", {"rooms": {den: 3}}),
                ("history", {"room": den, "before": 9, "limit": 9}),
                ("members", {"room": den}),
                ("post", message(den)),
            ):
                assert (await phone.ask(op, **fields))["error"]["code"] == "not_found", op

    async def test_choice_of_notices_reaches_the_other_devices_alone(self, cast, den):
        async with connected(cast.bob, cast.bob, cast.alice) as (phone, laptop, alice):
            assert (await phone.ask("notify", room=den, level="mentions"))["ok"]
            fresh = await laptop.push("room")
            assert (fresh["room"], fresh["notify"], fresh["head"]) == (den, "mentions", 2)
            await asyncio.sleep(0.1)
            await alice.ask("ping")
            assert [m for m in alice.pushed if m["ev"] == "room"] == []

    async def test_role_and_changed_room_are_told_with_a_fresh_room(self, cast, den):
        async with connected(cast.bob, cast.alice) as (bob, alice):
            await alice.ask("role", room=den, user="bob", role="moderator")
            assert await bob.events(1) == [3]
            assert (await bob.push("room"))["role"] == "moderator"
            await alice.ask("change", room=den, name="Cave", slow_seconds=9)
            assert await bob.events(1) == [4]
            fresh = await bob.push("room")
            assert (fresh["name"], fresh["slow_seconds"], fresh["head"]) == ("Cave", 9, 4)


class TestRevocation:
    async def test_revoked_certificate_is_closed_at_once(self, cast, den):
        async with connected(cast.bob, cast.alice) as (bob, alice):
            await alice.ask("post", **message(den))
            assert await bob.events(1) == [3]

            await database(revoke)(cast.bob)
            hub.recheck_all()

            assert await bob.closed() == 4501
            await alice.ask("post", **message(den))
            assert await bob.is_quiet()
            assert (await alice.ask("ping"))["ok"]

    async def test_only_the_revoked_device_is_closed(self, cast, pki, people, den):
        from tests import factories

        phone = await database(factories.make_identity)(people.bob, pki.issuing)
        async with connected(cast.bob, phone) as (laptop, phone):
            await database(revoke)(cast.bob)
            hub.recheck_all()
            assert await laptop.closed() == 4501
            assert (await phone.ask("ping"))["ok"]

    async def test_without_any_signal_the_next_request_closes(self, cast, den):
        async with connected(cast.bob) as (bob,):
            assert (await bob.ask("post", **message(den)))["ok"]
            await database(revoke)(cast.bob)
            await bob.send(bob.codec.encode({"op": "post", "ref": 9, **message(den)}))
            assert await bob.closed() == 4501
        assert (await Room.objects.aget(slug=den)).last_seq == 3

    async def test_without_any_signal_the_next_heartbeat_closes(self, cast, den):
        async with connected(cast.bob) as (bob,):
            await database(revoke)(cast.bob)
            await hub.current().beat()
            assert await bob.closed() == 4501

    async def test_disabled_account_is_closed(self, cast, people):
        async with connected(cast.bob, cast.bob) as (laptop, phone):
            people.bob.is_active = False
            await people.bob.asave()
            hub.recheck_all()
            assert await laptop.closed() == await phone.closed() == 4503


class TestEcho:
    @pytest.mark.parametrize("frame", ["hello", "", b"hello", b"", "ä" * 100])
    async def test_sends_back_what_it_gets(self, cast, frame):
        client = Client(cast.alice, path="/ws/echo/", offer=[])
        assert await client.socket.connect() == (True, None)
        await client.send(frame)
        assert await client.raw() == frame
        await client.leave()

    async def test_revoked_certificate_is_closed(self, cast):
        client = Client(cast.alice, path="/ws/echo/")
        await client.socket.connect()
        await client.send("hello")
        assert await client.raw() == "hello"
        await database(revoke)(cast.alice)
        hub.recheck_all()
        assert await client.closed() == 4501
        await client.leave()

    async def test_slows_down(self, cast, limited):
        limited(rate=20, burst=3, person_factor=1)
        client = Client(cast.alice, path="/ws/echo/")
        await client.socket.connect()
        started = asyncio.get_running_loop().time()
        for _ in range(9):
            await client.send("x")
        for _ in range(9):
            assert await client.raw() == "x"
        assert asyncio.get_running_loop().time() - started >= 6 / 20
        await client.leave()

    async def test_frame_above_the_limit_closes(self, cast):
        client = Client(cast.alice, path="/ws/echo/")
        await client.socket.connect()
        await client.send(b"x" * 65_537)
        assert await client.closed() == 1009
        await client.send("hello")
        assert await client.is_quiet()
        await client.leave()


def revoke(identity):
    from django.utils import timezone

    Certificate.objects.filter(pk=identity.certificate_id).update(
        revoked_at=timezone.now(), revocation_reason="keyCompromise"
    )


class connect_also:
    """A second group of clients inside `connected`."""

    def __init__(self, identity):
        self.client = Client(identity)

    async def __aenter__(self):
        self.client.ready = await self.client.open()
        return self.client

    async def __aexit__(self, *_error):
        await self.client.leave()
