"""A CA with many certificates: what its CRL, its OCSP answers, an issue and a revocation cost.

    python benchmarks/authority.py [--certificates 100000] [--revoked 20000]
                                   [--database postgres://postgres@127.0.0.1:5432/postgres]

Fills a database of its own (on PostgreSQL it is created and dropped; else SQLite in a temporary
folder), measures each verb in this one process, and `openssl ca` beside it in the same run, so that
the ratio means something on any machine. CPU is that of this process alone; what PostgreSQL's process
for it takes is told for issuing, where both are on one machine.
Bytes in, bytes out: what HTTP adds to an OCSP answer is in `ocsp.py`, the console in `pages.py`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openssl_ca import OpenSSL

REPOSITORY = Path(__file__).resolve().parents[1]
BATCH = 5_000
ISSUES, WARMING = 300, 20
MANY, SLICES = (
    500,
    6,
)  # certificates in a step, and steps of which the quickest and the middle count
ASKED, ANSWERS = 1_000, 20_000
PEOPLE = 1_000
BUILD_SECONDS, RIGHT_SECONDS, ANSWERS_A_SECOND, ISSUES_A_SECOND = 2.0, 1.0, 5_000, 200


@dataclass
class Row:
    what: str
    figure: str
    goal: str = ""
    openssl: str = ""
    memory: str = ""


def main() -> None:
    arguments = parse()
    with scenery(arguments) as scene:
        show(measure(scene, arguments), arguments)


@contextmanager
def scenery(arguments: argparse.Namespace) -> Iterator[Scene]:
    """A deployment of its own, that ends with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="signet-benchmark-") as home,
        database(arguments) as url,
    ):
        os.environ.update(SIGNET_HOME=home, DJANGO_SETTINGS_MODULE="project.settings")
        if url:
            os.environ["DATABASE_URL"] = url
        sys.path.insert(0, str(REPOSITORY))
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        yield Scene(Path(home))
        connection.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--certificates", type=int, default=100_000)
    parser.add_argument("--revoked", type=int, default=20_000)
    parser.add_argument("--database", default="", help="URL of a PostgreSQL that may create others")
    return parser.parse_args()


@contextmanager
def database(arguments: argparse.Namespace) -> Iterator[str]:
    """A fresh PostgreSQL database beside the one named, or "" for SQLite."""
    if not arguments.database:
        yield ""
        return
    import psycopg

    name = f"signet_benchmark_{os.getpid()}"
    with psycopg.connect(arguments.database, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(arguments.database)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


# --- The scene ------------------------------------------------------------------------------


class Scene:
    """A root, an issuing CA with its responder, and people; `fill` adds the multitude."""

    def __init__(self, home: Path) -> None:
        from django.utils import timezone

        from pki import authorities, masterkey, people, responder
        from pki.models import User

        masterkey.create(home / "master.key")
        self.at = timezone.now().replace(microsecond=0)
        root = authorities.create_authority(actor="benchmark", name="Root", at=self.at)
        self.authority = authorities.create_authority(
            actor="benchmark", name="Issuing", parent=root, at=self.at
        )
        responder.renew(actor="benchmark", authority=self.authority, at=self.at)
        self.owner = people.create_person(
            actor="benchmark", username="alice", name="Alice", at=self.at
        )
        made = [User(username=f"person-{number}") for number in range(PEOPLE)]
        self.people = User.objects.bulk_create(made)
        self.openssl = OpenSSL(home)

    def fill(self, certificates: int, revoked: int) -> None:
        """Rows with real certificates, signed by the CA; the first `revoked` of them are revoked."""
        from django.db import connection

        from pki.models import Certificate

        for start in range(0, certificates, BATCH):
            count = min(BATCH, certificates - start)
            made = [
                self._certificate(start + i, is_revoked=start + i < revoked) for i in range(count)
            ]
            Certificate.objects.bulk_create(made)
            self.openssl.record(made)
            print(f"\rfilling: {start + count} of {certificates}", end="", file=sys.stderr)
        print(file=sys.stderr)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as the database does by itself after a while

    def _certificate(self, number: int, *, is_revoked: bool) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import NameOID

        from pki import keys, tbs
        from pki.models import Certificate

        serial, owner = tbs.new_serial(), self.people[number % PEOPLE]
        ends = self.at + dt.timedelta(days=300)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner.username)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.issuer.subject)
            .public_key(self._public)
            .serial_number(serial)
            .not_valid_before(self.at)
            .not_valid_after(ends)
        )
        signed = keys.sign_certificate(builder, key=self.authority.certificate.key)
        der = signed.public_bytes(Encoding.DER)
        return Certificate(
            authority=self.authority,
            profile="person",
            serial=f"{serial:x}",
            sha256=sha256(der).hexdigest(),
            spki_sha256=sha256(f"key {serial}".encode()).hexdigest(),
            subject=f"CN={owner.username}",
            not_before=self.at,
            not_after=ends,
            der=der,
            owner=owner,
            device="benchmark",
            issued_at=self.at,
            issued_by="benchmark",
            revoked_at=self.at if is_revoked else None,
            revocation_reason="superseded" if is_revoked else "",
        )

    @cached_property
    def issuer(self) -> Any:
        from cryptography import x509

        return x509.load_der_x509_certificate(bytes(self.authority.certificate.der))

    @cached_property
    def _public(self) -> Any:
        from pki import algorithms

        return algorithms.generate("p256").public_key()


