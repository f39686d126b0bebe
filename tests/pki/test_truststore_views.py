"""What everybody may download from the enrol endpoint."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pki import bundles, imports, truststore
from pki.bundles import Format
from pki.views.truststores import PASSWORD
from tests.certs import make_ca
from tests.client import Visitor
from tests.factories import make_endpoint

PARTNER = make_ca("Partner Root")


@pytest.fixture
def visitor(pki, at):
    """Beside our root, the endpoint's store trusts a partner's."""
    imports.import_anchors(
        actor="a", truststore=pki.truststore, certificates=[PARTNER.certificate], at=at
    )
    make_endpoint(pki, pki.truststore)
    return Visitor(serves="enrol")


@pytest.mark.parametrize("format", [one for one in Format if not one.is_folder])
def test_roots_of_ours_are_for_everybody_and_those_of_partners_are_not(visitor, pki, format):
    got = visitor.get(f"/truststore/{format}/")
    assert got.status_code == 200
    found = bundles.read(got.content, password=PASSWORD)
    assert [one.public_bytes(Encoding.DER) for one in found] == [bytes(pki.root.certificate.der)]


def test_page_offers_every_format_beside_the_fingerprints(visitor, pki):
    page = visitor.get("/").content.decode()
    assert pki.root.certificate.fingerprint in page
    assert PASSWORD in page
    assert "Partner" not in page
    for format in Format:
        offered = f'"/truststore/{format}/"' in page
        assert offered is bundles.is_available(format), format


def test_without_the_program_nss_is_not_offered(visitor, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    from pki.views import truststores

    truststores._pack.cache_clear()
    assert "/truststore/nss/" not in visitor.get("/").content.decode()
    assert visitor.get("/truststore/nss/").status_code == 404


def test_der_of_several_and_unknown_formats_are_not_found(visitor, pki, at):
    from pki import authorities

    second = authorities.create_authority(actor="a", name="Second Root", at=at)
    truststore.add_anchor(actor="a", truststore=pki.truststore, authority=second, at=at)
    assert visitor.get("/truststore/pem/").content.count(b"BEGIN CERTIFICATE") == 2
    assert "/truststore/der/" not in visitor.get("/").content.decode()
    for format in ("der", "exe"):
        assert visitor.get(f"/truststore/{format}/").status_code == 404


def test_nothing_to_download_without_a_root(db):
    visitor = Visitor(serves="enrol")
    assert visitor.get("/truststore/pem/").status_code == 404
    assert "/truststore/" not in visitor.get("/").content.decode().split('id="install"')[0]


def test_other_endpoints_export_nothing(visitor):
    assert Visitor().get("/truststore/pem/").status_code in (401, 404)
    assert b"BEGIN" not in Visitor().get("/truststore/pem/").content
