"""Short words for what most tests of the verbs do and ask."""

from __future__ import annotations

import threading
import uuid

from django.db import connections

from chat import messages
from chat.models import Event


def post(actor, room, body="hello", *, at, client_id=None, **more):
    client_id = client_id or str(uuid.uuid4())
    return messages.post_message(
        actor=actor, room=room, client_id=client_id, body=body, at=at, **more
    )


def numbers(room):
    return list(Event.objects.filter(room__slug=room).order_by("seq").values_list("seq", flat=True))


def types(room):
    return list(
        Event.objects.filter(room__slug=room).order_by("seq").values_list("type", flat=True)
    )


def at_once(*works):
    """Do all of this in threads of their own; each result, or the exception in its place."""
    results: list[object] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def worker(number):
        barrier.wait()
        try:
            results[number] = works[number]()
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=worker, args=[n]) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
