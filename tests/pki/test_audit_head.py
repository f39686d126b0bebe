"""The head that is kept elsewhere: an outsider checks it, and a shortened trail does not fit it."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pki import audit, audit_chain, audit_head, authorities, crl, masterkey
from pki.errors import AuditError, AuthorityError, BadFileError
from pki.models import AuditEntry, AuditHead, CertificateAuthority
from tests.factories import PKI, make_device, make_person

NAME = audit_head.NAME


@pytest.fixture
def exported(pki: PKI, at: dt.datetime) -> bytes:
    return audit_head.export(actor="x", authority=pki.issuing, at=at).archive()


def _cut_off_the_end(number: int) -> None:
    """By somebody who has the database: the trail itself verifies afterwards."""
    AuditEntry.objects.filter(sequence__gt=number).delete()
    last = AuditEntry.objects.get(sequence=number)
    AuditHead.objects.update(sequence=number, hash=last.hash)
    assert audit.verify() == number


def _changed(archive: bytes, **files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            new.writestr(name, files.get(name, old.read(name)))
    return packed.getvalue()


def _statement(archive: bytes) -> dict[str, object]:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return json.loads(packed.read(NAME))


@pytest.mark.parametrize("algorithm", ["p256", "p384", "ed25519", "rsa3072"])
def test_openssl_alone_checks_the_signature(
    db: None, at: dt.datetime, tmp_path: Path, algorithm: str
) -> None:
    root = authorities.create_authority(actor="x", name="Root", algorithm=algorithm, at=at)
    signed = audit_head.export(actor="x", authority=root, at=at)
    with zipfile.ZipFile(io.BytesIO(signed.archive())) as packed:
        packed.extractall(tmp_path)
    assert signed.command in (tmp_path / "README.txt").read_text()
    run = [signed.command.split(), ["openssl", "x509", "-in", "ca.pem", "-noout", "-pubkey"]]

    judged, key = (subprocess.run(c, cwd=tmp_path, capture_output=True, text=True) for c in run)

    assert judged.returncode == 0, judged.stderr
    assert key.stdout == (tmp_path / "public-key.pem").read_text()
    statement = (tmp_path / NAME).read_text()
    (tmp_path / NAME).write_text(statement.replace('"entries": ', '"entries": 1'))
    assert subprocess.run(run[0], cwd=tmp_path, capture_output=True).returncode != 0


def test_head_tells_number_and_hash_of_the_newest_entry(exported: bytes, pki: PKI) -> None:
    newest = AuditEntry.objects.exclude(action="audit.head_exported")[0]
    facts = _statement(exported)
    assert (facts["entries"], facts["hash"]) == (newest.sequence, newest.hash)
    assert facts["certificate_sha256"] == pki.issuing.certificate.sha256


def test_export_stands_in_the_trail_after_the_head(exported: bytes, pki: PKI) -> None:
    entry = AuditEntry.objects.order_by("-sequence")[0]
    assert (entry.actor, entry.action, entry.target) == (
        "x",
        "audit.head_exported",
        "CA test-issuing",
    )
    assert entry.detail["entries"] == _statement(exported)["entries"] == entry.sequence - 1
    assert audit.verify() == entry.sequence


def test_compare_with_a_trail_that_has_grown(exported: bytes, pki: PKI, at) -> None:
    number = _statement(exported)["entries"]
    crl.publish(authority=pki.issuing, actor="x", at=at)
    assert audit_head.compare(exported) == number < audit.verify()


def test_compare_with_a_trail_whose_end_was_cut_off(exported: bytes) -> None:
    number = int(str(_statement(exported)["entries"]))
    _cut_off_the_end(number - 2)
    with pytest.raises(AuditError, match=f"ends at entry {number - 2}, but it had {number}"):
        audit_head.compare(exported)


def test_compare_with_a_trail_that_was_cut_off_and_goes_on(exported: bytes, pki: PKI, at) -> None:
    number = int(str(_statement(exported)["entries"]))
    _cut_off_the_end(number - 1)
    for _ in range(3):
        audit.record(actor="x", action="x", target="x", detail={}, at=at)
    with pytest.raises(AuditError, match="cut off and written anew"):
        audit_head.compare(exported)


def test_compare_with_an_empty_trail(exported: bytes) -> None:
    AuditEntry.objects.all().delete()
    with pytest.raises(AuditError, match="ends at entry 0"):
        audit_head.compare(exported)


def test_compare_after_the_signing_ca_got_another_certificate(exported: bytes, pki: PKI) -> None:
    """The row that is no longer the CA's own stays, and it is what the head was signed under."""
    CertificateAuthority.objects.filter(pk=pki.issuing.pk).update(
        certificate=make_device(make_person("dora"), pki.issuing).certificate
    )
    assert audit_head.compare(exported)