# --- Measuring ------------------------------------------------------------------------------


def measure(scene: Scene, arguments: argparse.Namespace) -> list[Row]:
    scene.fill(arguments.certificates, arguments.revoked)
    return [
        crl_row(scene),
        revoke_row(scene),
        *answer_rows(scene),
        *issue_rows(scene),
    ]


def crl_row(scene: Scene) -> Row:
    from django.utils import timezone

    from pki import crl

    cost = cost_of(
        lambda: crl.publish(authority=scene.authority, actor="benchmark", at=timezone.now())
    )
    theirs = scene.openssl.crl_seconds()
    return Row(
        f"CRL of {cost.result.entries:,} entries built, signed, published",
        str(cost),
        f"< {BUILD_SECONDS} s",
        f"{theirs:.2f} s ({cost.wall / theirs:.1f} times)",
        cost.grown,
    )


def revoke_row(scene: Scene) -> Row:
    """From the verb's call until the published CRL and a fresh OCSP answer both say revoked."""
    from cryptography import x509
    from cryptography.x509 import ocsp as x509_ocsp
    from django.utils import timezone

    from pki import crl, ocsp, revocation

    certificate = scene.authority.issued.filter(
        revoked_at__isnull=True, owner__isnull=False
    ).first()
    request = ocsp_request(scene, bytes(certificate.der))

    def status() -> x509_ocsp.OCSPCertStatus:
        answer = ocsp.respond(request, authority=scene.authority, at=timezone.now())
        return x509_ocsp.load_der_ocsp_response(answer).certificate_status

    def revoke() -> None:
        revocation.revoke(
            actor="benchmark",
            certificate=certificate,
            reason="keyCompromise",
            at=timezone.now(),
        )
        listed = x509.load_der_x509_crl(bytes(crl.latest(scene.authority).der))
        assert listed.get_revoked_certificate_by_serial_number(int(certificate.serial, 16))
        assert status() is x509_ocsp.OCSPCertStatus.REVOKED

    assert status() is x509_ocsp.OCSPCertStatus.GOOD
    cost = cost_of(revoke)
    return Row(
        "revoke until CRL and OCSP are right",
        str(cost),
        f"< {RIGHT_SECONDS} s",
        memory=cost.grown,
    )


def answer_rows(scene: Scene) -> list[Row]:
    """A thousand certificates, asked about again and again: kept answers, and with a nonce signed."""
    from django.utils import timezone

    from pki import ocsp

    found = [bytes(der) for der in scene.authority.issued.values_list("der", flat=True)[:ASKED]]
    plain = [ocsp_request(scene, der) for der in found]
    signed = [ocsp_request(scene, der, nonce=bytes(32)) for der in found]
    now, slug = timezone.now(), scene.authority.slug

    def respond(request: bytes) -> bytes:
        return ocsp.respond(request, authority=scene.authority, at=now)

    first = cost_of(lambda: [respond(request) for request in plain])
    kept = rate_of(lambda i: respond(plain[i % ASKED]), ANSWERS)
    ocsp.cache.compare(ocsp.changes.current_version(), read_at=time.monotonic() + 3600)
    remembered = rate_of(
        lambda i: ocsp.answer_from_memory(plain[i % ASKED], slug=slug, at=now).der, ANSWERS
    )
    fresh = rate_of(lambda i: respond(signed[i % ASKED]), ASKED)
    theirs = scene.openssl.signatures_a_second()
    return [
        Row(
            "OCSP answers from the cache (the trust version read for each)",
            str(kept),
            f"≥ {ANSWERS_A_SECOND:,}/s",
            memory=f"{first.grown} for {ASKED:,}",
        ),
        Row("the same from memory, as the server's event loop asks", str(remembered)),
        Row(
            "OCSP answers signed afresh (nonce)",
            str(fresh),
            openssl=f"{theirs:,.0f} bare P-256 signatures/s ({theirs / fresh.cpu:.0f} times)",
        ),
    ]


