"""Commands through which trust comes and leaves."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from django.core.management import CommandError, call_command

from pki import bundles, truststore
from pki.bundles import Format
from pki.description import colons
from pki.models import Certificate, PrivateKey
from tests import certs
from tests.factories import make_endpoint

PARTNER = certs.make_ca("Partner Root")
LOWER = PARTNER.make_ca("Partner Issuing")


@pytest.fixture
def run(pki, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        call_command(*map(str, arguments))
        return capsys.readouterr().out

    return called


def test_export_makes_and_prints_a_password_once(run, tmp_path, pki):
    said = run("export_truststore", "chat", "--format", "java", "--out", "roots.p12")
    password = re.search(r"^roots.p12: password (\S+)$", said, re.M)[1]
    assert f"CN=Test Root, SHA-256 {pki.root.certificate.sha256}" in said
    content = (tmp_path / "roots.p12").read_bytes()
    assert len(bundles.read(content, password=password)) == 1

    (tmp_path / "given").write_text("correct horse\n")
    again = run(
        *("export_truststore", "chat", "--format", "pkcs12", "--out", "given.p12"),
        *("--password-file", "given"),
    )
    assert "password" not in again
    assert bundles.read((tmp_path / "given.p12").read_bytes(), password="correct horse")


def test_export_writes_a_folder_where_there_is_none(run, tmp_path):
    run("export_truststore", "chat", "--format", "hashed-dir", "--out", "hashed")
    assert len(bundles.read_folder(tmp_path / "hashed")) == 1
    with pytest.raises(CommandError, match="not empty"):
        run("export_truststore", "chat", "--format", "hashed-dir", "--out", "hashed")


def test_import_lists_first_and_trusts_then(run, tmp_path, pki):
    (tmp_path / "ca.pem").write_bytes(PARTNER.pem + LOWER.pem)
    listed = run("import_anchor", "ca.pem", "--truststore", "chat", "--list")
    assert ": anchor" in listed
    assert ": intermediate" in listed
    assert pki.truststore.anchors.count() == 1

    said = run("import_anchor", "ca.pem", "--truststore", "chat")
    assert "chat: CN=Partner Root, SHA-256 " in said
    assert "known as a CA below: CN=Partner Issuing" in said
    assert "here already" in run("import_anchor", "ca.pem", "--truststore", "chat")


def test_import_takes_what_was_chosen(run, tmp_path, pki):
    leaf = LOWER.issue("mallory")
    (tmp_path / "all.pem").write_bytes(leaf.pem + PARTNER.pem)
    with pytest.raises(CommandError, match="not a CA"):
        run("import_anchor", "all.pem", "--truststore", "chat")
    assert pki.truststore.anchors.count() == 1
    digest = PARTNER.certificate.fingerprint(certs.SHA256()).hex(":").upper()
    run("import_anchor", "all.pem", "--truststore", "chat", "--sha256", digest)
    assert pki.truststore.anchors.count() == 2
    with pytest.raises(CommandError, match="no certificate abcd"):
        run("import_anchor", "all.pem", "--truststore", "chat", "--sha256", "abcd")


def test_import_reads_a_folder(run, tmp_path, pki):
    packed = bundles.pack([PARTNER.certificate], format=Format.HASHED_DIR, name="x")
    (tmp_path / "hashed").mkdir()
    for name, content in packed.files.items():
        (tmp_path / "hashed" / name).write_bytes(content)
    run("import_anchor", "hashed", "--truststore", "chat")
    assert pki.truststore.anchors.count() == 2


def test_adopted_then_listed_in_an_outside_crl(run, tmp_path, pki, alice):
    make_endpoint(pki, pki.truststore)
    leaf = LOWER.issue("partner")
    (tmp_path / "ca.pem").write_bytes(PARTNER.pem + LOWER.pem)
    (tmp_path / "leaf.pem").write_bytes(leaf.pem)
    run("import_anchor", "ca.pem", "--truststore", "chat")
    for ca, name in ((PARTNER, "root.crl"), (LOWER, "lower.crl")):
        (tmp_path / name).write_bytes(ca.crl().public_bytes(Encoding.DER))
        assert "CRL 1, 0 entries" in run("import_crl", name)

    said = run("adopt_certificate", "alice", "leaf.pem", "--truststore", "chat")
    assert "alice signs in with CN=partner" in said
    assert "signs in: alice" in run("verify_certificate", "leaf.pem", "--truststore", "chat")

    (tmp_path / "new.crl").write_bytes(LOWER.crl(leaf, number=2).public_bytes(Encoding.PEM))
    assert "revoked: CN=partner" in run("import_crl", "new.crl")
    with pytest.raises(CommandError, match="revoked"):
        run("verify_certificate", "leaf.pem", "--truststore", "chat")


def test_pkcs12_of_an_outside_ca_is_verified_and_adopted_and_its_key_is_not_kept(
    run, tmp_path, pki, alice
):
    make_endpoint(pki, pki.truststore)
    leaf = LOWER.issue("partner")
    sealing = BestAvailableEncryption(b"secret words")
    above = list(leaf.issuers)
    (tmp_path / "leaf.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(b"me", leaf.key, leaf.certificate, above, sealing)
    )
    (tmp_path / "password").write_text("secret words\n")
    (tmp_path / "wrong").write_text("other words\n")
    for ca, name in ((PARTNER, "root.crl"), (LOWER, "lower.crl")):
        (tmp_path / name).write_bytes(ca.crl().public_bytes(Encoding.DER))
    (tmp_path / "ca.pem").write_bytes(PARTNER.pem + LOWER.pem)
    run("import_anchor", "ca.pem", "--truststore", "chat")
    run("import_crl", "root.crl")
    run("import_crl", "lower.crl")
    kept = PrivateKey.objects.count()
    for command in (("verify_certificate", "leaf.p12"), ("adopt_certificate", "alice", "leaf.p12")):
        for wrong, sentence in (
            ((), "Give its password"),
            (("--password-file", "wrong"), "cannot be opened"),
        ):
            with pytest.raises(CommandError, match=sentence):
                run(*command, "--truststore", "chat", *wrong)
    more = ("--truststore", "chat", "--password-file", "password")
    assert "alice signs in with CN=partner" in run("adopt_certificate", "alice", "leaf.p12", *more)
    assert "signs in: alice" in run("verify_certificate", "leaf.p12", *more)
    assert PrivateKey.objects.count() == kept


def test_verify_says_whom_the_store_would_recognise(run, tmp_path, pki, alice, at):
    make_endpoint(pki, pki.truststore)
    (tmp_path / "ca.pem").write_bytes(PARTNER.pem + LOWER.pem)
    (tmp_path / "leaf.pem").write_bytes(LOWER.issue("a", hosts=["alice@example.org"]).pem)
    run("import_anchor", "ca.pem", "--truststore", "chat")
    for ca, name in ((PARTNER, "root.crl"), (LOWER, "lower.crl")):
        (tmp_path / name).write_bytes(ca.crl().public_bytes(Encoding.DER))
        run("import_crl", name)
    with pytest.raises(CommandError, match="not issued here"):
        run("verify_certificate", "leaf.pem", "--truststore", "chat")
    truststore.set_recognition(actor="a", truststore=pki.truststore, recognises="email", at=at)
    assert "signs in: alice" in run("verify_certificate", "leaf.pem", "--truststore", "chat")
    assert not Certificate.objects.filter(owner=alice).exists()


def test_store_is_made_filled_listed_and_emptied(run, tmp_path, pki):
    (tmp_path / "partner.pem").write_bytes(PARTNER.certificate.public_bytes(Encoding.PEM))
    assert run("create_truststore", "partners", "--description", "Who builds with us")
    run("import_anchor", "partner.pem", "--truststore", "partners")

    listed = run("list_truststores")
    assert "partners | used by no endpoint" in listed
    digest = PARTNER.certificate.fingerprint(SHA256()).hex()
    assert f"  CN=Partner Root | SHA-256 {digest} | until " in listed

    assert "trusted no more" in run("withdraw_anchor", colons(digest), "--truststore", "partners")
    assert digest not in run("list_truststores")
    with pytest.raises(CommandError, match="has no such root"):
        run("withdraw_anchor", digest, "--truststore", "partners")


def test_wrong_names_of_stores_are_sentences(run):
    with pytest.raises(CommandError, match="There are: chat"):
        run("withdraw_anchor", "00", "--truststore", "chats")
    with pytest.raises(CommandError, match="already"):
        run("create_truststore", "chat")
    with pytest.raises(CommandError, match="letters, digits and dashes"):
        run("create_truststore", "a b")
