"""pkilint's verdicts, and that our quicker walk reaches the same ones as pkilint's own."""

from __future__ import annotations

import datetime as dt
import random
from copy import copy

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID, ObjectIdentifier
from pkilint.document import ValueDecoder
from pkilint.loader import DocumentLoader, RFC5280CertificateDocumentLoader
from pkilint.validation import ValidationFindingSeverity, ValidatorContainer

from pki import compliance
from pki.certificate_parts import PartwiseCertificate
from tests.certs import make_ca

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
CA = make_ca("Test CA")
DAY = dt.timedelta(days=1)


def certificate(*extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")]))
        .issuer_name(CA.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(2**100 + 7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


AKI = (x509.AuthorityKeyIdentifier(b"1" * 20, None, None), False)
SKI = (x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), False)
GOOD = certificate(
    AKI,
    SKI,
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (x509.SubjectAlternativeName([x509.DNSName("localhost"), uri("http://localhost/x")]), False),
)
BAD = {
    "no_authority_key_id": certificate(SKI),
    "critical_authority_key_id": certificate((AKI[0], True), SKI),
    "critical_subject_key_id": certificate(AKI, (SKI[0], True)),
    "key_usage_of_nothing": certificate(
        AKI, SKI, (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.15"), b"\3\2\7\0"), True)
    ),
    "extension_that_is_no_der": certificate(
        AKI, SKI, (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.37"), b"\xff\xff"), False)
    ),
    "empty_alternative_names": certificate(AKI, SKI, (x509.SubjectAlternativeName([]), False)),
}


def test_a_clean_certificate_has_no_findings():
    assert compliance.certificate_findings(GOOD) == []


@pytest.mark.parametrize("der", BAD.values(), ids=BAD)
def test_what_rfc_5280_forbids_is_named(der):
    assert compliance.certificate_findings(der)
    assert all(code.count(".") == 1 for code in compliance.certificate_findings(der))


def test_what_is_no_der_is_a_finding():
    assert compliance.certificate_findings(b"no") == [
        "cannot be decoded: Substrate is not DER-encoded"
    ]


def plain(container):
    """The rules again, walked and decoded by pkilint itself."""
    if isinstance(getattr(container, "decode_func", None), compliance.RememberingDecoder):
        made, decoder = copy(container), ValueDecoder.__new__(ValueDecoder)
        decoder.__dict__ = container.decode_func.__dict__
        made.decode_func = decoder
        return made
    if not isinstance(container, ValidatorContainer):
        return container
    made = ValidatorContainer.__new__(ValidatorContainer)
    made.__dict__ = {**container.__dict__, "validators": [plain(v) for v in container.validators]}
    return made


THEIRS = RFC5280CertificateDocumentLoader()
OURS = DocumentLoader(PartwiseCertificate, "CERTIFICATE")


def verdict(rules, der, loader=THEIRS):
    document = loader.load_der_document(der)
    return [
        (type(result.validator), result.node.path, found.finding.code)
        for result in rules.validate(document.root)
        for found in result.finding_descriptions
    ]


def mutants(count: int):
    chance = random.Random(5)
    for _ in range(count):
        der = bytearray(chance.choice([GOOD, *BAD.values()]))
        der[chance.randrange(60, len(der) - 80)] = chance.randrange(256)
        yield bytes(der)


def test_our_walk_and_pkilints_reach_the_same_verdicts():
    ours, theirs = compliance._certificate_rules(), plain(compliance._certificate_rules())
    compared = refused = 0
    for der in [GOOD, *BAD.values(), *mutants(300)]:
        try:
            expected = verdict(theirs, der)
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match=r"."):
                verdict(ours, der, OURS)
            continue
        assert verdict(ours, der, OURS) == expected
        assert verdict(ours, der, OURS) == expected  # out of what was remembered
        compared += bool(expected)
    assert compared > 100
    assert refused > 50


def test_no_more_parts_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(compliance, "MOST_PARTS", 3)
    rules = compliance._certificate_rules.__wrapped__()
    for der in [GOOD, *BAD.values()]:
        verdict(rules, der)
    remembering = [
        one.decode_func
        for one in everything(rules)
        if isinstance(getattr(one, "decode_func", None), compliance.RememberingDecoder)
    ]
    assert len(remembering) >= 3
    assert all(len(decoder.known) <= 3 for decoder in remembering)
    assert any(decoder.known for decoder in remembering)


def test_only_host_names_and_addresses_are_left_to_our_own_rules():
    left_out = {
        finding.code
        for validator in everything(_unfiltered_rules())
        if compliance._is_left_out(validator)
        for finding in validator.validations
        if finding.severity <= ValidationFindingSeverity.ERROR
    }
    assert left_out == compliance.NOT_FOR_INTERNAL_HOSTS | {"base.unhandled_exception"}


def _unfiltered_rules():
    from pkilint.pkix.general_name import GeneralNameValidatorContainer

    return GeneralNameValidatorContainer()


def everything(container):
    for validator in container.validators:
        if isinstance(validator, ValidatorContainer):
            yield from everything(validator)
        else:
            yield validator


def revocation_list(*, number: int | None = 5, reason: x509.ReasonFlags | None = None) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CA.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(AKI[0], critical=False)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    entry = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW)
    if reason:
        entry = entry.add_extension(x509.CRLReason(reason), critical=True)
    signed = builder.add_revoked_certificate(entry.build()).sign(KEY, SHA256())
    return signed.public_bytes(Encoding.DER)


def test_a_clean_crl_has_no_findings():
    assert compliance.crl_findings(revocation_list()) == []


def test_a_crl_without_a_number_or_with_a_critical_reason_is_found():
    assert compliance.crl_findings(revocation_list(number=None))
    assert compliance.crl_findings(revocation_list(reason=x509.ReasonFlags.key_compromise))


def response(*, life: dt.timedelta) -> bytes:
    leaf = x509.load_der_x509_certificate(GOOD)
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, CA.certificate, SHA256(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + life, None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, CA.certificate)
    return builder.sign(CA.key, SHA256()).public_bytes(Encoding.DER)


def test_a_clean_ocsp_response_has_no_findings():
    assert compliance.ocsp_findings(response(life=DAY)) == []


def test_an_ocsp_response_whose_life_ends_before_it_begins_is_found():
    der = response(life=DAY)
    later, earlier = b"20261102000000Z", b"20251102000000Z"
    assert der.count(later) == 1
    assert compliance.ocsp_findings(der.replace(later, earlier))
