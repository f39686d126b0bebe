"""What a handshake costs on a `required` endpoint while many certificates are revoked.

    python benchmarks/handshakes.py [--revoked 0 1000 100000] [--handshakes 300]

Both ends are in this process and talk through memory, so a figure is the CPU of a client and of the
server together. "all CRLs" is what it costs where the look-up of `project.tls.crls` cannot be had.
"""

from __future__ import annotations

import argparse
import datetime as dt
import secrets
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives.hashes import SHA256  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402

from project.tls import context, crls  # noqa: E402
from tests.certs import SERVER, Authority, Leaf, make_ca  # noqa: E402
from tests.project.tls.conftest import Trust  # noqa: E402

VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
REVOKED = "SSLV3_ALERT_CERTIFICATE_REVOKED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revoked", type=int, nargs="+", default=[0, 1000, 100_000])
    parser.add_argument("--handshakes", type=int, default=300, help="for each figure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signet-benchmark-") as folder:
        ground = Ground(Path(folder))
        print("| revoked | TLS | not revoked | revoked | all CRLs | CRLs read (CPU) | memory |")
        print("|---|---|---|---|---|---|---|")
        for count in arguments.revoked:
            measure(ground, count, arguments.handshakes)


class Ground:
    """One CA with a server, and a client that is revoked and one that is not."""

    def __init__(self, folder: Path) -> None:
        self.root = make_ca("Root")
        self.issuing = self.root.make_ca("Issuing")
        server = self.issuing.issue("localhost", purposes=SERVER, hosts=["localhost"])
        self.server = server.write_pem(folder / "server.pem")
        self.good, self.revoked = self.issuing.issue("alice"), self.issuing.issue("bob")
        self.files = {
            leaf: leaf.write_pem(folder / f"{name}.pem")
            for name, leaf in (("good", self.good), ("revoked", self.revoked))
        }

    def contexts(self, trust: Trust) -> context.Contexts:
        return context.build(
            policy="intermediate",
            client_certificate="required",
            snapshot=trust,
            load_chain=lambda target: target.load_cert_chain(self.server),
        )

    def client(self, leaf: Leaf, version: ssl.TLSVersion) -> ssl.SSLContext:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.minimum_version = client.maximum_version = version
        client.load_verify_locations(cadata=self.root.der)
        client.load_cert_chain(self.files[leaf])
        return client

    def trust(self, count: int) -> Trust:
        serials = [secrets.randbits(158) for _ in range(count)]
        issuing = crl(self.issuing, [*serials, self.revoked.certificate.serial_number])
        return Trust((self.root.der,), (self.issuing.der,), (issuing, crl(self.root, [])))


def crl(authority: Authority, serials: list[int]) -> bytes:
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=1)
    empty = authority.crl(at=begin)
    builder = x509.CertificateRevocationListBuilder(
        empty.issuer,
        empty.last_update_utc,
        empty.next_update_utc,
        list(empty.extensions),
        [x509.RevokedCertificateBuilder(serial, begin).build() for serial in serials],
    )
    return builder.sign(authority.key, SHA256()).public_bytes(Encoding.DER)


def measure(ground: Ground, count: int, handshakes: int) -> None:
    trust, before = ground.trust(count), resident()
    began = time.process_time()
    screened = ground.contexts(trust)
    read, grown = time.process_time() - began, resident() - before
    for name, version in VERSIONS.items():
        good, revoked = (ground.client(leaf, version) for leaf in (ground.good, ground.revoked))
        figures = [
            cost(screened, good, handshakes, expected="ok"),
            cost(screened, revoked, handshakes, expected=REVOKED),
        ]
        with all_crls():
            whole = ground.contexts(trust)
            figures.append(cost(whole, good, handshakes, expected="ok"))
        shown = " | ".join(f"{figure:.2f} ms" for figure in figures)
        print(f"| {count:,} | {name} | {shown} | {read * 1000:.0f} ms | {grown:.0f} MiB |")


@contextmanager
def all_crls() -> Iterator[None]:
    """As on a Python that does not let us at its OpenSSL."""
    screens, mode = crls.SCREENS, context.MODES["required"]
    crls.SCREENS = False
    context.MODES["required"] = (ssl.CERT_REQUIRED, ssl.VERIFY_CRL_CHECK_CHAIN)
    try:
        yield
    finally:
        crls.SCREENS, context.MODES["required"] = screens, mode


def cost(
    contexts: context.Contexts, client: ssl.SSLContext, handshakes: int, *, expected: str
) -> float:
    """Milliseconds of CPU for one handshake, after a first one that nobody counts."""
    assert handshake(contexts, client) == expected
    began = time.process_time()
    for _ in range(handshakes):
        handshake(contexts, client)
    return (time.process_time() - began) / handshakes * 1000


def handshake(contexts: context.Contexts, client: ssl.SSLContext) -> str:
    """ "ok", or the alert that the client received."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    ours = contexts.wrap(to_server, to_client)
    for step in (theirs, ours) * 3:
        try:
            step.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            if step is theirs:
                return str(error.reason)
    try:
        theirs.read(1)
    except ssl.SSLWantReadError:
        return "ok"
    except ssl.SSLError as error:
        return str(error.reason)
    return "closed"


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024**2


if __name__ == "__main__":
    main()
