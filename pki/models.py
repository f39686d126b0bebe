"""Rows of the certificate authority, their constraints and facts about one row.

No verb and no cryptography lives here: keys are opened in `keys`, certificates are written by
`issuance`, `revoked_at` by `revocation`.
"""

from __future__ import annotations

import datetime as dt

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from pki.description import colons
from pki.querysets import (
    CertificateAuthorityQuerySet,
    CertificateQuerySet,
    InvitationQuerySet,
)

LONGEST_DEVICE = 64
USERNAME = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]{0,63}\Z",
    "Use 1 to 64 small letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
)


class User(AbstractUser):
    """A person. What they may do here hangs on their certificates; the password opens the console."""

    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    username = models.CharField(
        max_length=64,
        unique=True,
        validators=[USERNAME],
        error_messages={"unique": "A person with this username exists already."},
        help_text="Small letters, digits, dots, dashes and underscores. It is part of the certificate.",
    )
    name = models.CharField(max_length=100, blank=True, help_text="As others see it.")

    REQUIRED_FIELDS = []

    class Meta:
        ordering = ["username"]
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name or self.username

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.username


class PrivateKey(models.Model):
    """A private key that the server itself uses (a CA's or an endpoint's), wrapped at rest.

    `wrapped` is AES-256-GCM over PKCS #8 under a key derived from the master key whose identifier
    is `wrapped_by`. The keys of people are never here.
    """

    spki_sha256 = models.CharField(max_length=64, unique=True)
    algorithm = models.CharField(max_length=16)
    wrapped = models.BinaryField()
    wrapped_by = models.CharField(max_length=16)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.algorithm} {self.spki_sha256[:16]}"


class RevocationReason(models.TextChoices):
    """RFC 5280, 5.3.1. Values are the names that OpenSSL and cryptography use."""

    UNSPECIFIED = "unspecified", "no reason given"
    KEY_COMPROMISE = "keyCompromise", "the key was lost or stolen"
    CA_COMPROMISE = "cACompromise", "the CA's key was compromised"
    AFFILIATION_CHANGED = "affiliationChanged", "the person left or changed role"
    SUPERSEDED = "superseded", "replaced by another certificate"
    CESSATION = "cessationOfOperation", "no longer needed"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", "no longer entitled"

    @classmethod
    def for_leaves(cls) -> list[tuple[str, str]]:
        """The choices for certificates of people and servers: all but a CA's own."""
        return [(reason.value, reason.label) for reason in cls if reason is not cls.CA_COMPROMISE]


class Certificate(models.Model):
    """A certificate this organisation issued. `authority` is null for a self-signed root."""

    class Status(models.TextChoices):
        VALID = "valid"
        NOT_YET_VALID = "not yet valid"
        EXPIRED = "expired"
        REVOKED = "revoked"

    authority = models.ForeignKey(
        "CertificateAuthority", models.PROTECT, null=True, blank=True, related_name="issued"
    )
    profile = models.CharField(max_length=32)
    serial = models.CharField(max_length=40, help_text="Hexadecimal, small letters.")
    sha256 = models.CharField("SHA-256", max_length=64, unique=True)
    spki_sha256 = models.CharField("public key SHA-256", max_length=64, db_index=True)
    subject = models.CharField(max_length=255, help_text="RFC 4514.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    der = models.BinaryField()
    owner = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="certificates"
    )
    device = models.CharField(max_length=LONGEST_DEVICE, blank=True)
    key = models.ForeignKey(
        PrivateKey, models.PROTECT, null=True, blank=True, related_name="certificates"
    )
    issued_at = models.DateTimeField(default=timezone.now)
    issued_by = models.CharField(max_length=64)
    revoked_at = models.DateTimeField(null=True, blank=True, db_index=True)
    revocation_reason = models.CharField(
        max_length=32, blank=True, choices=RevocationReason.choices
    )

    objects = CertificateQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at", "-pk"]
        permissions = [
            ("issue_certificate", "Can issue certificates"),
            ("revoke_certificate", "Can revoke certificates"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["authority", "serial"], name="one_serial_per_ca"),
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revocation_reason="")
                | models.Q(revoked_at__isnull=False) & ~models.Q(revocation_reason=""),
                name="revoked_with_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.serial[:8]})"

    def status_at(self, at: dt.datetime) -> Status:
        if self.revoked_at is not None:
            return self.Status.REVOKED
        if at < self.not_before:
            return self.Status.NOT_YET_VALID
        if at > self.not_after:
            return self.Status.EXPIRED
        return self.Status.VALID

    @property
    def status(self) -> Status:
        return self.status_at(timezone.now())

    @property
    def fingerprint(self) -> str:
        """SHA-256 in the form tools print it: AB:CD:…"""
        return colons(self.sha256)


class CertificateAuthority(models.Model):
    """A CA: a name, the certificate it signs under, and who signed that one."""

    name = models.CharField(max_length=64, unique=True)
    slug = models.SlugField(max_length=64, unique=True)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children"
    )
    certificate = models.OneToOneField(
        Certificate, models.PROTECT, related_name="certified_authority"
    )
    next_crl_number = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    objects = CertificateAuthorityQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "certificate authorities"

    def __str__(self) -> str:
        return self.name

    @property
    def chain(self) -> list[Certificate]:
        """The certificates from this CA's own up to the root's."""
        above = self.parent.chain if self.parent else []
        return [self.certificate, *above]

    @property
    def is_root(self) -> bool:
        return self.parent_id is None


