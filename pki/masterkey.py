"""The master key: one secret in one file, from which every other secret is derived.

What always holds here:
  1. a master key is made once, by `create`, and never overwritten;
  2. a file that others may read is refused;
  3. the secret itself leaves this module only as a derived key (HKDF, RFC 5869).
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pki.errors import MasterKeyInvalidError, MasterKeyMissingError

SECRET_BYTES = 32


@dataclass(frozen=True)
class MasterKey:
    """A master key in memory; `repr` shows its identifier alone."""

    secret: bytes = field(repr=False)

    @property
    def identifier(self) -> str:
        """16 hex digits that name this key without revealing it."""
        return self.derive("identifier", length=8).hex()

    def derive(self, purpose: str, *, length: int = 32) -> bytes:
        """A key of `length` bytes for one purpose; the same purpose always gives the same key."""
        info = f"signet/1/{purpose}".encode()
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(self.secret)


def load(path: Path) -> MasterKey:
    """Read the master key.

    Refuses: a missing file (MasterKeyMissingError); a file that group or others may access, or
    whose content is not 32 bytes in base64 (MasterKeyInvalidError).
    """
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except FileNotFoundError:
        raise MasterKeyMissingError(path) from None
    except OSError as error:
        raise MasterKeyInvalidError(path, f"cannot be read ({error.strerror})") from None
    if stat.S_IMODE(mode) & 0o077:
        raise MasterKeyInvalidError(path, "may be read by others; run: chmod 600 on it")
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise MasterKeyInvalidError(path, "does not hold base64") from None
    if len(secret) != SECRET_BYTES:
        raise MasterKeyInvalidError(path, f"must hold {SECRET_BYTES} bytes in base64")
    return MasterKey(secret)


def create(path: Path) -> MasterKey:
    """Make a new master key at `path`, mode 0600; refuses an existing file (FileExistsError)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = os.urandom(SECRET_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secret) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return MasterKey(secret)
