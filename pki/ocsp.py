"""OCSP: request bytes in, response bytes out (RFC 6960, RFC 9654, RFC 9919).

An unknown serial is `unknown`, never good, and no such answer is kept; a question about another CA,
about several certificates at once, or in another hash than SHA-1 and SHA-256 is `unauthorized`; what
cannot be read is `malformedRequest`. Signatures of requests are not looked at.

Answers without a nonce are signed once and kept (`pki.answers`) for half of their life. `answer`
compares the trust version with the database each time, so it is right at once, whoever made a
change. `answer_from_memory` trusts a comparison for half a second and reads nothing.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from django.conf import settings

from pki import changes, responder
from pki.answers import Answer, AnswerCache, Facts, Kept, Key
from pki.description import serial_text
from pki.errors import AuthorityError
from pki.models import Certificate, CertificateAuthority
from pki.querysets import moment, rows_of
from pki.responder import Signer, Statement
from pki.signals import certificate_revoked, trust_changed

LIFE = dt.timedelta(hours=1)
EARLY = dt.timedelta(minutes=3)  # before its time is over, an answer is signed again unasked
LEASE_SECONDS = 0.5
LONGEST_REQUEST = 4096
LONGEST_NONCE = 128  # RFC 9654, 2.1
TURN_SECONDS = 0.2  # what signing unasked may take of a minute

STANDING = (  # asked with every answer that is signed, so written out (`querysets.rows_of`)
    f"SELECT revoked_at, revocation_reason FROM {Certificate._meta.db_table} "  # noqa: S608
    "WHERE authority_id = %s AND serial = %s"
)

cache = AnswerCache(room=settings.SIGNET_OCSP_ANSWERS)

Status = ocsp.OCSPResponseStatus
_EXAMPLE = ocsp.OCSPRequestBuilder()
_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303 (a name for a CA, RFC 9919)


class _Refusal(Exception):
    def __init__(self, status: ocsp.OCSPResponseStatus) -> None:
        self.status = status


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks: which serial number, of which CA (hashes of its name and key)."""

    algorithm: str
    issuer: tuple[bytes, bytes]
    serial: int
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A CA as it was read in `generation`: what it is called in requests, and who signs for it."""

    pk: int
    sha256: str
    issuers: dict[str, tuple[bytes, bytes]]
    not_after: dt.datetime
    signer: Signer
    generation: int

    def is_right(self, *, generation: int, at: dt.datetime) -> bool:
        signing = self.signer.certificate
        ends = min(self.not_after, signing.not_after)
        return self.generation == generation and signing.not_before <= at <= ends


_known: dict[str, _Known] = {}  # by slug; there are as many as CAs


def respond(request_der: bytes, *, authority: CertificateAuthority, at: dt.datetime) -> bytes:
    """The DER response of one CA to one request; see `answer`."""
    return answer(request_der, authority=authority, at=at).der


def answer(request_der: bytes, *, authority: CertificateAuthority, at: dt.datetime) -> Answer:
    """The response of one CA to one request, valid for an hour. Changes nothing in the database.

    Raises MasterKeyError, KeyBackendError or AuthorityError where no key can be used.
    """
    try:
        question = _read(request_der)
        return _answer(question, authority, at)
    except _Refusal as refusal:
        return _unsigned(refusal.status)


def answer_from_memory(request_der: bytes, *, slug: str, at: dt.datetime) -> Answer | None:
    """The answer that is kept, or None: then `answer` knows. Never waits, for the event loop."""
    known = _known.get(slug)
    if known is None or not known.is_right(generation=cache.generation, at=at):
        return None
    if not cache.is_compared(since=time.monotonic() - LEASE_SECONDS):
        return None
    try:
        question = _read(request_der)
    except _Refusal as refusal:
        return _unsigned(refusal.status)
    if known.issuers[question.algorithm] != question.issuer:
        return _unsigned(Status.UNAUTHORIZED)
    if question.nonce is not None:
        return None
    return cache.get((known.pk, question.algorithm, question.serial), at=at)


def try_later() -> Answer:
    """The response of a CA that cannot sign one now (RFC 6960, 2.3)."""
    return _unsigned(Status.TRY_LATER)


def sign_ahead(*, at: dt.datetime, seconds: float = TURN_SECONDS) -> int:
    """Sign the answers most likely to be asked for before they are: those of valid certificates,
    newest first, until half the room is taken. Returns how many were signed.

    Stops after `seconds`, however much is left: the next turn goes on. Confirms those that are kept
    and still right without signing them again. Raises where no key can be used.
    """
    ends, signed = time.monotonic() + seconds, 0
    generation = _compare()
    for job in islice(_jobs(at), cache.room // 2):
        if cache.generation != generation:  # what was read may no longer be so
            break
        if _confirm(job.key, job.facts, at, generation, early=EARLY) is None:
            _keep(job.key, job.question, job.facts, job.signer, at, generation)
            signed += 1
            if time.monotonic() >= ends:
                break
    return signed


# --- The request ------------------------------------------------------------------------------


def _read(request_der: bytes) -> Question:
    if len(request_der) > LONGEST_REQUEST:
        raise _Refusal(Status.MALFORMED_REQUEST)
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        nonce = _nonce(request)
        algorithm = request.hash_algorithm.name
    except (NotImplementedError, UnsupportedAlgorithm):  # several certificates; another hash
        raise _Refusal(Status.UNAUTHORIZED) from None
    except (ValueError, x509.DuplicateExtension):
        raise _Refusal(Status.MALFORMED_REQUEST) from None
    if algorithm not in _HASHES:
        raise _Refusal(Status.UNAUTHORIZED)
    serial = request.serial_number
    if not 0 <= serial < 2**160:  # RFC 5280, 4.1.2.2; nor could it be answered
        raise _Refusal(Status.MALFORMED_REQUEST)
    return Question(algorithm, (request.issuer_name_hash, request.issuer_key_hash), serial, nonce)


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    found = None
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            found = extension.value.nonce
        elif extension.critical:
            raise _Refusal(Status.MALFORMED_REQUEST)  # RFC 6960, 4.4: not to be ignored
    if found is not None and not 1 <= len(found) <= LONGEST_NONCE:
        raise _Refusal(Status.MALFORMED_REQUEST)
    return found


@lru_cache(maxsize=256)
def _issuers(der: bytes) -> dict[str, tuple[bytes, bytes]]:
    """How requests name a CA, for each hash: by its name and by the bare bits of its key."""
    certificate = x509.load_der_x509_certificate(der)
    return {name: _issuer(certificate, algorithm) for name, algorithm in _HASHES.items()}


def _issuer(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    # A question of our own, for its hash of the bare key bits (RFC 6960, 4.1.1).
    own = _EXAMPLE.add_certificate(certificate, certificate, algorithm).build()
    name = hashes.Hash(algorithm)
    name.update(certificate.subject.public_bytes())
    return name.finalize(), own.issuer_key_hash


# --- The answer -------------------------------------------------------------------------------


def _answer(question: Question, authority: CertificateAuthority, at: dt.datetime) -> Answer:
    issuers = _issuers(bytes(authority.certificate.der))
    if issuers[question.algorithm] != question.issuer or at > authority.certificate.not_after:
        raise _Refusal(Status.UNAUTHORIZED)
    generation = _compare()
    key = (authority.pk, question.algorithm, question.serial)
    signer = _signer(authority, issuers, at, generation)  # first: memory needs it known as well
    kept = None if question.nonce else cache.get(key, at=at)
    if kept is not None:
        return kept
    row = _find(authority, question.serial)
    if row is None or question.nonce is not None:
        return _sign(question, row, signer, at)
    facts = (*row, signer.certificate.sha256)
    return _confirm(key, facts, at, generation) or _keep(
        key, question, facts, signer, at, generation
    )


def _compare() -> int:
    """The generation to begin in, once the trust version has been read."""
    now = time.monotonic()
    cache.compare(changes.current_version(), read_at=now)
    return cache.generation


def _signer(
    authority: CertificateAuthority,
    issuers: dict[str, tuple[bytes, bytes]],
    at: dt.datetime,
    generation: int,
) -> Signer:
    """Who signs for a CA; read again when the generation is another one than at the last time."""
    known, sha256 = _known.get(authority.slug), authority.certificate.sha256
    if known and known.sha256 == sha256 and known.is_right(generation=generation, at=at):
        return known.signer
    rows = CertificateAuthority.objects.select_related("certificate__key", "responder__key")
    now = rows.get(pk=authority.pk)
    signer = responder.require(authority=now, at=at)
    not_after = authority.certificate.not_after
    _known[now.slug] = _Known(now.pk, sha256, issuers, not_after, signer, generation)
    return signer


Row = tuple[dt.datetime | None, str]


def _find(authority: CertificateAuthority, serial: int) -> Row | None:
    found = rows_of(STANDING, authority.pk, serial_text(serial))
    return (moment(found[0][0]), found[0][1]) if found else None


def _confirm(
    key: Key,
    facts: Facts,
    at: dt.datetime,
    generation: int,
    *,
    early: dt.timedelta = dt.timedelta(),
) -> Answer | None:
    """What is kept, where it says what was just read; it then counts as right again. Not what is
    over `early` from now."""
    kept = cache.recall(key)
    if kept is None or kept.facts != facts:
        return None
    if not kept.is_current(at) or at + early >= kept.until:
        return None
    cache.put(key, kept, generation=generation)
    return kept.answer


def _keep(
    key: Key, question: Question, facts: Facts, signer: Signer, at: dt.datetime, generation: int
) -> Answer:
    made = _sign(question, facts[:2], signer, at)
    this_update, next_update = _times(signer, at)
    half = this_update + (next_update - this_update) / 2
    cache.put(key, Kept(made, facts, until=half), generation=generation)
    return made


def _sign(question: Question, row: Row | None, signer: Signer, at: dt.datetime) -> Answer:
    """A fresh answer. One that nobody may keep (unknown, with a nonce) carries no times here."""
    this_update, next_update = _times(signer, at)
    revoked = None
    if row is not None and row[0] is not None:
        revoked = (min(row[0], this_update), row[1])  # the clock may have been ahead then
    statement = Statement(
        hash_algorithm=_HASHES[question.algorithm],
        issuer_name_hash=question.issuer[0],
        issuer_key_hash=question.issuer[1],
        serial=question.serial,
        is_known=row is not None,
        revoked=revoked,
        this_update=this_update,
        next_update=next_update,
        nonce=question.nonce,
    )
    der = responder.sign(statement, signer=signer)
    if row is None or question.nonce is not None:
        return Answer(der)
    return Answer(der, this_update, next_update)


def _times(signer: Signer, at: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """From the whole second in which the row was read, and not beyond the signer's own end."""
    this_update = at.astimezone(dt.UTC).replace(microsecond=0)
    return this_update, min(this_update + LIFE, signer.certificate.not_after)