class RevocationList(models.Model):
    """A published CRL. The newest of an authority is the one that counts."""

    authority = models.ForeignKey(CertificateAuthority, models.PROTECT, related_name="crls")
    number = models.PositiveBigIntegerField()
    this_update = models.DateTimeField()
    next_update = models.DateTimeField()
    entries = models.PositiveIntegerField()
    der = models.BinaryField()

    class Meta:
        ordering = ["authority", "-number"]
        verbose_name = "CRL"
        constraints = [
            models.UniqueConstraint(fields=["authority", "number"], name="one_crl_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.authority} CRL {self.number}"

    def is_due_at(self, at: dt.datetime) -> bool:
        """Half its life is over, so its successor may be published."""
        return at >= self.this_update + (self.next_update - self.this_update) / 2

    def is_stale_at(self, at: dt.datetime) -> bool:
        """It has lived its life, so strict clients refuse everybody."""
        return at >= self.next_update


class TrustStore(models.Model):
    """A named set of trust anchors against which client certificates are verified."""

    name = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Anchor(models.Model):
    """A trust anchor: one of our roots (`authority` set) or an imported certificate."""

    truststore = models.ForeignKey(TrustStore, models.CASCADE, related_name="anchors")
    authority = models.ForeignKey(
        CertificateAuthority, models.PROTECT, null=True, blank=True, related_name="anchors"
    )
    subject = models.CharField(max_length=255)
    sha256 = models.CharField("SHA-256", max_length=64)
    not_after = models.DateTimeField()
    der = models.BinaryField()
    added_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["truststore", "subject"]
        constraints = [
            models.UniqueConstraint(fields=["truststore", "sha256"], name="one_anchor_per_store")
        ]

    def __str__(self) -> str:
        return self.subject


class Endpoint(models.Model):
    """A socket the server listens on: address, certificate, and whom it asks for theirs."""

    class ClientCertificate(models.TextChoices):
        NONE = "none", "never asked"
        OPTIONAL = "optional", "asked; the site explains what is missing"
        REQUIRED = "required", "required; a bad one is refused in the handshake"

    class Policy(models.TextChoices):
        MODERN = "modern", "modern (TLS 1.3)"
        INTERMEDIATE = "intermediate", "intermediate (TLS 1.2 and 1.3)"

    class Serves(models.TextChoices):
        MAIN = "main", "chat, console, devices"
        ENROL = "enrol", "enrolment and help"
        PUBLIC = "public", "CRLs, OCSP, CA certificates"

    name = models.SlugField(max_length=32, unique=True)
    address = models.GenericIPAddressField(
        default="127.0.0.1", help_text="0.0.0.0 or :: for every interface."
    )
    port = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(65535)])
    tls = models.BooleanField("TLS", default=True)
    certificate = models.ForeignKey(
        Certificate,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="endpoints",
        limit_choices_to={"key__isnull": False, "profile": "server"},
    )
    client_certificate = models.CharField(
        max_length=16, choices=ClientCertificate.choices, default=ClientCertificate.NONE
    )
    truststore = models.ForeignKey(
        TrustStore, models.PROTECT, null=True, blank=True, related_name="endpoints"
    )
    policy = models.CharField(max_length=16, choices=Policy.choices, default=Policy.INTERMEDIATE)
    serves = models.CharField(max_length=16, choices=Serves.choices)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["address", "port"], name="one_endpoint_per_port"),
            models.CheckConstraint(
                condition=models.Q(tls=False) | models.Q(certificate__isnull=False),
                name="tls_with_certificate",
            ),
            models.CheckConstraint(
                condition=models.Q(client_certificate="none")
                | models.Q(truststore__isnull=False, tls=True),
                name="client_certificate_with_truststore",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Invitation(models.Model):
    """A one-time enrolment link. The token itself is in the link alone; here is its hash."""

    token_sha256 = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="invitations")
    device = models.CharField(max_length=LONGEST_DEVICE)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)
    expires_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True, blank=True)
    asked_with = models.ForeignKey(
        Certificate,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The certificate of whoever asked for the link; revoked, it takes the link along.",
    )
    certificate = models.ForeignKey(
        Certificate, models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.user} – {self.device}"


class AuditEntry(models.Model):
    """One line of the audit trail, chained to the one before by a keyed hash (`pki.audit`)."""

    sequence = models.PositiveBigIntegerField(unique=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=64)
    action = models.CharField(max_length=64, db_index=True)
    target = models.CharField(max_length=255)
    detail = models.JSONField(default=dict)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.target}"


class AuditHead(models.Model):
    """The last entry's number and hash; locked while one is appended. There is one row."""

    sequence = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)


class TrustVersion(models.Model):
    """A number that rises with every change other processes must notice. There is one row."""

    version = models.PositiveBigIntegerField(default=0)
