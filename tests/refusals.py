"""What every refusal leaves behind: a sentence, one line in the audit trail, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pki import audit
from pki.errors import PKIError
from pki.models import (
    Anchor,
    AuditBacklog,
    AuditEntry,
    Certificate,
    CertificateAuthority,
    CertificationRequest,
    PrivateKey,
    RevocationList,
)

COUNTED = (Certificate, RevocationList, CertificateAuthority)
COUNTED += (CertificationRequest, PrivateKey, Anchor)
LONGEST_SENTENCE = 300
QUICK = 1.0  # seconds of this thread's own work, however busy the machine is

State = list[object]


def state() -> State:
    """Everything that must be as it was after a refusal."""
    return [
        *(model.objects.count() for model in COUNTED),
        *Certificate.objects.order_by("pk").values_list("revoked_at", "revocation_reason"),
        *CertificationRequest.objects.order_by("pk").values_list("state", "certificate"),
        *CertificateAuthority.objects.order_by("pk").values_list("next_crl_number", "retired_at"),
    ]


def refused_entries() -> list[AuditEntry]:
    """The oldest first."""
    rows = AuditEntry.objects.filter(action__endswith=".refused")
    return list(rows.order_by("sequence"))


@contextmanager
def refused(error: type[PKIError], sentence: str, *, action: str, actor: str) -> Iterator[None]:
    """Within it somebody is refused, quickly, in a sentence, and with one line in the trail."""
    before, entries = state(), AuditEntry.objects.count()
    with _refusing(error, sentence):
        yield
    assert state() == before
    entry = AuditEntry.objects.order_by("-sequence")[0]
    assert (entry.action, entry.actor) == (f"{action}.refused", actor)
    assert sentence in entry.detail["reason"]
    assert entry.detail["error"] == error.__name__
    assert audit.verify() == AuditEntry.objects.count() == entries + 1


@contextmanager
def refused_unsealed(
    error: type[PKIError], sentence: str, *, action: str, actor: str
) -> Iterator[None]:
    """As `refused`, while the trail cannot be sealed: the line waits in the backlog."""
    before, entries = state(), AuditEntry.objects.count()
    with _refusing(error, sentence):
        yield
    assert state() == before
    assert AuditEntry.objects.count() == entries
    waiting = AuditBacklog.objects.order_by("-pk")[0]
    assert (waiting.action, waiting.actor) == (f"{action}.refused", actor)
    assert sentence in waiting.detail["reason"]


@contextmanager
def _refusing(error: type[PKIError], sentence: str) -> Iterator[None]:
    began = time.thread_time()
    with pytest.raises(error) as caught:
        yield
    assert time.thread_time() - began < QUICK
    said = str(caught.value)
    assert sentence in said
    assert said.endswith((".", "--accept-clock"))
    assert said.isprintable()
    assert len(said) < LONGEST_SENTENCE
