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
    """A private key that the server itself uses: a CA's, an OCSP responder's or an endpoint's.

    In the database it is `wrapped`: AES-256-GCM over PKCS #8 under a key derived from the master
    key whose identifier is `wrapped_by`. On a PKCS #11 token it never leaves it, and `handle` is
    its URI (RFC 7512) without a PIN. The keys of people are never here.
    """

    class Backend(models.TextChoices):
        DATABASE = "database", "encrypted in the database"
        PKCS11 = "pkcs11", "on a PKCS #11 token"

    spki_sha256 = models.CharField(max_length=64, unique=True)
    algorithm = models.CharField(max_length=16)
    backend = models.CharField(max_length=16, choices=Backend.choices, default=Backend.DATABASE)
    wrapped = models.BinaryField(default=b"")
    wrapped_by = models.CharField(max_length=16, blank=True)
    handle = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(backend="database", handle="") & ~models.Q(wrapped_by="")
                | models.Q(backend="pkcs11", wrapped_by="") & ~models.Q(handle=""),
                name="key_wrapped_or_on_token",
            )
        ]

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
    HOLD = "certificateHold", "on hold, and may be released"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", "no longer entitled"

    @classmethod
    def for_leaves(cls) -> list[tuple[str, str]]:
        """The choices for certificates of people and servers: all but a CA's own."""
        return [(reason.value, reason.label) for reason in cls if reason is not cls.CA_COMPROMISE]


class CertificateProfile(models.Model):
    """What a kind of certificate may contain, as the admin edits it; `pki.profiles` refuses nonsense.

    Lists are JSON lists of the names that `pki.profiles` knows. Built-in rows cannot be removed.
    """

    class Purpose(models.TextChoices):
        ROOT = "root", "root CA"
        INTERMEDIATE = "intermediate", "CA below another"
        OCSP = "ocsp", "OCSP responder"
        SERVER = "server", "server"
        PERSON = "person", "person who signs in"
        MAIL = "mail", "e-mail of a person"
        CODE = "code", "code signing by a person"

    class Names(models.TextChoices):
        NONE = "none", "none"
        PERSON = "person", "e-mail address, or else the username"
        EMAIL = "email", "e-mail address, which the person must have"
        HOSTS = "hosts", "host names and addresses"

    class Excess(models.TextChoices):
        DROP = "drop", "leave it out and say so"
        REFUSE = "refuse", "refuse the request and say why"

    name = models.SlugField(max_length=32, unique=True)
    label = models.CharField(max_length=64)
    purpose = models.CharField(max_length=16, choices=Purpose.choices)
    validity_days = models.PositiveIntegerField()
    key_types = models.JSONField(default=list)
    key_usage = models.JSONField(default=list)
    extended_key_usage = models.JSONField(default=list, blank=True)
    path_length = models.PositiveSmallIntegerField(null=True, blank=True)
    names = models.CharField("SAN", max_length=16, choices=Names.choices, default=Names.NONE)
    excess = models.CharField(
        "what a request asks beyond this",
        max_length=16,
        choices=Excess.choices,
        default=Excess.DROP,
    )
    approvals = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(2)],
        help_text="0, 1 or 2 people besides the requester.",
    )
    per_person = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Valid certificates a person may have at once."
    )
    enabled = models.BooleanField(default=True)
    built_in = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.label


class Certificate(models.Model):
    """A certificate this organisation issued, or one from elsewhere that it knows (`is_outside`).

    `authority` is null for a self-signed root.
    """

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
    signs_in = models.BooleanField(
        default=False, help_text="Its owner signs in with it; said when it was issued or adopted."
    )
    is_outside = models.BooleanField(default=False, help_text="Issued elsewhere, and known here.")
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
        indexes = [
            models.Index(fields=["-issued_at", "-id"], name="certificate_newest"),
            models.Index(fields=["serial"], name="certificate_serial"),
            # What the figures of the console are counted from, without reading the rows.
            models.Index(
                fields=["revoked_at", "not_after", "not_before", "owner"],
                name="certificate_standing",
            ),
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


class PlannedRevocation(models.Model):
    """A revocation that is carried out when its time comes."""

    certificate = models.OneToOneField(Certificate, models.CASCADE, related_name="planned")
    at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=32, choices=RevocationReason.choices)
    planned_by = models.CharField(max_length=64)

    class Meta:
        ordering = ["at"]

    def __str__(self) -> str:
        return f"{self.certificate} at {self.at:%Y-%m-%d %H:%M}"