def _cut(archive: bytes) -> bytes:
    return archive[:-30]


def _bad_statement(archive: bytes) -> bytes:
    return _changed(archive, **{NAME: b"[]"})


def _other_format(archive: bytes) -> bytes:
    return _changed(archive, **{NAME: json.dumps({**_statement(archive), "format": "x"}).encode()})


def _very_long(archive: bytes) -> bytes:
    return _changed(archive, **{NAME: b" " * 99_999})


@pytest.mark.parametrize("spoil", [_cut, _bad_statement, _other_format, _very_long, lambda a: b""])
def test_compare_with_a_file_that_is_no_head(exported, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadFileError, match="not an exported head"):
        audit_head.compare(spoil(exported))


def test_compare_with_a_head_that_was_changed(exported: bytes) -> None:
    facts = {**_statement(exported), "entries": 1}
    changed = _changed(exported, **{NAME: json.dumps(facts).encode()})
    with pytest.raises(AuditError, match="signature"):
        audit_head.compare(changed)


def test_compare_with_a_head_that_somebody_else_signed(exported: bytes, pki: PKI, people) -> None:
    """Alice has a certificate of ours, but she is no CA."""
    hers = make_device(people.alice, pki.issuing).certificate
    for sha256 in (hers.sha256, "0" * 64):
        facts = {**_statement(exported), "certificate_sha256": sha256}
        changed = _changed(exported, **{NAME: json.dumps(facts).encode()})
        with pytest.raises(AuditError, match="a CA that is not known here"):
            audit_head.compare(changed)


def test_export_refuses_without_entries_or_key(pki: PKI, at: dt.datetime) -> None:
    AuditEntry.objects.all().delete()
    AuditHead.objects.all().delete()
    with pytest.raises(AuditError, match="no entry"):
        audit_head.export(actor="x", authority=pki.issuing, at=at)
    pki.issuing.certificate.key = None
    with pytest.raises(AuthorityError, match="not kept here"):
        audit_head.export(actor="x", authority=pki.issuing, at=at)


def test_signing_authority_is_one_that_issues(pki: PKI, at: dt.datetime) -> None:
    assert audit_head.signing_authority(at) == pki.issuing
    CertificateAuthority.objects.filter(pk=pki.issuing.pk).update(retired_at=at)
    assert audit_head.signing_authority(at) == pki.root
    CertificateAuthority.objects.update(retired_at=at)
    with pytest.raises(AuthorityError, match="no CA"):
        audit_head.signing_authority(at)


def test_head_of_a_trail_under_another_master_key_still_fits(exported, settings, tmp_path, at):
    old = masterkey.load(settings.SIGNET_MASTER_KEY_FILE)
    settings.SIGNET_MASTER_KEY_FILE = tmp_path / "new.key"
    new = masterkey.create(settings.SIGNET_MASTER_KEY_FILE)
    audit.reseal(actor="x", old=old, new=new, at=at)
    assert audit_head.compare(exported)
    assert audit_chain.head().key_id == new.identifier
