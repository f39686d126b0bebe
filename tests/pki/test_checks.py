"""System checks: they speak, and they are silent before the first migration."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.checks import Tags, run_checks
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from pki import authorities, checks, crl, masterkey, truststore
from pki.models import Endpoint, RevocationList
from tests.certs import make_ca
from tests.factories import PKI, make_server_certificate


def _ids(*, database: bool = True) -> list[str | None]:
    messages = run_checks(tags=[Tags.database], databases=["default"]) if database else run_checks()
    return [message.id for message in messages if (message.id or "").startswith("pki.")]


def _endpoint(pki: PKI) -> Endpoint:
    return Endpoint.objects.create(
        name="main",
        port=8443,
        certificate=make_server_certificate(pki.issuing),
        client_certificate="optional",
        truststore=pki.truststore,
        serves="main",
    )


def test_certificate_from_elsewhere_that_ends_is_a_warning(pki: PKI) -> None:
    used = _endpoint(pki).certificate
    used.__class__.objects.filter(pk=used.pk).update(
        is_outside=True, not_after=timezone.now() + dt.timedelta(days=9)
    )
    assert _ids() == ["pki.W003"]
    Endpoint.objects.update(enabled=False)
    assert _ids() == []


def test_all_is_well(pki: PKI) -> None:
    _endpoint(pki)
    assert _ids() == []
    assert checks.master_key_file() == []


@pytest.mark.parametrize(
    ("mode", "found"), [(0o600, []), (0o400, []), (0o640, ["pki.E001"]), (0o604, ["pki.E001"])]
)
def test_master_key_file_open_to_others(
    settings, tmp_path: Path, mode: int, found: list[str]
) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "master.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    settings.SIGNET_MASTER_KEY_FILE.chmod(mode)
    assert [message.id for message in checks.master_key_file()] == found


def test_master_key_file_before_the_first_start(settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "master.key"
    assert checks.master_key_file() == []


def test_change_of_the_master_key_that_is_not_finished(settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "master.key"
    masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    assert checks.master_key_change() == []
    masterkey.prepare(settings.SIGNET_MASTER_KEY_FILE, tmp_path / "new.key")
    assert [message.id for message in checks.master_key_change()] == ["pki.W004"]
    masterkey.promote(settings.SIGNET_MASTER_KEY_FILE)
    assert checks.master_key_change() == []


@pytest.mark.parametrize("made", [False, True], ids=["missing", "another"])
def test_master_key_does_not_open_the_keys(pki: PKI, settings, tmp_path: Path, made: bool) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "other.key"
    if made:
        masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    assert _ids() == ["pki.E002"]


def test_stale_crl(pki: PKI, at: dt.datetime) -> None:
    assert _ids() == []
    RevocationList.objects.filter(authority=pki.issuing).update(
        next_update=timezone.now() - dt.timedelta(seconds=1)
    )
    assert _ids() == ["pki.W001"]
    crl.publish(authority=pki.issuing, actor="admin", at=at)
    assert _ids() == []


def test_crls_of_cas_elsewhere_are_not_ours_to_publish(pki: PKI, at: dt.datetime) -> None:
    partner = make_ca("Partner").certificate.public_bytes(Encoding.DER)
    authorities.record_outside_authority(actor="admin", certificate=partner, at=at)
    assert _ids() == []


def test_endpoint_that_trusts_nobody(pki: PKI, at: dt.datetime) -> None:
    endpoint = _endpoint(pki)
    [anchor] = pki.truststore.anchors.all()
    truststore.withdraw_anchor(actor="admin", anchor=anchor, at=at)
    assert _ids() == ["pki.W002"]
    Endpoint.objects.filter(pk=endpoint.pk).update(enabled=False)
    assert _ids() == []


def test_nothing_is_asked_of_a_database_that_is_not_migrated(
    pki: PKI, settings, tmp_path: Path
) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    assert _ids() == ["pki.E002"]
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("pki")
    MigrationRecorder(connection).record_unapplied(*newest)
    assert _ids() == []


def test_database_is_asked_only_where_it_may_be(pki: PKI, settings, tmp_path: Path) -> None:
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "gone.key"
    assert checks.database(databases=None) == []
    assert checks.database(databases=["other"]) == []
    assert checks.database(databases=["default"]) != []
