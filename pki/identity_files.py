"""Files with private keys that people hand in, opened in a process of its own. No database.

Such a file says itself how much work it is to open: its key derivation may ask for two thousand
million rounds or all the memory there is, in a layer that only shows once the one above it is
open. The library does that work while it holds the interpreter, so that nothing else runs here.
What always holds: the child gets the file and the password through its standard input, is ended
when its time is up, and has no more memory than it is given.
"""

from __future__ import annotations

import base64
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from pki.errors import BadFileError

SECONDS = 10
MEMORY = 1024 * 1024 * 1024
CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pki import identity_files; "
    "identity_files.answer()"
)
ANSWERED = (TypeError, ValueError, UnsupportedAlgorithm)
TOO_MUCH = (
    f"This file asks for more than {SECONDS} seconds of work, or too much memory, to be opened. "
    "Write it anew with fewer rounds of its key derivation."
)


@dataclass(frozen=True)
class Opened:
    """The key of a file as PKCS #8, checked, where it has one, and its certificates, the key's
    own first."""

    key: bytes | None
    certificates: list[x509.Certificate]


def open_pkcs12(data: bytes, password: bytes | None) -> Opened:
    """What is in a PKCS #12 file. Raises ValueError for a wrong password or another kind of file,
    UnsupportedAlgorithm, and BadFileError for one that takes too much to be opened."""
    return _ask("pkcs12", data, password)


def open_pem_key(data: bytes, password: bytes | None) -> Opened:
    """A private key in PEM. Raises as `open_pkcs12` does, and TypeError where a password is
    missing or needless."""
    return _ask("pem", data, password)


def answer() -> None:
    """The child: reads the question, opens the file, writes what was in it or why not."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))  # the time is the parent's to measure
    asked = json.load(sys.stdin)
    password = asked["password"] and base64.b64decode(asked["password"])
    try:
        said = READERS[asked["kind"]](base64.b64decode(asked["data"]), password)
    except ANSWERED as error:
        said = {"error": type(error).__name__, "reason": str(error)}
    json.dump(said, sys.stdout)


def _ask(kind: str, data: bytes, password: bytes | None) -> Opened:
    asked = {"kind": kind, "data": _text(data), "password": password and _text(password)}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", CHILD, str(Path(__file__).resolve().parents[1])],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadFileError(TOO_MUCH) from None
    if done.returncode:
        raise BadFileError(TOO_MUCH)
    said = json.loads(done.stdout)
    if "error" in said:
        raise {each.__name__: each for each in ANSWERED}[said["error"]](said["reason"])
    ders = [base64.b64decode(each) for each in said["certificates"]]
    return Opened(
        key=base64.b64decode(said["key"]) if said["key"] else None,
        certificates=[x509.load_der_x509_certificate(der) for der in ders],
    )


def _from_pkcs12(data: bytes, password: bytes | None) -> dict[str, Any]:
    opened = pkcs12.load_pkcs12(data, password)
    entries = [opened.cert, *opened.additional_certs]
    found = [entry.certificate for entry in entries if entry is not None]
    return {
        "key": _pkcs8(opened.key) if opened.key else None,
        "certificates": [_text(one.public_bytes(Encoding.DER)) for one in found],
    }


def _from_pem(data: bytes, password: bytes | None) -> dict[str, Any]:
    return {"key": _pkcs8(load_pem_private_key(data, password)), "certificates": []}


READERS = {"pkcs12": _from_pkcs12, "pem": _from_pem}


def _pkcs8(key: Any) -> str:
    return _text(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
