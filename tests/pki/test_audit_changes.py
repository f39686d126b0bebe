"""Whatever changes the PKI: where the audit entry cannot be written, nothing is changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.apps import apps
from django.db.models import F

from pki import (
    adoption,
    authorities,
    catalogue,
    certification,
    crl,
    endpoints,
    enrolment,
    imports,
    outside,
    people,
    profiles,
    responder,
    revocation,
    succession,
    truststore,
)
from pki.errors import AuditError, MasterKeyMissingError
from pki.models import (
    AuditBacklog,
    AuditHead,
    Certificate,
    CertificateProfile,
    CertificationRequest,
    Endpoint,
)
from tests import certs
from tests.factories import PKI, People, make_device, make_endpoint

HOUR = dt.timedelta(hours=1)
PARTNER = certs.make_ca("Partner Root")
LOWER = PARTNER.make_ca("Partner Issuing")
ABOUT_THE_TRAIL = {AuditHead, AuditBacklog}


@dataclass
class Stage:
    """What a change is carried out on; methods set something up before it."""

    pki: PKI
    people: People
    mine: Certificate
    at: dt.datetime

    @property
    def by(self) -> dict[str, object]:
        return {"actor": "x", "at": self.at}

    def revoked(self, reason: str) -> Certificate:
        return revocation.revoke(certificate=self.mine, reason=reason, **self.by)

    def planned(self) -> Certificate:
        later = self.at + HOUR
        revocation.plan(certificate=self.mine, reason="superseded", at_time=later, **self.by)
        return self.mine

    def approvals(self, number: int) -> Stage:
        CertificateProfile.objects.filter(name="person").update(approvals=number)
        return self

    def request(self) -> CertificationRequest:
        return certification.submit(
            requester=self.people.alice,
            owner=self.people.alice,
            profile="person",
            csr=certs.make_csr("alice"),
            device="phone",
            **self.by,
        )

    def withdrawn(self) -> CertificationRequest:
        request, alice = self.approvals(1).request(), self.people.alice
        return certification.withdraw(requester=alice, request=request, **self.by)

    def retired(self):
        return succession.retire_authority(
            authority=self.pki.issuing, is_last_one_too=True, **self.by
        )

    def partner(self):
        imports.import_anchors(
            truststore=self.pki.truststore,
            certificates=[PARTNER.certificate, LOWER.certificate],
            **self.by,
        )
        for authority in (PARTNER, LOWER):
            imports.import_crl(crl=authority.crl(), **self.by)
        return self.pki.truststore

    def profile(self) -> CertificateProfile:
        fields = catalogue.fields_of(profiles.PERSON) | {"name": "guest", "label": "Guest"}
        return CertificateProfile(**fields)

    def made_profile(self) -> CertificateProfile:
        return catalogue.create_profile(profile=self.profile(), **self.by)

    def invitation(self):
        return enrolment.invite(user=self.people.bob, device="phone", **self.by)[0]

    def endpoint(self, **fields: object) -> Endpoint:
        made = make_endpoint(self.pki, self.pki.truststore)
        Endpoint.objects.filter(pk=made.pk).update(**fields, name="main")
        return Endpoint.objects.get(pk=made.pk)

    def outside_request(self):
        return outside.request_authority(name="Signed Elsewhere", **self.by)


Act = Callable[[], object]


def verb(function: Callable[..., object], what: Callable[[Stage], dict[str, object]]):
    """Set up first; what is returned is the change itself."""

    def prepare(stage: Stage) -> Act:
        arguments = {**stage.by, **what(stage)}
        return lambda: function(**arguments)

    return prepare


CHANGES: dict[str, Callable[[Stage], Act]] = {
    "issue": lambda s: lambda: make_device(s.mine.owner, s.pki.issuing, at=s.at),
    "revoke": verb(revocation.revoke, lambda s: {"certificate": s.mine, "reason": "superseded"}),
    "hold": verb(revocation.revoke, lambda s: {"certificate": s.mine, "reason": "certificateHold"}),
    "release": verb(revocation.release, lambda s: {"certificate": s.revoked("certificateHold")}),
    "revoke for good": verb(
        revocation.revoke,
        lambda s: {"certificate": s.revoked("certificateHold"), "reason": "keyCompromise"},
    ),
    "revoke many": verb(
        revocation.revoke_many, lambda s: {"certificates": [s.mine.pk], "reason": "superseded"}
    ),
    "plan": verb(
        revocation.plan,
        lambda s: {"certificate": s.mine, "reason": "superseded", "at_time": s.at + HOUR},
    ),
    "cancel a plan": verb(revocation.cancel_plan, lambda s: {"certificate": s.planned()}),
    "publish a CRL": verb(crl.publish, lambda s: {"authority": s.pki.issuing}),
    "configure CRLs": verb(
        crl.configure,
        lambda s: {"authority": s.pki.issuing, "crl_partitions": 2, "has_delta_crls": True},
    ),
    "create a root": verb(
        authorities.create_authority, lambda s: {"name": "Another", "algorithm": "p256"}
    ),
    "create a CA below": verb(
        authorities.create_authority,
        lambda s: {"name": "Another", "parent": s.pki.root, "algorithm": "p256"},
    ),
    "renew a CA": verb(succession.renew_authority, lambda s: {"authority": s.pki.issuing}),
    "roll a CA over": verb(succession.roll_over_authority, lambda s: {"authority": s.pki.issuing}),
    "roll a root over": verb(succession.roll_over_authority, lambda s: {"authority": s.pki.root}),
    "retire a CA": verb(
        succession.retire_authority,
        lambda s: {"authority": s.pki.issuing, "is_last_one_too": True},
    ),
    "restore a CA": verb(succession.restore_authority, lambda s: {"authority": s.retired()}),
    "ask for a CA elsewhere": verb(outside.request_authority, lambda s: {"name": "Another"}),
    "withdraw that": verb(outside.withdraw_request, lambda s: {"request": s.outside_request()}),
    "import a CA": verb(
        outside.import_authority,
        lambda s: {
            "data": PARTNER.pem + PARTNER.key_pem,
            "password": None,
            "discard_revocations": True,
        },
    ),
    "renew a responder": verb(responder.renew, lambda s: {"authority": s.pki.issuing}),
    "create a trust store": verb(truststore.create_truststore, lambda s: {"name": "another"}),
    "import anchors": verb(
        imports.import_anchors,
        lambda s: {
            "truststore": s.pki.truststore,
            "certificates": [PARTNER.certificate, LOWER.certificate],
        },
    ),
    "withdraw an anchor": verb(
        truststore.withdraw_anchor, lambda s: {"anchor": s.pki.truststore.anchors.get()}
    ),
    "date an anchor": verb(
        truststore.date_anchor,
        lambda s: {
            "anchor": s.pki.truststore.anchors.get(),
            "trusted_from": s.at,
            "trusted_until": None,
        },
    ),
    "recognise people": verb(
        truststore.set_recognition,
        lambda s: {"truststore": s.pki.truststore, "recognises": "email"},
    ),
    "import a CRL": verb(
        imports.import_crl, lambda s: s.partner() and {"crl": PARTNER.crl(number=2)}
    ),
    "adopt": verb(
        adoption.adopt,
        lambda s: {
            "truststore": s.partner(),
            "chain": LOWER.issue("bob").chain,
            "user": s.people.bob,
        },
    ),
    "create a profile": verb(catalogue.create_profile, lambda s: {"profile": s.profile()}),
    "change a profile": verb(
        catalogue.change_profile,
        lambda s: {"profile": s.made_profile(), "changes": {"validity_days": 5}},
    ),
    "remove a profile": verb(catalogue.remove_profile, lambda s: {"profile": s.made_profile()}),
    "ask": lambda s: s.approvals(1).request,
    "ask and get": lambda s: s.approvals(0).request,
    "approve": verb(
        certification.approve,
        lambda s: {"approver": s.people.admin, "request": s.approvals(1).request()},
    ),
    "approve first": verb(
        certification.approve,
        lambda s: {"approver": s.people.admin, "request": s.approvals(2).request()},
    ),
    "reject": verb(
        certification.reject,
        lambda s: {
            "approver": s.people.admin,
            "request": s.approvals(1).request(),
            "reason": "No.",
        },
    ),
    "withdraw": verb(
        certification.withdraw,
        lambda s: {"requester": s.people.alice, "request": s.approvals(1).request()},
    ),
    "ask again": verb(
        certification.submit_again,
        lambda s: {"requester": s.people.alice, "request": s.withdrawn()},
    ),
    "invite": verb(enrolment.invite, lambda s: {"user": s.people.bob, "device": "phone"}),
    "withdraw a link": verb(enrolment.withdraw_link, lambda s: {"invitation": s.invitation()}),
    "create a person": verb(people.create_person, lambda s: {"username": "dora"}),
    "change a person": verb(
        people.change_person, lambda s: {"user": s.people.bob, "changes": {"name": "Robert"}}
    ),
    "disable a person": verb(people.disable_person, lambda s: {"user": s.people.bob}),
    "change an endpoint": verb(
        endpoints.change_endpoint,
        lambda s: {"endpoint": s.endpoint(), "changes": {"max_connections": 70}},
    ),
    "renew an endpoint": verb(
        endpoints.renew_certificate,
        lambda s: {"endpoint": s.endpoint(), "hosts": ["localhost"]},
    ),
    "remove an endpoint": verb(
        endpoints.remove_endpoint, lambda s: {"endpoint": s.endpoint(enabled=False)}
    ),
}


def _state() -> dict[str, list[object]]:
    """Every row of the PKI, as it is."""
    rows = {}
    for model in apps.get_app_config("pki").get_models():
        if model not in ABOUT_THE_TRAIL:
            rows[model.__name__] = list(model._default_manager.order_by("pk").values())
    return rows


@pytest.fixture(params=CHANGES.values(), ids=CHANGES.keys())
def act(request: pytest.FixtureRequest, pki: PKI, people: People, at: dt.datetime) -> Act:
    mine = make_device(people.alice, pki.issuing, at=at).certificate
    prepared: Act = request.param(Stage(pki, people, mine, at))
    return prepared


@pytest.mark.parametrize("trouble", ["no entry", "no master key"])
def test_nothing_is_changed_that_cannot_be_recorded(act: Act, settings, trouble: str) -> None:
    """The next entry's number is taken, or the key is away that seals it."""
    before = _state()
    if trouble == "no entry":
        AuditHead.objects.update(sequence=F("sequence") - 1)
        with pytest.raises(AuditError, match="cannot be written"):
            act()
    else:
        settings.SIGNET_MASTER_KEY_FILE = Path("missing.key")
        with pytest.raises(MasterKeyMissingError):
            act()
    after = _state()
    assert [name for name in before if before[name] != after[name]] == []


def test_each_of_these_changes_something_where_it_can_be_recorded(act: Act) -> None:
    """Or the test above would say nothing of it."""
    before = _state()
    act()
    after = _state()
    changed = [name for name in before if before[name] != after[name]]
    assert "AuditEntry" in changed
    assert len(changed) > 1
