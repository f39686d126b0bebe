"""Which certificates somebody sees, what is said of them, and how a change reaches who sees them."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from chat import certificates, lookalikes, rooms
from chat.models import Event
from pki import revocation
from pki.models import Certificate
from pki.signals import trust_changed
from tests import factories
from tests.chat.sockets import connected
from tests.chat.verbs import post

database = sync_to_async


def ask(actor, *serials, at):
    return certificates.certificates(actor=actor, serials=serials, at=at)["certificates"]


def revoke(identity, *, reason="keyCompromise", at=None):
    certificate = Certificate.objects.get(pk=identity.certificate_id)
    return revocation.revoke(
        actor="tests", certificate=certificate, reason=reason, at=at or timezone.now()
    )


@pytest.mark.django_db
class TestVerb:
    def test_certificate_of_who_wrote_in_the_room_is_described(self, cast, den, pki, at):
        post(cast.bob, den, at=at)
        bob = Certificate.objects.get(pk=cast.bob.certificate_id)
        assert ask(cast.alice, cast.bob.serial, at=at) == {
            cast.bob.serial: {
                "serial": cast.bob.serial,
                "sha256": cast.bob.sha256,
                "subject": bob.subject,
                "issuer": pki.issuing.certificate.subject,
                "owner": {"id": cast.bob.user_id, "username": "bob", "name": "Bob"},
                "device": cast.bob.device,
                "not_before": certificates.protocol.moment(bob.not_before),
                "not_after": certificates.protocol.moment(bob.not_after),
                "state": "good",
            }
        }

    def test_stranger_learns_nothing_until_they_are_in_the_room(self, cast, square, at):
        post(cast.alice, square, at=at)
        assert ask(cast.charlie, cast.alice.serial, at=at) == {}
        rooms.join(actor=cast.charlie, room=square, at=at)
        assert list(ask(cast.charlie, cast.alice.serial, at=at)) == [cast.alice.serial]

    def test_certificate_that_signed_nothing_here_is_seen_by_its_owner_alone(self, cast, den, at):
        assert ask(cast.alice, cast.bob.serial, at=at) == {}
        assert list(ask(cast.bob, cast.bob.serial, at=at)) == [cast.bob.serial]

    def test_serial_of_nobody_is_unknown_where_it_signed_and_else_left_out(self, cast, den, at):
        post(cast.bob, den, at=at)
        Event.objects.filter(by_id=cast.bob.user_id).update(certificate_serial="abc")
        assert ask(cast.alice, "abc", at=at) == {"abc": {"serial": "abc", "state": "unknown"}}
        assert ask(cast.charlie, "abc", at=at) == {}

    def test_same_serial_of_another_person_is_not_the_authors(self, cast, den, people, pki, at):
        """A serial number is unique below one CA only; the owner must be who signed."""
        post(cast.bob, den, at=at)
        Certificate.objects.filter(pk=cast.charlie.certificate_id).update(
            serial=cast.bob.serial, authority=pki.root
        )
        found = ask(cast.alice, cast.bob.serial, at=at)
        assert found[cast.bob.serial]["owner"]["username"] == "bob"

    @pytest.mark.parametrize(
        ("reason", "state"), [("keyCompromise", "revoked"), ("certificateHold", "held")]
    )
    def test_revoked_one_says_since_when_and_why(self, cast, den, at, reason, state):
        post(cast.bob, den, at=at)
        revoke(cast.bob, reason=reason, at=at)
        found = ask(cast.alice, cast.bob.serial, at=at)[cast.bob.serial]
        since = certificates.protocol.moment(at)
        assert (found["state"], found["revoked_at"], found["reason"]) == (state, since, reason)

    def test_expired_one_is_said_to_be(self, cast, den, at):
        post(cast.bob, den, at=at)
        later = cast.bob.not_after + dt.timedelta(seconds=1)
        assert ask(cast.alice, cast.bob.serial, at=later)[cast.bob.serial]["state"] == "expired"

    def test_name_that_looks_like_another_is_flagged(self, cast, den, people, at):
        people.bob.name = "AIice"
        people.bob.save()
        post(cast.bob, den, at=at)
        owner = ask(cast.alice, cast.bob.serial, at=at)[cast.bob.serial]["owner"]
        assert (owner["flag"], owner["lookalike_of"]) == ("lookalike", "alice")

    def test_many_take_two_queries(self, cast, den, people, pki, at, django_assert_num_queries):
        serials = [cast.bob.serial, cast.charlie.serial]
        for number in range(48):
            device = factories.make_device(people.bob, pki.issuing, device=f"d{number}", at=at)
            serials.append(device.certificate.serial)
        post(cast.bob, den, at=at)
        Event.objects.filter(by_id=cast.bob.user_id).update(certificate_serial=serials[-1])
        lookalikes.flag_of(cast.bob.user_id)
        with django_assert_num_queries(2):
            assert list(ask(cast.alice, *serials, at=at)) == serials[-1:]

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL scans few rows faster")
    def test_what_was_signed_is_found_by_an_index(self, cast, den):
        query = certificates.SEEN.format(values="(%s, %s)")
        values = [cast.bob.serial, cast.bob.user_id, cast.alice.user_id]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}", values)
            plan = str(cursor.fetchall())
        assert "events_of_certificate (certificate_serial=? AND room_id=?)" in plan


@pytest.mark.django_db(transaction=True)
class TestPush:
    async def test_change_reaches_who_sees_its_signatures_and_nobody_else(self, cast, den, at):
        await database(post)(cast.bob, den, at=at)
        async with connected(cast.alice, cast.charlie) as (alice, charlie):
            await alice.ask("ping")
            await database(revoke)(cast.bob, reason="certificateHold")
            held = await alice.push("certificate")
            assert (held["serial"], held["state"]) == (cast.bob.serial, "held")
            certificate = await Certificate.objects.aget(pk=cast.bob.certificate_id)
            await database(revocation.release)(
                actor="tests", certificate=certificate, at=timezone.now()
            )
            released = await alice.push("certificate")
            assert (released["serial"], released["state"]) == (cast.bob.serial, "good")
            await database(revoke)(cast.bob)
            assert (await alice.push("certificate"))["state"] == "revoked"
            assert await alice.is_quiet()
            assert await charlie.is_quiet()

    async def test_change_of_another_process_is_found_when_the_trust_is_said_to_have_changed(
        self, cast, den, at
    ):
        """As `project.tls.watch` says it twice a second: no signal of the revocation comes here."""
        await database(post)(cast.bob, den, at=at)
        async with connected(cast.alice) as (alice,):
            await alice.ask("ping")
            await Certificate.objects.filter(pk=cast.bob.certificate_id).aupdate(
                revoked_at=timezone.now(), revocation_reason="keyCompromise"
            )
            await database(trust_changed.send)(sender=None)
            async with asyncio.timeout(1):
                assert (await alice.push("certificate"))["state"] == "revoked"

    async def test_owner_is_told_at_their_other_device(self, cast, people, pki, at):
        other = await database(factories.make_identity)(people.bob, pki.issuing, at=at)
        async with connected(cast.bob) as (bob,):
            await bob.ask("ping")
            await database(revoke)(other)
            assert (await bob.push("certificate"))["serial"] == other.serial


@pytest.mark.django_db
class TestWatch:
    @pytest.fixture
    def asked(self, monkeypatch):
        """The serial numbers of what was loaded, look by look."""
        found, real = [], certificates.describe_changed

        def described(**asked):
            facts = real(**asked)
            found.append({one.serial for one in facts})
            return facts

        monkeypatch.setattr(certificates, "describe_changed", described)
        return found

    def look(self, watch, at, room):
        return [frame["state"] for frame, _, _ in watch.look(at=at, rooms={room})]

    def test_what_was_so_before_is_no_news(self, cast, den, at):
        revoke(cast.bob, at=at)
        watch = certificates.Watch(at=at)
        assert self.look(watch, at, 1) == []

    def test_what_came_before_the_first_look_is_news(self, cast, den, at):
        watch = certificates.Watch(at=at)
        moment = at + dt.timedelta(seconds=1)
        revoke(cast.bob, at=moment)
        assert self.look(watch, moment, 1) == ["revoked"]

    def test_each_change_is_told_once(self, cast, den, at):
        watch = certificates.Watch(at=at)
        moments = [at + dt.timedelta(seconds=n) for n in range(1, 200, 20)]
        told = self.look(watch, at, 1)
        revoke(cast.bob, at=moments[0])
        for moment in moments:
            told += self.look(watch, moment, 1)
        assert told == ["revoked"]

    def test_hold_that_becomes_final_is_told(self, cast, den, at):
        watch = certificates.Watch(at=at)
        told = []
        for number, reason in enumerate(["certificateHold", "keyCompromise"]):
            moment = at + dt.timedelta(hours=number)
            told += self.look(watch, moment, 1)
            revoke(cast.bob, reason=reason, at=moment)
            told += self.look(watch, moment, 1)
        assert told == ["held", "revoked"]

    def test_what_was_revoked_for_good_is_asked_about_no_more(self, cast, den, at, asked):
        watch = certificates.Watch(at=at)
        revoke(cast.bob, at=at)
        watch.look(at=at, rooms={1})
        revoke(cast.charlie, reason="certificateHold", at=at)
        watch.look(at=at + dt.timedelta(seconds=59), rooms={1})
        assert asked.pop() == {cast.bob.serial, cast.charlie.serial}
        for minutes in (2, 3):
            watch.look(at=at + dt.timedelta(minutes=minutes), rooms={1})
        assert asked.pop() == {cast.charlie.serial}

    def test_what_has_expired_is_asked_about_no_more(self, cast, den, asked):
        end = Certificate.objects.get(pk=cast.bob.certificate_id).not_after
        watch = certificates.Watch(at=end - dt.timedelta(seconds=1))
        for minutes in (1, 2, 3):
            watch.look(at=end + dt.timedelta(minutes=minutes), rooms={1})
        assert asked[0] >= {cast.bob.serial}
        assert asked[-1] == set()

    def test_end_of_what_was_revoked_before_is_no_news(self, cast, den, at):
        watch = certificates.Watch(at=at)
        moment = at + dt.timedelta(seconds=1)
        told = self.look(watch, at, 1)
        revoke(cast.bob, at=moment)
        for later in (moment, moment + dt.timedelta(hours=1)):
            told += self.look(watch, later, 1)
        end = cast.bob.not_after
        others = Certificate.objects.exclude(pk=cast.bob.certificate_id)
        others.update(not_after=end + dt.timedelta(days=9))
        for seconds in (-1, 1, 30):
            told += self.look(watch, end + dt.timedelta(seconds=seconds), 1)
        assert told == ["revoked"]

    def test_what_a_revoked_ca_issued_is_asked_about_no_more(self, cast, den, pki, at, asked):
        watch = certificates.Watch(at=at)
        authority = Certificate.objects.filter(pk=pki.issuing.certificate_id)
        authority.update(revoked_at=at, revocation_reason="cACompromise")
        for minutes in (0, 2, 3):
            watch.look(at=at + dt.timedelta(minutes=minutes), rooms={1})
        assert asked[0] >= {cast.bob.serial}
        assert asked[-1] == set()

    def test_hold_of_a_ca_and_its_end_are_told(self, cast, den, pki, at):
        watch = certificates.Watch(at=at)
        moments = [at + dt.timedelta(hours=n) for n in range(4)]
        authority = Certificate.objects.filter(pk=pki.issuing.certificate_id)
        assert self.look(watch, moments[0], 1) == []
        authority.update(revoked_at=moments[1], revocation_reason="certificateHold")
        assert set(self.look(watch, moments[1], 1)) == {"revoked"}
        assert self.look(watch, moments[2], 1) == []
        authority.update(revoked_at=None, revocation_reason="")
        assert set(self.look(watch, moments[3], 1)) == {"good"}

    def test_expiry_is_told(self, cast, den, at):
        watch = certificates.Watch(at=cast.bob.not_after - dt.timedelta(seconds=1))
        self.look(watch, cast.bob.not_after - dt.timedelta(seconds=1), 1)
        states = self.look(watch, cast.bob.not_after + dt.timedelta(seconds=1), 1)
        assert set(states) == {"expired"}
