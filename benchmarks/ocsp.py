"""What an OCSP answer costs over HTTP, kept or signed, and `openssl ocsp` beside it.

    python benchmarks/ocsp.py [--seconds 3]

Sets up a deployment in a temporary folder, serves it, and asks it from this process; on a machine
with two processors or more the two do not take turns. The same questions go to `openssl ocsp -port`
in the same run, so that the ratio means something on any machine. Answers over HTTP are compared
with those of the first round, so that speed is not bought with wrong ones. What the answers alone
cost, without HTTP, is in `authority.py`.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.e2e.server import Signet, free_ports  # noqa: E402

SLUG = "signet-issuing"
POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="signet-benchmark-") as folder:
        signet = Signet(Path(folder) / "var")
        signet.set_up()
        signet.manage("renew_responder")
        identity = signet.issue("alice")
        requests = questions(identity)
        signet.start()
        try:
            measure_http(signet.public, requests, seconds)
        finally:
            signet.stop()
        measure_openssl(Path(folder), identity, requests, seconds)


def questions(identity: Path) -> dict[str, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import ocsp

    leaf, issuing = x509.load_pem_x509_certificates(identity.read_bytes())[:2]
    plain = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, SHA1())  # noqa: S303
    nonce = plain.add_extension(x509.OCSPNonce(bytes(32)), critical=False)
    return {
        "kept": plain.build().public_bytes(Encoding.DER),
        "with a nonce, so signed": nonce.build().public_bytes(Encoding.DER),
    }


# --- HTTP -------------------------------------------------------------------------------------


def measure_http(port: int, requests: dict[str, bytes], seconds: float) -> None:
    print("Over HTTP, one question at a time, answers a second:")
    path = f"/ocsp/{SLUG}/".encode()
    for name, request in requests.items():
        ways = {"POST": post(path, request)}
        if name == "kept":
            encoded = quote(b64encode(request), safe="").encode()
            ways["GET"] = b"GET %s%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (path, encoded)
        for way, message in ways.items():
            with connected(port) as ask:
                first = ask(message)
                rate = rate_of(lambda m=message, a=ask: a(m), seconds)
                assert name != "kept" or ask(message) == first
            print(f"  {way + ', kept alive':22} {name:26} {rate:10,.0f}")
        rate = rate_of(lambda r=request: ask_once(port, post(path, r)), seconds)
        print(f"  {'POST, connection each':22} {name:26} {rate:10,.0f}")


def measure_openssl(
    folder: Path, identity: Path, requests: dict[str, bytes], seconds: float
) -> None:
    """Its responder with the same kind of key (P-256), which signs each answer anew."""
    index, key, certificate = (folder / name for name in ("index.txt", "key.pem", "ca.pem"))
    index.write_text("")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=CA", "-days", "2"],
        check=True, capture_output=True,
    )  # fmt: skip
    (port,) = free_ports(1)
    serving = subprocess.Popen(
        ["openssl", "ocsp", "-port", str(port), "-index", index, "-CA", certificate,
         "-rsigner", certificate, "-rkey", key, "-ndays", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)  # an empty connection, to see whether it listens, makes it spin
        print("openssl ocsp -port, which signs each:")
        for name, request in requests.items():
            rate = rate_of(lambda r=request: ask_once(port, post(b"/", r)), seconds)
            print(f"  {'POST, connection each':22} {name:26} {rate:10,.0f}")
    finally:
        serving.terminate()
        serving.wait()


def post(path: bytes, request: bytes) -> bytes:
    return POST % path + b"Content-Length: %d\r\n\r\n%s" % (len(request), request)


@contextmanager
def connected(port: int) -> Iterator[Callable[[bytes], bytes]]:
    """Ask on one connection that is kept alive; returns bodies."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = peer.makefile("rb")

        def ask(message: bytes) -> bytes:
            peer.sendall(message)
            length = 0
            status = file.readline()
            assert b" 200 " in status, status
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            return file.read(length)

        yield ask


def ask_once(port: int, message: bytes) -> bytes:
    with connected(port) as ask:
        return ask(message)


def rate_of(call: Callable[[], object], seconds: float) -> float:
    call()
    count, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < seconds:
        for _ in range(20):
            call()
        count += 20
    return count / taken


if __name__ == "__main__":
    main()
