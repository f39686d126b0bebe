"""Bytes of attachments on disk, under SIGNET_HOME/uploads; all that knows how they lie there.

What always holds:
  1. names are drawn here and never come from a person, in two levels of directories;
  2. nobody but the account that serves may read them: 0700 and 0600;
  3. what is still coming, or has not been looked at, bears `.part`, and is never sent to anybody.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from chat.errors import StorageFullError, UnavailableError

logger = logging.getLogger("chat")

DIRECTORIES = 256  # of the first level, named by the first byte
PART, THUMBNAIL = ".part", ".thumb"
FULL = {errno.ENOSPC, errno.EDQUOT}


def path(key: uuid.UUID, suffix: str = "") -> Path:
    name = key.hex
    home: Path = settings.SIGNET_HOME
    return home / "uploads" / name[:2] / name[2:4] / (name + suffix)


def write(key: uuid.UUID, data: bytes, *, offset: int) -> None:
    """Put a piece of an upload in its place. Raises UnavailableError where the disk refuses."""
    place = path(key, PART)
    try:
        _make_room(place)
        with _opened(place, os.O_WRONLY | os.O_CREAT) as file:
            file.seek(offset)
            file.write(data)
    except OSError as error:
        raise _refused(error) from error


def write_thumbnail(key: uuid.UUID, data: bytes) -> None:
    place = path(key, THUMBNAIL)
    try:
        with _opened(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            file.write(data)
    except OSError as error:
        raise _refused(error) from error


def come(key: uuid.UUID) -> Path:
    """Where all of the bytes are, whether or not they have been kept."""
    part = path(key, PART)
    return part if part.exists() else path(key)


def fingerprint(place: Path) -> str:
    """The SHA-256 of a file, which is on disk then."""
    try:
        with place.open("rb") as file:
            os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _refused(error) from error


def keep(key: uuid.UUID) -> None:
    """Let the file be sent from now on; a second time changes nothing."""
    try:
        path(key, PART).rename(path(key))
    except FileNotFoundError:
        if not path(key).exists():
            raise UnavailableError from None
    except OSError as error:
        raise _refused(error) from error


def remove(key: uuid.UUID) -> None:
    """Remove all of it. What cannot be removed now is found by `attachments.remove_strays` later."""
    for suffix in (PART, THUMBNAIL, ""):
        try:
            path(key, suffix).unlink(missing_ok=True)
        except OSError as error:
            logger.error("The file %s cannot be removed: %s", key.hex, error.strerror)


def keys(directory: int, *, before: dt.datetime) -> Iterator[uuid.UUID]:
    """What lies in one directory of the first level, and has not been written to since `before`."""
    root = settings.SIGNET_HOME / "uploads" / f"{directory:02x}"
    for place in root.glob("*/*"):
        try:
            key = uuid.UUID(hex=place.stem)
            if place.stat().st_mtime < before.timestamp():
                yield key
        except (OSError, ValueError):  # gone meanwhile, or not ours
            continue


def _make_room(place: Path) -> None:
    for directory in reversed(place.parents[:3]):
        directory.mkdir(mode=0o700, exist_ok=True)


def _opened(place: Path, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(place, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def _refused(error: OSError) -> UnavailableError:
    logger.error("Uploads cannot be stored: %s", error.strerror)
    return StorageFullError() if error.errno in FULL else UnavailableError(CANNOT_STORE)


CANNOT_STORE = "Files cannot be stored now. Try again later, or tell an admin."
