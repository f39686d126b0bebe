"""No list asks the database more the longer it is."""

from __future__ import annotations

import pytest
from django.contrib.admin.sites import site

from pki import authorities, certification, crl, enrolment, truststore
from pki.admin.columns import list_url
from pki.models import Endpoint
from tests.factories import make_device, make_person, make_server_certificate
from tests.pki.admin.conftest import queries_of, said
from tests.pki.admin.test_requests import make_csr

# Identity, session, person; then what the page shows: count twice (found and all), rows, filters.
QUERIES = {
    "/console/pki/certificate/": 8,
    "/console/pki/user/": 6,
    "/console/pki/certificateauthority/": 6,
    "/console/pki/revocationlist/": 7,
    "/console/pki/truststore/": 7,
    "/console/pki/endpoint/": 8,  # and which processes serve
    "/console/pki/invitation/": 6,
    "/console/pki/auditentry/": 9,  # and what waits in the backlog
    "/console/pki/operation/": 6,
    "/console/auth/group/": 6,
    "/console/pki/certificationrequest/": 7,
    "/console/": 15,  # and the open reports
}


@pytest.fixture
def crowd(pki, people, at):
    """One more of everything that a list shows, with all it points to."""

    def grow(number):
        person = make_person(f"person{number}")
        make_device(person, pki.issuing)
        make_device(person, pki.issuing, device="phone")
        make_person(f"newcomer{number}")
        enrolment.invite(actor="tests", user=person, device="tablet", at=at)
        for _ in range(2):
            certification.submit(
                actor="tests",
                requester=person,
                profile="mail",
                csr=make_csr(),
                owner=person,
                device="desk",
                at=at,
            )
        root = authorities.create_authority(actor="tests", name=f"Root {number}", at=at)
        below = authorities.create_authority(
            actor="tests", name=f"Below {number}", parent=root, at=at
        )
        crl.publish(authority=below, actor="tests", at=at)
        store = truststore.create_truststore(actor="tests", name=f"store{number}", at=at)
        truststore.add_anchor(actor="tests", truststore=store, authority=root, at=at)
        Endpoint.objects.create(
            name=f"main{number}",
            port=9000 + number,
            certificate=make_server_certificate(pki.issuing, hosts=("localhost",)),
            client_certificate="optional",
            truststore=store,
            serves="main",
        )

    return grow


def test_lists_take_the_same_queries_for_many_rows_as_for_few(console, crowd):
    crowd(1)
    few = {path: queries_of(console, path) for path in QUERIES}
    for number in range(2, 5):
        crowd(number)
    many = {path: queries_of(console, path) for path in QUERIES}

    assert few == many
    assert many == QUERIES


@pytest.mark.parametrize("path", [path for path in QUERIES if path != "/console/"])
@pytest.mark.parametrize("key", ["0", "nonsense"])
def test_what_does_not_exist_is_a_sentence_and_no_error(console, path, key):
    response = console.get(f"{path}{key}/change/")

    (sentence,) = said(console, response)
    assert "doesn’t exist" in sentence
    assert console.get(f"{path}{key}/history/").status_code == 404


def test_search_for_very_much_is_no_error(console, pki):
    lists = [list_url(model) for model in site._registry]
    answers = {path: console.get(f"{path}?q={'a%20' * 3000}").status_code for path in lists}
    assert answers == dict.fromkeys(lists, 200)
