"""Everything that can be refused in the PKI, as one tree.

PKIError                        the sentence for people is str(error)
├── MasterKeyError
│   ├── MasterKeyMissingError
│   └── MasterKeyInvalidError       unreadable, open to others, or not the one that wrapped the keys
├── KeyBackendError                 the token that holds a key is away, locked or refuses
├── ClockError                      the clock stands before what was already recorded
├── StoppedError                    a long operation was stopped between two of its pieces
├── RequestError                    what was asked for cannot be had
│   ├── ProfileError                the profile does not admit it
│   ├── LintError                   RFC 5280 does not admit it
│   ├── AuthorityError              the CA may not or cannot sign it
│   ├── KeyReuseError               this public key already belongs to somebody else
│   ├── RowsError                   rows of a list are refused, so nothing of it is done
│   ├── StateError                  it is no longer in the state for this: decided, revoked, released
│   ├── NotAllowedError             the actor may not do this
│   ├── InvitationError             the enrolment link is unknown, used or too old
│   └── BadFileError                the file is not what it should be
├── NotFoundError
├── AlreadyRevokedError
├── AuditError                      the audit trail is broken or cannot be written
└── IdentityError                   why a connection is nobody; each has a code
    ├── NoCertificateError          no_certificate
    ├── CertificateNotTrustedError  certificate_not_trusted
    │   └── WrongPurposeError       wrong_purpose
    ├── CertificateExpiredError     certificate_expired
    ├── CertificateNotYetValidError certificate_not_yet_valid
    ├── CertificateRevokedError     certificate_revoked
    └── AccountDisabledError        account_disabled
"""

from __future__ import annotations

from pathlib import Path


class PKIError(Exception):
    """Root of the tree; str() is a plain sentence that says what to do."""


class MasterKeyError(PKIError):
    pass


class MasterKeyMissingError(MasterKeyError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The master key {path} is missing. Put the file back from your backup, or point "
            "SIGNET_MASTER_KEY_FILE at it; without it no CA key can be opened."
        )


class MasterKeyInvalidError(MasterKeyError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The master key {path} {reason}.")


class KeyBackendError(PKIError):
    pass


class ClockError(PKIError):
    pass


class StoppedError(PKIError):
    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"Stopped after {done} of {total}. Run it again to go on.")


class RequestError(PKIError):
    pass


class ProfileError(RequestError):
    pass


class LintError(RequestError):
    def __init__(self, findings: list[str]) -> None:
        self.findings = findings
        super().__init__("Refused before signing: " + "; ".join(findings) + ".")


class AuthorityError(RequestError):
    pass


class KeyReuseError(RequestError):
    pass


class RowsError(RequestError):
    """`refused` are the rows, in their order, each with the reason."""

    def __init__(self, refused: list[tuple[str, str]]) -> None:
        self.refused = refused
        rows = "One row is" if len(refused) == 1 else f"{len(refused)} rows are"
        lines = [f"{row}: {reason}" for row, reason in refused]
        super().__init__("\n".join([f"{rows} refused, so none of these were issued.", *lines]))


class StateError(RequestError):
    pass


class NotAllowedError(RequestError):
    pass


class InvitationError(RequestError):
    pass


class BadFileError(RequestError):
    pass


class NotFoundError(PKIError):
    pass


class AlreadyRevokedError(PKIError):
    pass


class AuditError(PKIError):
    pass


class IdentityError(PKIError):
    """Why a connection has no identity. `code` is for programs, str() for people."""

    code = "no_identity"
    sentence = "This connection has no identity."

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class NoCertificateError(IdentityError):
    code = "no_certificate"
    sentence = "Your browser sent no certificate."


class CertificateNotTrustedError(IdentityError):
    code = "certificate_not_trusted"
    sentence = "This certificate was not issued here."


class WrongPurposeError(CertificateNotTrustedError):
    code = "wrong_purpose"
    sentence = "This certificate is not meant for signing people in."


class CertificateExpiredError(IdentityError):
    code = "certificate_expired"
    sentence = "Your certificate has expired."


class CertificateNotYetValidError(IdentityError):
    code = "certificate_not_yet_valid"
    sentence = "Your certificate is not valid yet."


class CertificateRevokedError(IdentityError):
    code = "certificate_revoked"
    sentence = "Your certificate has been revoked."


class AccountDisabledError(IdentityError):
    code = "account_disabled"
    sentence = "Your account has been disabled."
