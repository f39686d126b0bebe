"""A database of an earlier release, and this one's code."""

from __future__ import annotations

import sqlite3

import pytest

from tests.e2e.server import Signet

FIRST = "0001_initial"


@pytest.fixture
def earlier(tmp_path) -> Signet:
    """The tables as the first release made them, with a key and a person's certificate in them."""
    signet = Signet(tmp_path / "var")
    signet.manage("migrate", "--verbosity", "0", "--skip-checks", "pki", FIRST)
    with sqlite3.connect(signet.home / "signet.sqlite3") as database:
        database.execute(
            "INSERT INTO pki_privatekey (spki_sha256, algorithm, wrapped, wrapped_by, created_at)"
            " VALUES ('aa', 'p256', x'00', 'bb', '2026-01-01')"
        )
        database.execute(
            "INSERT INTO pki_user (id, password, is_superuser, is_staff, is_active, email, username,"
            " name, date_joined) VALUES (7, '', 0, 0, 1, '', 'alice', '', '2026-01-01')"
        )
        database.execute(
            "INSERT INTO pki_certificate (profile, serial, sha256, spki_sha256, subject, not_before,"
            " not_after, der, owner_id, device, issued_at, issued_by, revocation_reason)"
            " VALUES ('person', '1', 'cc', 'dd', 'CN=alice', '2026-01-01', '2027-01-01', x'00', 7,"
            " 'laptop', '2026-01-01', 'admin', '')"
        )
    return signet


def test_commands_say_what_to_do_before_the_tables_are_migrated(earlier):
    for command in (["list_cas"], ["verify_audit"], ["create_ca", "Another Root"]):
        refused = earlier.manage(*command, check=False)
        assert refused.returncode == 1
        assert refused.stderr.strip().endswith(
            "The database is empty, or older than this Signet. Run: manage.py migrate"
        )
        assert "Traceback" not in refused.stderr


def test_migration_keeps_what_was_there(earlier):
    earlier.manage("migrate", "--verbosity", "0")
    told = earlier.shell(
        "from pki.models import *; certificate = Certificate.objects.get();"
        "print(certificate.signs_in, certificate.owner, PrivateKey.objects.get().backend,"
        " CertificateProfile.objects.count())"
    )
    assert told.split() == ["True", "alice", "database", "7"]
