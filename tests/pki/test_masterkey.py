from __future__ import annotations

import base64
import time

import pytest

from pki import masterkey
from pki.errors import MasterKeyInvalidError, MasterKeyMissingError


def test_created_key_is_read_back_and_its_owner_alone_may_read_it(tmp_path):
    path = tmp_path / "home" / "master.key"
    created = masterkey.create(path)

    assert masterkey.load(path) == created
    assert path.stat().st_mode & 0o777 == 0o600


def test_existing_key_is_never_overwritten(tmp_path):
    path = tmp_path / "master.key"
    first = masterkey.create(path)

    with pytest.raises(FileExistsError):
        masterkey.create(path)
    assert masterkey.load(path) == first


def test_missing_key_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(MasterKeyMissingError, match="Put the file back from your backup"):
        masterkey.load(tmp_path / "master.key")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (base64.b64encode(b"x" * 32), 0o644, "may be read by others"),
        (base64.b64encode(b"x" * 32), 0o640, "may be read by others"),
        (b"not base64!", 0o600, "does not hold base64"),
        (base64.b64encode(b"x" * 31), 0o600, "must hold 32 bytes"),
        (b"", 0o600, "must hold 32 bytes"),
    ],
)
def test_bad_key_file_is_refused(tmp_path, content, mode, reason):
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(mode)

    with pytest.raises(MasterKeyInvalidError, match=reason):
        masterkey.load(path)


def test_each_purpose_has_a_key_of_its_own_and_repr_shows_none(tmp_path):
    key = masterkey.create(tmp_path / "master.key")

    assert key.derive("one") == key.derive("one")
    assert key.derive("one") != key.derive("two")
    assert key.secret.hex() not in repr(key)
    assert str(key.secret) not in repr(key)


def test_changed_file_is_read_again(tmp_path, monkeypatch):
    """Also where it is changed within a tick of the clock, and where only its mode is."""
    path = tmp_path / "master.key"
    keys = [masterkey.create(tmp_path / f"{number}.key") for number in range(20)]
    for number, key in enumerate(keys):
        path.write_bytes((tmp_path / f"{number}.key").read_bytes())
        path.chmod(0o600)
        assert masterkey.load(path) == key
    with monkeypatch.context() as patch:
        patch.setattr(masterkey, "SETTLED_NS", 60 * 10**9)
        path.chmod(0o600)  # just now, however long the last round took
        assert masterkey.load(path) is not masterkey.load(
            path
        )  # too young to be known by its times
    time.sleep(0.2)
    assert masterkey.load(path) is masterkey.load(path)
    path.chmod(0o640)
    with pytest.raises(MasterKeyInvalidError, match="may be read by others"):
        masterkey.load(path)
    path.unlink()
    with pytest.raises(MasterKeyMissingError):
        masterkey.load(path)


def test_key_to_come_takes_the_place_of_the_one_in_force(tmp_path):
    path, source = tmp_path / "master.key", tmp_path / "elsewhere" / "new.key"
    old = masterkey.create(path)
    new = masterkey.prepare(path, source)
    assert masterkey.prepare(path, None) == masterkey.prepare(path, source) == new
    assert masterkey.load(source) == new
    assert masterkey.load(path) == old
    assert masterkey.find(path, new.identifier) == new

    masterkey.promote(path)

    assert masterkey.load(path) == new
    assert masterkey.find(path, old.identifier) == old
    assert masterkey.find(path, "0" * 16) is None
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(MasterKeyInvalidError, match="in force already"):
        masterkey.prepare(path, source)
