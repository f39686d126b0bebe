"""A full inbox stops the socket, a read one starts it again."""

from __future__ import annotations

import pytest

from project.tls import inbox


class Reader:
    def __init__(self):
        self.calls = []

    def pause_reading(self):
        self.calls.append("pause")

    def resume_reading(self):
        self.calls.append("resume")


@pytest.mark.parametrize(
    ("text", "count"), [("x", inbox.FULL_MESSAGES), ("x" * 65536, inbox.FULL_BYTES // 65536)]
)
async def test_pauses_when_full_and_resumes_when_there_is_room(text, count):
    reader = Reader()
    box = inbox.Inbox(reader)
    for _ in range(count):
        box.put_nowait({"type": "websocket.receive", "text": text})
    assert reader.calls == []
    box.put_nowait({"type": "websocket.receive", "text": text})
    assert reader.calls == ["pause"]
    for _ in range(count + 1):
        assert (await box.get())["text"] == text
    assert reader.calls == ["pause", "resume"]


async def test_http_body_never_pauses_what_was_read_already():
    reader = Reader()
    box = inbox.Inbox(reader)
    for _ in range(100):
        box.put_nowait({"type": "http.request", "body": b"x" * 8192})
    assert reader.calls == []


async def test_order_is_kept():
    box = inbox.Inbox(Reader())
    for number in range(5):
        box.put_nowait({"type": "websocket.receive", "bytes": bytes([number])})
    assert [(await box.get())["bytes"][0] for _ in range(5)] == [0, 1, 2, 3, 4]
