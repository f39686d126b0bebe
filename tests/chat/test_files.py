"""Bytes on disk: where they lie, who may read them, and what a disk that refuses leads to."""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
import uuid

import pytest

from chat import files
from chat.errors import StorageFullError, UnavailableError

KEY = uuid.UUID("0123456789abcdef0123456789abcdef")
TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path
    return tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_pieces_come_together_and_are_kept(home):
    files.write(KEY, b"hello ", offset=0)
    files.write(KEY, b"world", offset=6)
    assert files.come(KEY) == home / "uploads/01/23" / f"{KEY.hex}.part"
    files.keep(KEY)
    files.keep(KEY)
    assert files.come(KEY) == files.path(KEY) == home / "uploads/01/23" / KEY.hex
    assert files.path(KEY).read_bytes() == b"hello world"


def test_nobody_else_may_read_them(home):
    before = os.umask(0)
    try:
        files.write(KEY, b"x", offset=0)
        files.write_thumbnail(KEY, b"x")
    finally:
        os.umask(before)
    assert [mode(path) for path in sorted(files.path(KEY).parent.iterdir())] == [0o600, 0o600]
    assert {mode(path) for path in files.path(KEY).parents[:3]} == {0o700}


def test_fingerprint_is_of_the_whole():
    files.write(KEY, b"abc", offset=0)
    assert files.fingerprint(files.come(KEY)).startswith("ba7816bf8f01cfea")


def test_link_in_the_place_of_an_upload_is_not_followed(home):
    files.write(KEY, b"x", offset=0)
    files.path(KEY, files.PART).unlink()
    (home / "elsewhere").write_bytes(b"kept")
    files.path(KEY, files.PART).symlink_to(home / "elsewhere")
    with pytest.raises(UnavailableError):
        files.write(KEY, b"y", offset=0)
    assert (home / "elsewhere").read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EROFS, UnavailableError),
    ],
)
def test_disk_that_refuses_is_unavailable(monkeypatch, number, error):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_opened", refuse)
    for write in (
        lambda: files.write(KEY, b"x", offset=0),
        lambda: files.write_thumbnail(KEY, b"x"),
    ):
        with pytest.raises(UnavailableError) as caught:
            write()
        assert type(caught.value) is error


def test_what_is_missing_is_unavailable():
    for ask in (lambda: files.fingerprint(files.come(KEY)), lambda: files.keep(KEY)):
        with pytest.raises(UnavailableError):
            ask()


def test_all_of_it_is_removed_and_found_by_its_age():
    files.write(KEY, b"x", offset=0)
    files.keep(KEY)
    files.write_thumbnail(KEY, b"x")
    (files.path(KEY).parent / "not ours").write_text("x")
    assert set(files.keys(1, before=TOMORROW)) == {KEY}
    assert set(files.keys(1, before=TOMORROW - dt.timedelta(days=2))) == set()
    assert set(files.keys(2, before=TOMORROW)) == set()
    files.remove(KEY)
    files.remove(KEY)
    assert set(files.keys(1, before=TOMORROW)) == set()
