"""What a search costs where much was written.

    python benchmarks/search.py [--messages 100000]
                                [--database postgres://postgres@127.0.0.1:5432/postgres]

Alice is in 10 of 40 rooms. Words are as frequent as in a language: the first of them is in nearly
every message, the last in a few. One message in twenty has a file. Each search is made once to warm
up and some times more; the median is shown, of this process's CPU and by the clock. SQLite works in
this process, PostgreSQL in one of its own. The database is one of its own, as in `authority.py`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import statistics
import sys
import time
import uuid
from typing import Any

from authority import BATCH, Scene, scenery

TIMES = 7
GOAL_MS = 200
ROOMS, HERS, WORDS, LENGTH = 40, 10, 20_000, 12


def main() -> None:
    arguments = parse()
    with scenery(arguments) as scene:
        fill(scene, arguments.messages)
        where = "PostgreSQL" if arguments.database else "SQLite"
        print(f"{arguments.messages:,} messages on {where}\n")
        print(f"| search (goal: {GOAL_MS} ms) | hits | CPU here | clock |")
        print("|---|---|---|---|")
        for name, query in searches().items():
            print(f"| {name} | {measured(scene, query)} |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--database", default="", help="URL of a PostgreSQL that may create others")
    return parser.parse_args()


def fill(scene: Scene, messages: int) -> None:
    from django.db import connection

    from chat.models import Attachment, Event, Membership, Message, Room

    chance = random.Random(1)  # noqa: S311 (the same words in each run)
    weights = [1 / (number + 1) for number in range(WORDS)]
    made = [Room(slug=f"room-{n}", name=f"Room {n}", kind="private") for n in range(ROOMS)]
    rooms = Room.objects.bulk_create(made)
    Membership.objects.bulk_create(Membership(room=room, user=scene.owner) for room in rooms[:HERS])
    begun = scene.at - dt.timedelta(minutes=messages)
    for start in range(0, messages, BATCH):
        events, said, files = [], [], []
        for number in range(start, min(start + BATCH, messages)):
            room, author = chance.choice(rooms), chance.choice(scene.people)
            room.last_seq += 1
            at = begun + dt.timedelta(minutes=number)
            body = " ".join(f"word{w}" for w in chance.choices(range(WORDS), weights, k=LENGTH))
            event = Event(
                id=uuid.UUID(int=chance.getrandbits(128), version=4),
                room=room,
                seq=room.last_seq,
                type=Event.Type.MESSAGE_POSTED,
                at=at,
                by=author,
                certificate_serial="5f",
                client_id=str(number),
                data={"body": body, "html": f"<p>{body}</p>", "client_id": str(number)},
            )
            events.append(event)
            said.append(
                Message(
                    event=event, room=room, seq=event.seq, author=author, at=at, body=body,
                    has_link=number % 50 == 0, has_file=number % 20 == 0,
                )
            )  # fmt: skip
            if number % 20 == 0:
                files.append(
                    Attachment(
                        room=room, uploader=author, message=said[-1], name=f"file{number} plan.pdf",
                        media_type="application/pdf", size=1, complete=True, created_at=at,
                    )
                )  # fmt: skip
        Event.objects.bulk_create(events)
        Message.objects.bulk_create(said)
        Attachment.objects.bulk_create(files)
        print(f"\rfilling: {start + len(events)} of {messages}", end="", file=sys.stderr)
    print(file=sys.stderr)
    Room.objects.bulk_update(rooms, ["last_seq"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the database does by itself after a while


def searches() -> dict[str, str]:
    return {
        "a rare word": "word19000",
        "a common word": "word100",
        "a word of nearly every third message": "word0",
        "two common words": "word0 word1 ",
        "two common words next to each other": '"word0 word1"',
        "a word that may go on, 1,100 of them": "word1",
        "a word that nobody used": "xyzzy",
        "all but a word": "-word0",
        "a word that there is in other rooms only": "word0 in:room-39",
        "a person's messages": "from:person-7",
        "a person's messages with a common word": "word0 from:person-7",
        "links": "has:link",
        "files whose names begin alike": "file2",
        "files of one kind": "plan.pdf",
        "a common word with a file": "word0 has:file",
        "a word before a day": "word3 before:2000-01-01",
        "twenty words": " ".join(f"word{n}" for n in range(20)),
    }


def measured(scene: Scene, query: str) -> str:
    from chat import search

    actor = identity(scene)
    clocks, ticks, hits = [], [], ""
    for _ in range(1 + TIMES):
        begun, used = time.perf_counter(), time.process_time()
        found = search.search(actor=actor, query=query, at=scene.at)
        clocks.append(time.perf_counter() - begun)
        ticks.append(time.process_time() - used)
        hits = f"{len(found['hits'])}{' and more' if found['more'] else ''}"
    clock, cpu = statistics.median(clocks[1:]), statistics.median(ticks[1:])
    return f"{hits} | {cpu * 1000:.0f} ms | {clock * 1000:.0f} ms"


def identity(scene: Scene) -> Any:
    from pki.identity import Identity

    return Identity(
        user_id=scene.owner.pk,
        username="alice",
        name="Alice",
        is_staff=False,
        certificate_id=0,
        serial="5f",
        sha256="",
        not_after=scene.at,
        device="",
    )


if __name__ == "__main__":
    main()