class CertificateAuthority(models.Model):
    """A CA: a name, the certificate it signs under, and who signed that one.

    One from elsewhere has its certificate here and its key there. A retired one issues nothing
    more, but goes on publishing CRLs and answering OCSP.
    """

    name = models.CharField(max_length=64, unique=True)
    slug = models.SlugField(max_length=64, unique=True)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children"
    )
    certificate = models.OneToOneField(
        Certificate, models.PROTECT, related_name="certified_authority"
    )
    responder = models.OneToOneField(
        Certificate,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="responds_for",
        help_text="The certificate its OCSP answers are signed under (RFC 6960, 4.2.2.2).",
    )
    predecessor = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="successors"
    )
    retired_at = models.DateTimeField(null=True, blank=True)
    next_crl_number = models.PositiveBigIntegerField(default=1)
    crl_partitions = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(256)], help_text="0 for one CRL of everything."
    )
    has_delta_crls = models.BooleanField("delta CRLs", default=False)
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


class AuthorityRequest(models.Model):
    """A CA to be: its key is made, its CSR is out, and an outside CA has yet to sign it."""

    name = models.CharField(max_length=64, unique=True)
    slug = models.SlugField(max_length=64, unique=True)
    key = models.OneToOneField(PrivateKey, models.PROTECT, related_name="authority_request")
    csr = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class RevocationList(models.Model):
    """A published CRL. The newest of an authority, kind and partition is the one that counts.

    `partition` 0 is the CRL of everything; `base_number` is that of the full CRL a delta adds to.
    """

    class Kind(models.TextChoices):
        FULL = "full"
        DELTA = "delta"

    authority = models.ForeignKey(CertificateAuthority, models.PROTECT, related_name="crls")
    number = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.FULL)
    partition = models.PositiveSmallIntegerField(default=0)
    base_number = models.PositiveBigIntegerField(null=True, blank=True)
    this_update = models.DateTimeField()
    next_update = models.DateTimeField()
    entries = models.PositiveIntegerField()
    der = models.BinaryField()

    class Meta:
        ordering = ["authority", "-number"]
        verbose_name = "CRL"
        constraints = [
            models.UniqueConstraint(
                fields=["authority", "kind", "partition", "number"], name="one_crl_per_number"
            )
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
    """A named set of trust anchors against which client certificates are verified.

    `recognises` says how a certificate from elsewhere that this store trusts becomes a person.
    """

    class Recognises(models.TextChoices):
        NOBODY = "nobody", "never, but for those an admin adopts one by one"
        EMAIL = "email", "by its e-mail address, where one person has it"
        SUBJECT = "subject", "by its common name, where it is a username"

    name = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)
    recognises = models.CharField(
        "a certificate from elsewhere becomes a person",
        max_length=16,
        choices=Recognises.choices,
        default=Recognises.NOBODY,
    )

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
    trusted_from = models.DateTimeField(null=True, blank=True)
    trusted_until = models.DateTimeField(null=True, blank=True)

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
        CHAT = "chat", "chat and devices, no console"
        CONSOLE = "console", "console and devices, no chat"
        ENROL = "enrol", "enrolment and help"
        PUBLIC = "public", "CRLs, OCSP, CA certificates"
        LINE = "line", "lines over TLS: a greeting and an echo, for diagnosis"

    class Proxy(models.TextChoices):
        NONE = "none", "no proxy"
        PROTOCOL = "protocol", "passes TLS on, with a PROXY header"
        HEADER = "header", "ends TLS, sends the certificate in Client-Cert"

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
    further_certificates = models.ManyToManyField(
        Certificate,
        blank=True,
        related_name="further_endpoints",
        limit_choices_to={"key__isnull": False, "profile": "server"},
        help_text="For other host names, or with another kind of key for the same.",
    )
    max_connections = models.PositiveIntegerField(
        "connections at once", default=5000, validators=[MinValueValidator(1)]
    )
    max_per_address = models.PositiveIntegerField(
        "connections at once from one address", default=500, validators=[MinValueValidator(1)]
    )
    handshake_seconds = models.PositiveSmallIntegerField(
        "seconds for a handshake",
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(60)],
    )
    proxy = models.CharField(max_length=16, choices=Proxy.choices, default=Proxy.NONE)
    proxy_addresses = models.TextField(
        blank=True, help_text="Addresses or networks of the proxies, separated by spaces or lines."
    )
    plain_anyway = models.BooleanField(
        "without TLS although others could read along", default=False
    )

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
                | models.Q(truststore__isnull=False)
                & (models.Q(tls=True) | models.Q(proxy="header")),
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


