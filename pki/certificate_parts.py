"""A certificate decoded for pkilint from its parts: most of them are those of the last one.

Of the certificates of a CA, only serial number, subject, key, two extensions and the signature
differ; what is the same byte for byte is decoded once. Whatever has not the shape of a version 3
certificate in DER is left to pkilint's own decoder, and so is what that one would refuse.
"""

from __future__ import annotations

from typing import Any

from pkilint.document import create_and_append_node_from_pdu
from pkilint.pkix.certificate import RFC5280Certificate
from pyasn1.error import PyAsn1Error
from pyasn1_alt_modules import rfc5280
from pyasn1_fasder import decode_der

CERTIFICATE = rfc5280.Certificate()
TBS = rfc5280.TBSCertificate()
EXTENSIONS = TBS.componentType["extensions"].asn1Object
EXTENSION = rfc5280.Extension()
VERSION_3 = bytes([0xA0, 3, 2, 1, 2])
SHAPE = bytes([0xA0, 0x02, *[0x30] * 5, 0xA3])  # tags, of version to extensions
FIELDS: tuple[str, ...] = ("version", "serialNumber", "signature", "issuer", "validity", "subject")
FIELDS += ("subjectPublicKeyInfo", "extensions")
COME_AGAIN = frozenset({"version", "signature", "issuer", "validity"})
AS_IT_IS = {"verifyConstraints": False, "matchTags": False, "matchConstraints": False}
MOST, LONGEST = 2_000, 512  # parts that are remembered, and bytes of each

_known: dict[tuple[bytes, str], Any] = {}


class PartwiseCertificate(RFC5280Certificate):
    """pkilint's document of a certificate; what it holds, and what it refuses, is the same."""

    root: Any

    def decode(self) -> Any:
        if self.root is None:
            try:
                pdu = _certificate(self.substrate)
            except (ValueError, PyAsn1Error):
                return super().decode()
            self.root = create_and_append_node_from_pdu(self, pdu)
        return self.root


def _certificate(der: bytes) -> Any:
    whole, algorithm, signature = _values(_content(der), 3)
    fields = _values(_content(whole), len(FIELDS))
    if der[0] != 0x30 or whole[0] != 0x30 or bytes(field[0] for field in fields) != SHAPE:
        raise ValueError("another shape")
    if fields[0] != VERSION_3:
        raise ValueError("another version")
    tbs = TBS.clone()
    for name, field in zip(FIELDS, fields, strict=True):
        tbs.setComponentByName(name, _field(name, field), **AS_IT_IS)
    made = CERTIFICATE.clone()
    made.setComponentByPosition(0, tbs, **AS_IT_IS)
    made.setComponentByPosition(
        1, _remembered(algorithm, "algorithm", rfc5280.AlgorithmIdentifier()), **AS_IT_IS
    )
    made.setComponentByPosition(
        2, _decoded(signature, CERTIFICATE.componentType["signature"].asn1Object), **AS_IT_IS
    )
    return made


def _field(name: str, field: bytes) -> Any:
    if name == "extensions":
        return _extensions(field)
    kind = TBS.componentType[name].asn1Object
    return _remembered(field, name, kind) if name in COME_AGAIN else _decoded(field, kind)


def _extensions(field: bytes) -> Any:
    made = EXTENSIONS.clone()
    sequence = _content(field)
    if sequence[:1] != b"\x30":
        raise ValueError("another shape")
    for place, extension in enumerate(_values(_content(sequence))):
        part = _remembered(extension, "extension", EXTENSION)
        made.setComponentByPosition(place, part, **AS_IT_IS)
    return made


def _remembered(der: bytes, name: str, kind: Any) -> Any:
    if len(der) > LONGEST:
        return _decoded(der, kind)
    if (known := _known.get((der, name))) is None:
        known = _decoded(der, kind)
        if len(_known) >= MOST:  # mostly key identifiers, which never come again
            _known.clear()
        _known[der, name] = known
    return known


def _decoded(der: bytes, kind: Any) -> Any:
    return decode_der(der, asn1Spec=kind)[0]


# --- DER: X.690, 8.1 and 10.1 ---------------------------------------------------------------


def _values(content: bytes, count: int = 0) -> list[bytes]:
    """The encodings that stand one after the other; ValueError if they are none, or not `count`."""
    found, start = [], 0
    while start < len(content):
        _, end = _bounds(content, start)
        found.append(content[start:end])
        start = end
    if not found or (count and len(found) != count):
        raise ValueError("another shape")
    return found


def _content(der: bytes) -> bytes:
    begin, end = _bounds(der, 0)
    if end != len(der):
        raise ValueError("trailing bytes")
    return der[begin:end]


def _bounds(der: bytes, start: int) -> tuple[int, int]:
    """Where the content of the encoding at `start` begins and ends."""
    first, begin = der[start + 1 : start + 2], start + 2
    length = int.from_bytes(first)
    if length > 0x80:
        more = length - 0x80
        length, begin = int.from_bytes(der[begin : begin + more]), begin + more
        if length < 0x80 or length >> 8 * (more - 1) == 0:
            raise ValueError("not the shortest length")
    if not first or length == 0x80 == first[0] or begin + length > len(der):
        raise ValueError("not DER")
    return begin, begin + length
