"""Static files under addresses that name their contents, so that browsers may keep them for good.

An address is /static/<version>/<name>, and what a file names beside itself keeps the version. Any
version is answered with the file as it is now, but only the own one may be kept: while processes of
two versions answer, no page misses a file, and none keeps one of the other version.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import MissingFileError

DIGITS = 12
VERSION = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
FOR_GOOD = "max-age=31536000, public, immutable"
ASK_AGAIN = "no-cache, public"


@dataclass(frozen=True)
class Inventory:
    """The static files as this process found them."""

    version: str
    states: dict[str, tuple[str, int, int]]  # name → path, time and size

    def is_as_found(self, name: str) -> bool:
        """False too where an upgrade has replaced the file under a process that still runs."""
        path, *state = self.states.get(name, ("", 0, 0))
        try:
            return [*_state(path)] == state
        except OSError:
            return False


@cache
def inventory() -> Inventory:
    """Reads all static files once in a process."""
    digest, states = hashlib.sha256(), {}
    for name, path in sorted(_files().items()):
        states[name] = (path, *_state(path))
        with open(path, "rb") as file:
            contents = hashlib.file_digest(file, "sha256").digest()
        digest.update(hashlib.sha256(name.encode()).digest() + contents)
    return Inventory(digest.hexdigest()[:DIGITS], states)


def _files() -> dict[str, str]:
    """Where two apps have a file of one name, the first is served."""
    found: dict[str, str] = {}
    for finder in finders.get_finders():
        for name, storage in finder.list(None):
            found.setdefault(name.replace(os.sep, "/"), storage.path(name))
    return found


def _state(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


class VersionedStorage(StaticFilesStorage):
    """Writes the addresses; while developing, files change and so have no version."""

    def url(self, name: str | None) -> str:
        if settings.DEBUG or not name:
            return super().url(name)
        return super().url(f"{inventory().version}/{name}")


class StaticMiddleware(WhiteNoiseMiddleware):
    """Answers them, and addresses without a version, which may be kept for a few minutes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.found = inventory()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        version, _, name = request.path_info.removeprefix(self.static_prefix).partition("/")
        url = f"{self.static_prefix}{name}"
        if not VERSION.fullmatch(version) or url not in self.files:
            return cast(HttpResponseBase, super().__call__(request))
        is_as_found = self.found.is_as_found(name)
        try:
            file = self.files[url] if is_as_found else self.get_static_file(self._path(name), url)
        except MissingFileError:
            return cast(HttpResponseBase, self.get_response(request))
        response = cast(HttpResponseBase, self.serve(file, request))
        is_own = is_as_found and version == self.found.version
        response["Cache-Control"] = FOR_GOOD if is_own else ASK_AGAIN
        return response

    def _path(self, name: str) -> str:
        return self.found.states[name][0]