def issue_rows(scene: Scene) -> list[Row]:
    """Checks, lint, signature, row and audit entry for a request: one at a time, then many.

    On a machine that does other things too, the quickest step says most about the work itself, and
    the middle one about the machine, so both are told.
    """
    from django.utils import timezone

    from pki import issuance
    from pki.wanted import Wanted

    wanted = [
        Wanted("person", csr=csr(), owner=scene.people[number % PEOPLE], device="benchmark")
        for number in range(WARMING + ISSUES + MANY * SLICES)
    ]
    made_by = {"actor": "benchmark", "authority": scene.authority}

    def issue(asked: list[Any]) -> None:
        found = issuance.prepare_many(wanted=asked, at=timezone.now(), **made_by)
        issuance.issue_many(found)

    for one in wanted[:WARMING]:  # what is done once per process
        issue([one])
    single = wanted[WARMING:][:ISSUES]
    cost = cost_of(lambda: rate_of(lambda i: issue([single[i]]), ISSUES))
    theirs = scene.openssl.issues_a_second(ISSUES)
    steps = [wanted[-MANY * step :][:MANY] for step in range(1, SLICES + 1)]
    before, database = resident(), database_seconds()
    rates = sorted((rate_of(lambda _, step=step: issue(step), 1) for step in steps), key=by_cpu)
    spent, grown = database_seconds() - database, resident() - before
    best, middle = (
        Rate(rate.cpu * MANY, rate.wall * MANY) for rate in (rates[-1], rates[SLICES // 2])
    )
    return [
        Row(
            "certificates issued one at a time with lint, row and audit",
            str(cost.result),
            openssl=f"{theirs:,.0f}/s, no lint ({theirs / cost.result.wall:.1f} times)",
            memory=cost.grown,
        ),
        Row(
            f"the same, {MANY} in a transaction: the quickest of {SLICES}, and the middle one",
            f"{best}; {middle}",
            f"≥ {ISSUES_A_SECOND}/s",
            f"{theirs:,.0f}/s, no lint ({theirs / best.wall:.1f} times)",
            f"{max(0, grown) / 2**20:+.0f} MiB",
        ),
        Row(
            "and PostgreSQL's own CPU for each of these",
            f"{spent / (MANY * SLICES) * 1000:.2f} ms" if spent else "(not on this machine)",
        ),
    ]


def by_cpu(rate: Rate) -> float:
    return rate.cpu


def csr() -> Any:
    from cryptography import x509

    from pki import algorithms

    key = algorithms.generate("p256")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithms.signature_hash(key))


def database_seconds() -> float:
    """CPU of the process that serves our connection; 0 where that cannot be known."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ocsp_request(scene: Scene, der: bytes, *, nonce: bytes = b"") -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import OCSPNonce, load_der_x509_certificate, ocsp

    builder = ocsp.OCSPRequestBuilder().add_certificate(
        load_der_x509_certificate(der),
        scene.issuer,
        SHA1(),  # noqa: S303
    )
    if nonce:
        builder = builder.add_extension(OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@dataclass
class Cost:
    """Of one call: seconds of this process's CPU and of the clock, and what the process grew by."""

    cpu: float
    wall: float
    grown: str
    result: Any

    def __str__(self) -> str:
        return f"{self.cpu:.2f} s CPU, {self.wall:.2f} s"


@dataclass
class Rate:
    """Calls a second of this process's CPU, and of the clock."""

    cpu: float
    wall: float

    def __str__(self) -> str:
        return f"{self.cpu:,.0f}/s of CPU, {self.wall:,.0f}/s"


def cost_of(call: Callable[[], Any]) -> Cost:
    before, cpu, wall = resident(), time.process_time(), time.perf_counter()
    result = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu, wall, f"{max(0, resident() - before) / 2**20:+.0f} MiB", result)


def rate_of(call: Callable[[int], object], times: int) -> Rate:
    cost = cost_of(lambda: [call(i) for i in range(times)] and None)
    return Rate(times / cost.cpu, times / cost.wall)


def resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def show(rows: list[Row], arguments: argparse.Namespace) -> None:
    where = "PostgreSQL" if arguments.database else "SQLite"
    print(
        f"{arguments.certificates:,} certificates, {arguments.revoked:,} of them revoked, on {where}\n"
    )
    print(
        "| what | here (CPU of one core, then the clock) | goal | openssl, by the clock | memory |"
    )
    print("|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.figure} | {row.goal} | {row.openssl} | {row.memory} |")


if __name__ == "__main__":
    main()
