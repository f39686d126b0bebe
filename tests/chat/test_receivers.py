"""What happens to certificates and accounts reaches the open sockets."""

from __future__ import annotations

import threading

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from chat import hub, lookalikes
from pki import people as people_of_pki
from pki import revocation
from pki.models import Certificate
from pki.signals import (
    certificate_issued,
    certificate_released,
    certificate_revoked,
    trust_changed,
)
from tests.chat.sockets import connected

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("signal", [certificate_revoked, certificate_released, trust_changed])
async def test_signal_of_any_thread_lets_the_hub_look(cast, signal):
    async with connected(cast.bob, cast.alice) as (bob, alice):
        assert (await bob.ask("ping"))["ok"]
        await Certificate.objects.filter(pk=cast.bob.certificate_id).aupdate(
            revoked_at=timezone.now(), revocation_reason="keyCompromise"
        )
        thread = threading.Thread(
            target=signal.send, kwargs={"sender": None, "sha256": cast.bob.sha256}
        )
        thread.start()
        assert await bob.closed() == 4501
        assert (await alice.ask("ping"))["ok"]
        thread.join()


async def test_revocation_closes_the_socket(cast, den):
    async with connected(cast.bob) as (bob,):
        assert (await bob.ask("sync", rooms={den: 0}))["ok"]
        certificate = await Certificate.objects.aget(pk=cast.bob.certificate_id)
        await sync_to_async(revocation.revoke)(
            actor="tests",
            certificate=certificate,
            reason="keyCompromise",
            at=timezone.now(),
        )
        assert await bob.closed() == 4501


async def test_disabling_an_account_closes_its_sockets(cast, people):
    async with connected(cast.bob) as (bob,):
        assert (await bob.ask("ping"))["ok"]
        await sync_to_async(people_of_pki.disable_person)(
            actor="tests", user=people.bob, at=timezone.now()
        )
        assert await bob.closed() == 4503


def test_signal_in_a_process_without_sockets_does_nothing():
    trust_changed.send(sender=None)
    hub.recheck_all()


@pytest.mark.parametrize("signal", [certificate_issued, trust_changed])
def test_names_are_looked_at_again_once_accounts_may_have_changed(people, signal):
    assert lookalikes.flag_of(people.bob.pk) is None
    type(people.bob).objects.filter(pk=people.bob.pk).update(name="AIice")
    signal.send(sender=None)
    assert lookalikes.flag_of(people.bob.pk) is not None
