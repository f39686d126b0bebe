"""The unsigned certificate."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pki import profiles, tbs
from pki.lint import sign_twin
from tests import certs

AT = dt.datetime(2030, 5, 6, 7, 8, 9, 123456, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def issuer() -> tbs.Issuer:
    root = certs.make_ca("Root")
    return tbs.Issuer(
        root.certificate, "http://x.example/a.crl", "http://x.example/o/", "http://x.example/a.cer"
    )


def _request(**changes: object) -> tbs.Request:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    fields = {
        "subject": subject,
        "public_key": certs.make_key().public_key(),
        "names": (x509.RFC822Name("alice@example.org"),),
        "serial": tbs.new_serial(),
        "at": AT,
    }
    return tbs.Request(**(fields | changes))  # type: ignore[arg-type]


def _extension(
    found: list[tuple[x509.ExtensionType, bool]], kind: type
) -> tuple[x509.ExtensionType, bool]:
    [extension] = [pair for pair in found if isinstance(pair[0], kind)]
    return extension


def test_new_serial() -> None:
    serials = [tbs.new_serial() for _ in range(500)]
    assert len(set(serials)) == 500
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials).bit_length() > 150


def test_validity_begins_five_minutes_ago_in_whole_seconds() -> None:
    start, end = tbs.validity(profile=profiles.PERSON, request=_request(), issuer=None)
    assert start == AT.replace(microsecond=0) - dt.timedelta(minutes=5)
    assert end - start == dt.timedelta(days=365, seconds=-1)


def test_validity_stays_within_the_ca(issuer: tbs.Issuer) -> None:
    ca = issuer.certificate
    late = ca.not_valid_after_utc - dt.timedelta(days=1)
    assert tbs.validity(profile=profiles.PERSON, request=_request(at=late), issuer=issuer)[1] == (
        ca.not_valid_after_utc
    )
    early = ca.not_valid_before_utc
    assert tbs.validity(profile=profiles.PERSON, request=_request(at=early), issuer=issuer)[0] == (
        ca.not_valid_before_utc
    )


def test_extensions_of_a_person(issuer: tbs.Issuer) -> None:
    found = tbs.extensions(profile=profiles.PERSON, request=_request(), issuer=issuer)
    criticals = {type(extension).__name__ for extension, is_critical in found if is_critical}
    assert criticals == {"BasicConstraints", "KeyUsage"}
    assert _extension(found, x509.BasicConstraints)[0] == x509.BasicConstraints(False, None)
    names = _extension(found, x509.SubjectAlternativeName)[0]
    assert list(names) == [x509.RFC822Name("alice@example.org")]  # type: ignore[call-overload]
    assert len(found) == 8


def test_extensions_of_a_root() -> None:
    """No pointers: nobody revokes a root, and its certificate is in the trust store."""
    found = tbs.extensions(profile=profiles.ROOT, request=_request(names=()), issuer=None)
    assert {type(extension) for extension, _ in found} == {
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.SubjectKeyIdentifier,
        x509.AuthorityKeyIdentifier,
    }
    assert _extension(found, x509.BasicConstraints)[0] == x509.BasicConstraints(True, 1)


def test_build_names_the_ca_as_issuer(issuer: tbs.Issuer) -> None:
    request = _request(at=dt.datetime.now(dt.UTC))
    builder = tbs.build(profile=profiles.PERSON, request=request, issuer=issuer)
    twin = sign_twin(builder, algorithm="p256")
    assert twin.issuer == issuer.certificate.subject
    assert twin.version is x509.Version.v3


def test_responder_says_that_nobody_need_ask(issuer: tbs.Issuer) -> None:
    found = tbs.extensions(profile=profiles.OCSP, request=_request(names=()), issuer=issuer)
    assert _extension(found, x509.OCSPNoCheck) == (x509.OCSPNoCheck(), False)
    [access] = _extension(found, x509.AuthorityInformationAccess)[0]
    assert access.access_location.value == issuer.certificate_url
    assert not [value for value, _ in found if isinstance(value, x509.CRLDistributionPoints)]


def test_name_constraints_are_critical(issuer: tbs.Issuer) -> None:
    bound = x509.NameConstraints([x509.DNSName("example.org")], None)
    request = _request(names=(), name_constraints=bound)
    found = tbs.extensions(profile=profiles.INTERMEDIATE, request=request, issuer=issuer)
    assert _extension(found, x509.NameConstraints) == (bound, True)
