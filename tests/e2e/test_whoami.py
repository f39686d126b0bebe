"""curl asks /whoami with every kind of certificate, on an optional and on a required endpoint."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certs import make_ca
from tests.e2e.server import Signet
from tests.services import require

EXPIRED = """
import dataclasses, datetime as dt
from django.utils import timezone
from pki import catalogue, enrolment, people
from pki.handout import Format
at = timezone.now() - dt.timedelta(minutes=2)
user = people.create_person(actor="test", username="erin", at=at)
person = catalogue.named("person")
short = dataclasses.replace(person, validity=dt.timedelta(minutes=6))
catalogue.named = lambda _: short  # in this process alone; five minutes of it are backdated
made = enrolment.hand_out(
    actor="test", user=user, device="old", format=Format.PEM, password=None, at=at
)
open({out!r}, "wb").write(made.handout.content)
"""
SERVER_ONLY = """
from cryptography import x509
from django.utils import timezone
from pki import handout, issuance
from pki.handout import Format
from pki.models import CertificateAuthority
key = handout.make_key()
authority = CertificateAuthority.objects.issuing(timezone.now()).first()
row = issuance.issue(issuance.prepare(
    actor="test", authority=authority, profile="server", public_key=key.public_key(),
    hosts=["server.example"], at=timezone.now(),
))
chain = [x509.load_der_x509_certificate(bytes(c.der)) for c in (row, *authority.chain)]
packed = handout.pack(key=key, chain=chain, format=Format.PEM, password=None, name="server")
open({out!r}, "wb").write(packed.content)
"""


@dataclass(frozen=True)
class Answer:
    code: int
    body: str
    stderr: str

    @property
    def alert(self) -> int | None:
        """The number of the alert that curl received; it prints level and number as one."""
        received = re.findall(r"\(IN\), TLS alert, .+ \((\d+)\)", self.stderr)
        return int(received[-1]) & 0xFF if received else None

    @property
    def certificate(self) -> dict[str, object]:
        return dict(json.loads(self.body)["certificate"])


@pytest.fixture(scope="module")
def identities(signet: Signet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """A file with key and certificate for each kind of client."""
    require("curl")
    folder = tmp_path_factory.mktemp("identities")
    good, revoked = signet.issue("alice"), signet.issue("rita")
    signet.manage("revoke_certificate", "--file", str(revoked), "--reason", "keyCompromise")
    for name, code in {"expired": EXPIRED, "server_only": SERVER_ONLY}.items():
        signet.shell(code.format(out=str(folder / f"{name}.pem")))
    make_ca("Mallory CA").issue("mallory").write_pem(folder / "foreign.pem")
    return {
        "good": good,
        "revoked": revoked,
        "expired": folder / "expired.pem",
        "server_only": folder / "server_only.pem",
        "foreign": folder / "foreign.pem",
        "none": None,
    }


def curl(signet: Signet, identity: Path | None, *, port: int, version: str = "1.3") -> Answer:
    arguments = ["curl", "--silent", "--show-error", "--verbose", "--cacert", str(signet.root)]
    arguments += [f"--tlsv{version}", "--tls-max", version]
    if identity:
        arguments += ["--cert", str(identity), "--key", str(identity)]
    done = subprocess.run(
        [*arguments, signet.url("/whoami", port=port)], capture_output=True, text=True, timeout=30
    )
    return Answer(done.returncode, done.stdout, done.stderr)


VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


@VERSIONS
@pytest.mark.parametrize("endpoint", ["main", "required"])
def test_good_certificate_is_authorized(signet, identities, endpoint, version):
    answer = curl(signet, identities["good"], port=getattr(signet, endpoint), version=version)

    facts = json.loads(answer.body)
    assert facts["certificate"]["authorized"] is True
    assert facts["certificate"]["authorization_error"] is None
    assert facts["user"]["username"] == "alice"
    assert facts["tls"]["version"] == f"TLSv{version}"
    assert facts["tls"]["resumed"] is False


@VERSIONS
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("none", "no_certificate"),
        ("expired", "certificate_expired"),
        ("revoked", "certificate_revoked"),
    ],
)
def test_optional_endpoint_tells_the_reason(signet, identities, kind, error, version):
    answer = curl(signet, identities[kind], port=signet.main, version=version)

    assert answer.certificate["presented"] is (kind != "none")
    assert answer.certificate["authorized"] is False
    assert answer.certificate["authorization_error"] == error
    assert json.loads(answer.body)["user"] is None


# RFC 8446, section 6.2
HANDSHAKE_FAILURE, CERTIFICATE_REQUIRED = 40, 116
ALERTS = {
    "server_only": 43,  # unsupported_certificate
    "revoked": 44,  # certificate_revoked
    "expired": 45,  # certificate_expired
    "foreign": 48,  # unknown_ca
}


@VERSIONS
@pytest.mark.parametrize("kind", ["foreign", "server_only"])
def test_optional_endpoint_ends_the_handshake_of_a_useless_one(signet, identities, kind, version):
    answer = curl(signet, identities[kind], port=signet.main, version=version)

    assert answer.code != 0
    assert answer.body == ""
    assert answer.alert == ALERTS[kind]


@VERSIONS
@pytest.mark.parametrize("kind", sorted(ALERTS))
def test_required_endpoint_refuses_every_bad_one_with_its_alert(signet, identities, kind, version):
    answer = curl(signet, identities[kind], port=signet.required, version=version)

    assert answer.code != 0
    assert answer.body == ""
    assert answer.alert == ALERTS[kind]


@pytest.mark.parametrize(
    ("version", "alert"), [("1.3", CERTIFICATE_REQUIRED), ("1.2", HANDSHAKE_FAILURE)]
)
def test_required_endpoint_refuses_a_missing_one(signet, identities, version, alert):
    answer = curl(signet, None, port=signet.required, version=version)

    assert answer.code != 0
    assert answer.alert == alert


def test_pages_are_refused_without_identity_and_say_why(signet, identities):
    for kind, words in [("none", "no certificate"), ("revoked", "revoked"), ("expired", "expired")]:
        identity = identities[kind]
        arguments = ["--cert", str(identity), "--key", str(identity)] if identity else []
        for path in ("/", "/rooms/general/", "/devices/", "/console/"):
            done = subprocess.run(
                [
                    "curl",
                    "-sS",
                    "-w",
                    "%{http_code}",
                    "--cacert",
                    signet.root,
                    *arguments,
                    signet.url(path),
                ],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            assert done.stdout.endswith("401"), (kind, path)
            assert words in done.stdout.lower(), (kind, path)
