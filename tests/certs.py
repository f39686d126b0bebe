"""Certificate authorities made in memory, for TLS tests. No Django, nothing of ours checks them,
so they may be as wrong as a test wants: expired, for another purpose, from a stranger.

    ca = make_ca("Mallory CA")
    mallory = ca.issue("mallory")                    # clientAuth
    late = ca.issue("mallory", expired=True)
    site = ca.issue("localhost", purposes=SERVER, hosts=["localhost", "127.0.0.1"])
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# What a stranger may send: the form is DER, and what is in it makes readers stumble, each in its way.
ODD_VERSION = (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07")
ODD_NAME = (b"\x55\x04\x03\x0c\x05alice", b"\x55\x04\x03\x03\x05\x00lice")  # a BIT STRING

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
ANY = (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)
YEAR = dt.timedelta(days=365)
HOUR = dt.timedelta(hours=1)


def made_odd(der: bytes) -> list[bytes]:
    """A certificate of CN=alice with a version, and with a name, that nobody knows."""
    assert all(der.count(old) == 1 for old, _ in (ODD_VERSION, ODD_NAME))
    return [der.replace(old, new) for old, new in (ODD_VERSION, ODD_NAME)]


@dataclass(frozen=True)
class Leaf:
    certificate: x509.Certificate
    key: Key
    issuers: tuple[x509.Certificate, ...] = ()  # nearest first, the root last

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> list[bytes]:
        """DER, leaf first, without the root."""
        return [self.der, *(ca.public_bytes(Encoding.DER) for ca in self.issuers[:-1])]

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write_pem(self, path: Path) -> Path:
        """Certificate, intermediates and key in one file."""
        between = b"".join(ca.public_bytes(Encoding.PEM) for ca in self.issuers[:-1])
        path.write_bytes(self.pem + between + self.key_pem)
        return path


@dataclass(frozen=True)
class Authority(Leaf):
    def issue_odd(self) -> Leaf:
        """With a name that nobody knows, and signed all the same."""
        leaf = self.issue("alice")
        body = made_odd(leaf.certificate.tbs_certificate_bytes)[1]
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        signature = b"\x00" + self.key.sign(body, ec.ECDSA(SHA256()))
        ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
        parts = body + ecdsa_with_sha256 + _element(0x03, signature)
        certificate = x509.load_der_x509_certificate(_element(0x30, parts))
        return Leaf(certificate, leaf.key, leaf.issuers)

    def issue(
        self,
        common_name: str,
        *,
        purposes: Sequence[x509.ObjectIdentifier] = CLIENT,
        hosts: Sequence[str] = (),
        expired: bool = False,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        key: Key | None = None,
        serial: int | None = None,
        extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> Leaf:
        """A certificate signed by this CA; without purposes it has no extended key usage."""
        key = key or make_key()
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            *extra,
        ]
        if purposes:
            extensions.append((x509.ExtendedKeyUsage(purposes), False))
        if hosts:
            extensions.append((x509.SubjectAlternativeName(list(map(_general_name, hosts))), False))
        certificate = _sign(
            subject=_name(common_name),
            key=key,
            issuer=self,
            extensions=extensions,
            validity=_validity(expired, not_before, not_after),
            serial=serial,
        )
        return Leaf(certificate, key, (self.certificate, *self.issuers))

    def make_ca(
        self,
        name: str,
        *,
        path_length: int | None = 0,
        expired: bool = False,
        key: Key | None = None,
    ) -> Authority:
        """A CA below this one."""
        return _make_ca(name, key=key, issuer=self, path_length=path_length, expired=expired)

    def crl(
        self,
        *revoked: Leaf,
        number: int = 1,
        at: dt.datetime | None = None,
        days: int = 7,
        reason: x509.ReasonFlags | None = None,
    ) -> x509.CertificateRevocationList:
        moment = (
            at or _now() - HOUR
        )  # a whole test run may lie between the import of a test and this
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(moment)
            .next_update(moment + dt.timedelta(days=days))
            .add_extension(_authority_id(self.certificate), critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for leaf in revoked:
            entry = x509.RevokedCertificateBuilder(leaf.certificate.serial_number, moment)
            if reason:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, _hash(self.key))


def make_ca(
    name: str, *, path_length: int | None = 1, expired: bool = False, key: Key | None = None
) -> Authority:
    """A self-signed root."""
    return _make_ca(name, key=key, issuer=None, path_length=path_length, expired=expired)


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(
    common_name: str,
    *,
    key: Key | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.CertificateSigningRequest:
    key = key or make_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name))
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(key, _hash(key))


def _make_ca(
    name: str,
    *,
    key: Key | None,
    issuer: Authority | None,
    path_length: int | None,
    expired: bool,
) -> Authority:
    key = key or make_key()
    certificate = _sign(
        subject=_name(name),
        key=key,
        issuer=issuer,
        extensions=[
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (_usage(key_cert_sign=True, crl_sign=True), True),
        ],
        validity=_validity(expired, None, None),
        serial=None,
    )
    return Authority(certificate, key, (issuer.certificate, *issuer.issuers) if issuer else ())


def _element(tag: int, content: bytes) -> bytes:
    """In DER."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _sign(
    *,
    subject: x509.Name,
    key: Key,
    issuer: Authority | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    validity: tuple[dt.datetime, dt.datetime],
    serial: int | None,
) -> x509.Certificate:
    signer = issuer.key if issuer else key
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(own_id, critical=False)
    )
    if issuer:
        builder = builder.add_extension(_authority_id(issuer.certificate), critical=False)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signer, _hash(signer))


def _validity(
    expired: bool, not_before: dt.datetime | None, not_after: dt.datetime | None
) -> tuple[dt.datetime, dt.datetime]:
    now = _now()
    end = not_after or (now - HOUR if expired else now + YEAR)
    return not_before or min(now, end) - HOUR, end


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.RFC822Name(host) if "@" in host else x509.DNSName(host)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id)


def _hash(key: Key) -> SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
