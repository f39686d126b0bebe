"""Who may not be here any more goes, whatever was under way; test_consumers has the whole way."""

from __future__ import annotations

import asyncio

import pytest

from pki import revocation
from pki.models import Certificate
from tests.chat.ears import database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alone")]


async def test_whose_certificate_is_revoked_goes_and_the_others_hear_of_it(
    cast, den, at, listening
):
    bob, alice = await listening(cast.bob), await listening(cast.alice)
    await database(revoke)(cast.alice, at)
    await listening.hub.recheck.look()
    assert alice.code == 4501
    assert bob.code is None
    [told] = bob.frames("certificate")
    assert (told["serial"], told["state"]) == (cast.alice.serial, "revoked")


async def test_look_that_was_under_way_when_all_left_does_not_block_the_next(cast, listening):
    bob = await listening(cast.bob)
    listening.hub.recheck._soon()
    listening.hub.remove(bob.connection)
    await asyncio.sleep(0.01)
    await listening(cast.alice)
    assert not listening.hub.recheck._is_due


def revoke(identity, at):
    certificate = Certificate.objects.get(sha256=identity.sha256)
    revocation.revoke(actor="tests", certificate=certificate, reason="keyCompromise", at=at)