class CertificationRequest(models.Model):
    """A CSR (PKCS #10) on its way to a certificate: who asked, what for, and how it stands."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting for approval"
        ISSUED = "issued", "issued"
        REJECTED = "rejected", "rejected"
        WITHDRAWN = "withdrawn", "withdrawn"

    profile = models.ForeignKey(CertificateProfile, models.PROTECT, related_name="requests")
    owner = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="certification_requests"
    )
    device = models.CharField(max_length=LONGEST_DEVICE, blank=True)
    hosts = models.JSONField(default=list, blank=True)
    csr = models.BinaryField()
    spki_sha256 = models.CharField("public key SHA-256", max_length=64, db_index=True)
    differences = models.JSONField(
        default=list, help_text="Sentences: what the CSR asks beyond the profile."
    )
    findings = models.JSONField(default=list, help_text="What the linter said, if anything.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    requested_at = models.DateTimeField(default=timezone.now)
    requested_by = models.CharField(max_length=64)
    requester = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who asked; may not approve.",
    )
    invitation = models.OneToOneField(
        Invitation, models.PROTECT, null=True, blank=True, related_name="certification_request"
    )
    asked_with = models.ForeignKey(
        Certificate,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The certificate of whoever asked; once it is revoked, nothing is issued.",
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it was rejected.")
    certificate = models.OneToOneField(
        Certificate, models.PROTECT, null=True, blank=True, related_name="certification_request"
    )

    class Meta:
        ordering = ["-requested_at", "-pk"]
        permissions = [("decide_certificationrequest", "Can approve and reject requests")]

    def __str__(self) -> str:
        return f"request {self.pk}: {self.profile} for {self.owner or ', '.join(self.hosts)}"


class Approval(models.Model):
    """One person's yes to a request."""

    request = models.ForeignKey(CertificationRequest, models.CASCADE, related_name="approvals")
    approver = models.ForeignKey(User, models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at"]
        constraints = [
            models.UniqueConstraint(fields=["request", "approver"], name="one_yes_per_approver")
        ]


class Operation(models.Model):
    """A long operation that runs beside the console: how far it is, and how it ended."""

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        STOPPED = "stopped"

    title = models.CharField(max_length=200)
    actor = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    outcome = models.CharField(max_length=500, blank=True)
    is_to_stop = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="Its last sign of life.")

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return self.title


class InvitationList(models.Model):
    """People who are invited together; kept until their links are handed out, at most seven days.

    The links are not in it: they come from `once` and a secret that is not in the database.
    """

    actor = models.CharField(max_length=64)
    once = models.CharField(max_length=64)
    lines = models.JSONField()
    parted_by = models.CharField(max_length=1)
    days = models.PositiveSmallIntegerField(help_text="How long its links work.")
    asked_with = models.ForeignKey(Certificate, models.PROTECT, related_name="+")
    operation = models.ForeignKey(
        Operation, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"List of {len(self.lines)}"


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
    """The last entry's number and hash; locked while one is appended. There is one row.

    `at` is what the clock of this machine showed when it was last written, or later.
    """

    sequence = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)
    at = models.DateTimeField(null=True, blank=True)
    key_id = models.CharField(max_length=16, blank=True, help_text="Of the master key in use.")
    former_secrets = models.JSONField(
        default=list, help_text="Of former master keys, sealed: what entries up to a number prove."
    )


class AuditBacklog(models.Model):
    """What could not be sealed into the trail when it happened, because the master key was away.

    Refusals alone: a change that cannot be recorded does not happen.
    """

    at = models.DateTimeField()
    actor = models.CharField(max_length=64)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=255)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["pk"]


class TrustVersion(models.Model):
    """A number that rises with every change other processes must notice. There is one row."""

    version = models.PositiveBigIntegerField(default=0)
