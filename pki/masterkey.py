"""The master key: one secret in one file, from which every other secret is derived.

What always holds here:
  1. a master key is made once, by `create`, and never overwritten;
  2. a file that others may read is refused;
  3. the secret itself leaves this module only as a derived key (HKDF, RFC 5869);
  4. a file that was changed is read again before its key is used.

While everything is wrapped anew, `<file>.next` holds the key to come and `<file>` the one in force.
At the end they change places in one step, and the former key stays as `<file>.old-<identifier>`.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import time
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pki.errors import MasterKeyInvalidError, MasterKeyMissingError

SECRET_BYTES = 32
# A file that was written this recently may be written again without a change of its times.
SETTLED_NS = 100_000_000


@dataclass(frozen=True)
class MasterKey:
    """A master key in memory; `repr` shows its identifier alone."""

    secret: bytes = field(repr=False)

    @cached_property
    def identifier(self) -> str:
        """16 hex digits that name this key without revealing it."""
        return self.derive("identifier", length=8).hex()

    def derive(self, purpose: str, *, length: int = 32) -> bytes:
        """A key of `length` bytes for one purpose; the same purpose always gives the same key."""
        return _derive(self.secret, purpose, length)


@cache
def _derive(secret: bytes, purpose: str, length: int) -> bytes:
    info = f"signet/1/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


_read: dict[Path, tuple[tuple[int, ...], MasterKey]] = {}


def load(path: Path) -> MasterKey:
    """The master key in a file, as the file is now.

    Refuses: a missing file (MasterKeyMissingError); a file that group or others may access, or
    whose content is not 32 bytes in base64 (MasterKeyInvalidError).
    """
    try:
        found = path.stat()
        # The time of change is the kernel's own: nobody sets it back.
        state = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mode)
        known = _read.get(path)
        if known is not None and known[0] == state:
            return known[1]
        text = path.read_bytes()
    except FileNotFoundError:
        raise MasterKeyMissingError(path) from None
    except OSError as error:
        raise MasterKeyInvalidError(path, f"cannot be read ({error.strerror})") from None
    key = _parse(path, found.st_mode, text)
    if time.time_ns() - found.st_ctime_ns > SETTLED_NS:
        _read[path] = (state, key)
    return key


def following(path: Path) -> Path:
    """Where the master key to come is, while everything is wrapped anew."""
    return path.with_name(f"{path.name}.next")


def former(path: Path, identifier: str) -> Path:
    """Where a master key stays that is no longer in force."""
    return path.with_name(f"{path.name}.old-{identifier}")


def find(path: Path, identifier: str) -> MasterKey | None:
    """The master key of this identifier: the one in force, the one to come, or a former one.

    None where no file beside `path` holds it. Refuses what `load` refuses of the key in force.
    """
    current = load(path)
    if current.identifier == identifier:
        return current
    for other in (following(path), former(path, identifier)):
        if other.exists() and (key := load(other)).identifier == identifier:
            return key
    return None


def prepare(path: Path, source: Path | None) -> MasterKey:
    """Put the master key to come beside the one in force; it is made where there is none yet.

    `source` is where it is kept, or shall be; it may be None where it was prepared before. Prepared
    already, it changes nothing. Refuses another key than was prepared before, and the one that is in force
    (MasterKeyInvalidError).
    """
    target = following(path)
    wanted = None
    if source is not None:
        wanted = load(source) if source.exists() else create(source)
        if wanted.identifier == load(path).identifier and not target.exists():
            raise MasterKeyInvalidError(source, "is the one that is in force already")
    if wanted is not None and not target.exists():
        _write(target, wanted.secret)
    prepared = load(target)
    if wanted is not None and wanted.identifier != prepared.identifier:
        raise MasterKeyInvalidError(
            source or target,
            f"is another one than {target}, with which wrapping anew was begun; finish that first, "
            "by running the command without a file",
        )
    return prepared


def promote(path: Path) -> None:
    """Put the key to come in force, in one step; the former one stays beside it."""
    old = former(path, load(path).identifier)
    if not old.exists():
        os.link(path, old)
    os.replace(following(path), path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(path: Path, mode: int, text: bytes) -> MasterKey:
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
    return _write(path, os.urandom(SECRET_BYTES))


def _write(path: Path, secret: bytes) -> MasterKey:
    """Whole or not at all: a reader never sees half a key."""
    text = base64.b64encode(secret) + b"\n"
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(passing, path)  # refuses an existing file, as a rename would not
    finally:
        os.unlink(passing)
    return MasterKey(secret)
