"""A certificate decoded from its parts is the one that pkilint decodes, or is left to pkilint."""

from __future__ import annotations

import random

import pytest
from pkilint.loader import DocumentLoader, RFC5280CertificateDocumentLoader
from pyasn1.codec.der.encoder import encode

from pki import certificate_parts
from pki.certificate_parts import PartwiseCertificate
from tests.certs import make_ca

THEIRS = RFC5280CertificateDocumentLoader()
OURS = DocumentLoader(PartwiseCertificate, "CERTIFICATE")
CA = make_ca("Test CA")
LEAVES = [CA.issue(name).der for name in ("alice", "bob")]


def nodes(node):
    """Every node with its place, kind and value: all that a validator can see."""
    yield node.path, type(node.pdu), node.pdu.prettyPrint(), node.pdu.tagSet
    for child in node.children.values():
        yield from nodes(child)


@pytest.mark.parametrize("der", [CA.der, *LEAVES], ids=["CA", "alice", "bob"])
def test_nodes_are_the_same(der):
    ours, theirs = OURS.load_der_document(der), THEIRS.load_der_document(der)
    assert list(nodes(ours.root)) == list(nodes(theirs.root))
    assert ours.root.pdu == theirs.root.pdu
    assert encode(ours.root.pdu) == der


def test_parts_are_taken_and_not_the_whole(monkeypatch):
    """Else all the rest here would compare pkilint with itself."""
    monkeypatch.setattr(certificate_parts.RFC5280Certificate, "decode", None)
    for der in LEAVES:
        assert OURS.load_der_document(der).root is not None


def broken():
    chance = random.Random(7)
    for _ in range(1500):
        der = bytearray(chance.choice([CA.der, *LEAVES]))
        match chance.randrange(4):
            case 0:
                der[chance.randrange(len(der))] = chance.randrange(256)
            case 1:
                del der[chance.randrange(len(der))]
            case 2:
                der.insert(chance.randrange(len(der)), chance.randrange(256))
            case 3:
                del der[chance.randrange(len(der)) :]
        yield bytes(der)


def outcome(loader, der):
    try:
        return list(nodes(loader.load_der_document(der).root))
    except Exception as error:
        return type(error).__name__, str(error)


def test_broken_ones_come_to_the_same_end():
    ends = [(outcome(OURS, der), outcome(THEIRS, der)) for der in broken()]
    assert [ours for ours, _ in ends] == [theirs for _, theirs in ends]
    assert 100 < sum(isinstance(theirs, list) for _, theirs in ends) < 1400


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x81\x03\x02\x01\x01",
        b"\x30\x82\x00\x81" + bytes(0x81),
        b"\x30\x03\x02\x01",
        b"\x30\x03\x02\x01\x01\x00",
        b"\x30\x84\x01",
    ],
)
def test_lengths_that_are_no_der(der):
    with pytest.raises(ValueError, match=r"DER|length|bytes"):
        certificate_parts._content(der)


def test_no_more_parts_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(certificate_parts, "MOST", 4)
    monkeypatch.setattr(certificate_parts, "_known", known := {})
    for der in LEAVES:
        OURS.load_der_document(der)
    assert 0 < len(known) <= 4