@lru_cache(maxsize=8)
def _unsigned(status: ocsp.OCSPResponseStatus) -> Answer:
    return Answer(ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))


# --- Unasked ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Job:
    key: Key
    question: Question
    facts: Facts
    signer: Signer


def _jobs(at: dt.datetime) -> Iterator[_Job]:
    """Every answer about a valid certificate, CA by CA, newest certificate first."""
    for authority in (
        CertificateAuthority.objects.filter(certificate__not_after__gte=at)
        .exclude(certificate__key=None, responder=None)
        .select_related("certificate__key", "responder__key")
    ):
        try:
            signer = responder.require(authority=authority, at=at)
        except AuthorityError:  # it says so when it is asked
            continue
        yield from _jobs_of(authority, signer, at)


def _jobs_of(authority: CertificateAuthority, signer: Signer, at: dt.datetime) -> Iterator[_Job]:
    issuers = _issuers(bytes(authority.certificate.der))
    rows = Certificate.objects.active(at).filter(authority=authority).order_by("-pk")
    facts_of = rows.values_list("serial", "revoked_at", "revocation_reason")
    for serial, revoked_at, reason in facts_of[: cache.room // 2]:
        facts = (revoked_at, reason, signer.certificate.sha256)
        for algorithm, issuer in issuers.items():
            question = Question(algorithm, issuer, int(serial, 16), None)
            key = (authority.pk, algorithm, question.serial)
            yield _Job(key, question, facts, signer)


def _outdate(**_: Any) -> None:
    cache.outdate()


trust_changed.connect(_outdate)
certificate_revoked.connect(_outdate)
