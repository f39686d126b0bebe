from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities
from pki.admin import extensions
from tests.certs import SERVER, make_ca
from tests.factories import make_device


def test_every_extension_of_a_person_is_named_and_in_words(pki, people):
    facts = dict(extensions.lines(make_device(people.bob, pki.issuing).der))

    assert facts["Issuer"] == "CN=Test Issuing"
    assert facts["Key usage (critical)"] == "digital signature"
    assert facts["Basic constraints (critical)"] == "not a CA"
    assert facts["Extended key usage"] == "clientAuth"
    assert facts["Alternative names"] == "bob@example.org"
    assert facts["CRL"].endswith("/crl/test-issuing.crl")
    assert "OCSP: http://" in facts["Authority information"]


def test_authority_says_how_many_levels_it_may_found(pki):
    facts = dict(extensions.lines(bytes(pki.root.certificate.der)))

    assert facts["Basic constraints (critical)"] == "CA, with up to 1 level of CAs below it"
    assert "CRL signing" in facts["Key usage (critical)"]


def test_hosts_of_a_server_are_read_back():
    site = make_ca("CA").issue("site", purposes=SERVER, hosts=["localhost", "127.0.0.1"])

    assert extensions.subject_names(site.der) == ["localhost", "127.0.0.1"]


def test_certificate_without_alternative_names_has_none():
    root = make_ca("CA").certificate.public_bytes(Encoding.DER)

    assert extensions.subject_names(root) == []


def test_authority_says_for_which_names_it_may_sign(pki, at):
    made = authorities.create_authority(
        actor="test",
        name="Narrow",
        parent=pki.root,
        name_constraints=authorities.name_constraints(permit=["example.org"]),
        at=at,
    )

    limits = extensions.authority_limits(bytes(made.certificate.der))

    assert limits == "CA, with up to 0 levels of CAs below it\nonly example.org"
