"""An unsafe start is refused, by id."""

from __future__ import annotations

import pytest

from project import checks


def ids(messages):
    return [message.id for message in messages]


@pytest.mark.parametrize(
    ("debug", "on_loopback", "expected"),
    [(False, False, []), (True, True, []), (True, False, ["project.E001"])],
)
def test_debug_is_for_loopback_only(settings, debug, on_loopback, expected):
    settings.DEBUG, settings.ON_LOOPBACK = debug, on_loopback
    assert ids(checks.debug_stays_at_home()) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [(["chat.example"], []), (["chat.example", "*"], ["project.E002"]), ([], ["project.E002"])],
)
def test_hosts_have_to_be_named(settings, hosts, expected):
    settings.ALLOWED_HOSTS = hosts
    assert ids(checks.hosts_are_named()) == expected


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o700, []), (0o755, ["project.E003"]), (0o775, ["project.E003"])]
)
def test_home_is_not_writable_for_others(settings, tmp_path, mode, expected):
    settings.SIGNET_HOME = tmp_path
    tmp_path.chmod(mode)
    assert ids(checks.home_is_ours()) == expected
    tmp_path.chmod(0o700)


def test_home_that_does_not_exist_yet_is_fine(settings, tmp_path):
    settings.SIGNET_HOME = tmp_path / "later"
    assert checks.home_is_ours() == []
