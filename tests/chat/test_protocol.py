"""What goes over the wire besides requests: subprotocols, limits, close codes, failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat import protocol
from chat.errors import ChatError
from chat.fields import KINDS
from chat.models import Event
from chat.requests import REQUESTS
from pki import errors


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["chat"], None),
        (["signet.v2.json"], None),
        (["signet.v1.json"], "signet.v1.json"),
        (["chat", "signet.v1.msgpack", "signet.v1.json"], "signet.v1.msgpack"),
        (["signet.v1.json", "signet.v1.msgpack"], "signet.v1.json"),
    ],
)
def test_first_subprotocol_that_we_speak_is_chosen(offered, chosen):
    codec = protocol.choose(offered)
    assert (codec and codec.name) == chosen


def test_every_close_code_has_a_sentence_that_fits_a_close_frame():
    for code in protocol.CloseCode:
        assert 0 < len(code.sentence.encode()) <= 123


def test_every_identity_error_has_a_close_code():
    def codes(error):
        return {error.code}.union(*map(codes, error.__subclasses__()))

    assert codes(errors.IdentityError) == protocol.IDENTITY_CLOSES.keys()


def test_document_names_all_that_there_is():
    document = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    errors = {error.code for error in ChatError.__subclasses__()}
    names = {*protocol.CODECS, *REQUESTS, *KINDS, *errors}
    names |= {*protocol.Limits().announced(), *Event.Type.values}
    assert [name for name in names if f"`{name}`" not in document] == []
    sent = set(protocol.CloseCode) - {protocol.CloseCode.RESTART, protocol.CloseCode.RESYNC}
    assert [int(code) for code in protocol.CloseCode if str(int(code)) not in document] == []
    assert [int(code) for code in sorted(sent) if f"\n| {int(code)} |" not in document] == []
    values = map(str, protocol.Limits().announced().values())
    assert [value for value in values if value not in document] == []


def test_failure_says_when_to_try_again():
    assert protocol.failure(3, protocol.ChatError("No.")) == {
        "ref": 3, "ok": False, "error": {"code": "bad_request", "detail": "No."},
    }  # fmt: skip
