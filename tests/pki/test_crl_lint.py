"""What must not be signed as a CRL, rule by rule."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from cryptography import x509

from pki import crl_lint, crl_tbs
from pki.crl_lint import Candidate, lint_crl, lint_entries, sign_twin
from pki.crl_tbs import Contents, Entry
from pki.errors import LintError
from tests.factories import PKI

DAY = dt.timedelta(days=1)
REASONS = ["unspecified", "keyCompromise", "certificateHold", "superseded"]


@pytest.fixture
def contents(pki: PKI, at: dt.datetime) -> Contents:
    return Contents(
        issuer=x509.load_der_x509_certificate(bytes(pki.issuing.certificate.der)),
        number=7,
        this_update=at,
        next_update=at + 7 * DAY,
        entries=[Entry(2**100 + n, at - DAY, REASONS[n % 4]) for n in range(50)],
    )


def candidate(contents: Contents, **changed: Any) -> Candidate:
    facts: dict[str, Any] = {
        "twin": sign_twin(contents, algorithm="p256"),
        "contents": contents,
        "is_partition": bool(contents.points),
        "at": contents.this_update,
        "last_number": 6,
        "last_update": contents.this_update - DAY,
    }
    return Candidate(**(facts | changed))


def test_sound_ones_pass(contents: Contents) -> None:
    points = ("http://example.org/crl/a-1.crl",)
    for sound in (
        contents,
        dataclasses.replace(contents, entries=[]),
        dataclasses.replace(contents, points=points),
        dataclasses.replace(contents, freshest="http://example.org/crl/a-delta.crl"),
        dataclasses.replace(contents, base_number=3),
    ):
        lint_entries(sound)
        lint_crl(candidate(sound))


def test_long_one_is_sampled_by_shape(contents: Contents) -> None:
    twin = sign_twin(contents, algorithm="p256")
    assert sorted(crl_tbs._reason(line) for line in twin) == sorted(REASONS)
    few = dataclasses.replace(contents, entries=contents.entries[:20])
    assert len(sign_twin(few, algorithm="p256")) == 20


@pytest.mark.parametrize(
    ("rule", "entry"),
    [
        ("crl_serials: one is listed twice", {"serial": 2**100}),
        ("crl_serials: must be positive", {"serial": 0}),
        ("crl_serials: must be positive", {"serial": 2**159}),
        ("crl_revocation_dates: 1 after thisUpdate", {"at": DAY}),
        ("crl_reasons: 'because' is none", {"reason": "because"}),
        ("crl_reasons: removeFromCRL has no place", {"reason": "removeFromCRL"}),
    ],
)
def test_entry_is_refused(contents: Contents, rule: str, entry: dict[str, Any]) -> None:
    if "at" in entry:
        entry = {"at": contents.this_update + entry["at"]}
    bad = Entry(1, contents.this_update, "superseded")._replace(**entry)
    with pytest.raises(LintError, match=rule):
        lint_entries(dataclasses.replace(contents, entries=[*contents.entries, bad]))


def test_delta_may_remove(contents: Contents) -> None:
    removed = [Entry(1, contents.this_update, "removeFromCRL")]
    delta = dataclasses.replace(contents, entries=removed, base_number=3)
    lint_entries(delta)
    lint_crl(candidate(delta))


@pytest.mark.parametrize(
    ("rule", "said", "facts"),
    [
        ("crl_number: 7 is not above the last, 7", {}, {"last_number": 7}),
        ("crl_number: must be positive", {"number": 0}, {"last_number": -1}),
        ("crl_dates: is valid for more than 10 days", {"next_update": 11}, {}),
        ("crl_dates: thisUpdate is before that of the last", {}, {"last_update": 0.001}),
        ("crl_dates: thisUpdate is in the future", {}, {"at": -1}),
        ("crl_delta_indicator: base 7 is not before", {"base_number": 7}, {}),
        (
            "crl_freshest: must not be critical, nor stand in a delta",
            {"base_number": 3, "freshest": "http://example.org/a.crl"},
            {},
        ),
        ("crl_distribution_point: must be present", {}, {"is_partition": True}),
        (
            "crl_distribution_point: has no place",
            {"points": ("http://example.org/a.crl",)},
            {"is_partition": False},
        ),
    ],
)
def test_crl_is_refused(
    contents: Contents, rule: str, said: dict[str, Any], facts: dict[str, Any]
) -> None:
    moments = {"next_update", "last_update", "at"}
    turned = [
        {
            name: contents.this_update + value * DAY if name in moments else value
            for name, value in given.items()
        }
        for given in (said, facts)
    ]
    with pytest.raises(LintError, match=rule):
        lint_crl(candidate(dataclasses.replace(contents, **turned[0]), **turned[1]))


@pytest.mark.parametrize(
    ("rule", "extension", "critical"),
    [
        ("crl_issuer: its key identifier must be", x509.AuthorityKeyIdentifier, None),
        ("crl_number: must be present", x509.CRLNumber, None),
        ("crl_number: must be present and not critical", x509.CRLNumber, True),
        ("crl_delta_indicator: must be present", x509.DeltaCRLIndicator, False),
        ("crl_distribution_point: must be present", x509.IssuingDistributionPoint, False),
        ("crl_distribution_point: must be present", x509.IssuingDistributionPoint, None),
    ],
)
def test_twin_is_refused(
    contents: Contents, monkeypatch, rule: str, extension: Any, critical: bool | None
) -> None:
    """The extension left out (None), or marked the wrong way."""
    whole = crl_tbs.extensions
    contents = dataclasses.replace(
        contents, base_number=3, points=("http://example.org/crl/a-1.crl",)
    )
    monkeypatch.setattr(
        crl_tbs,
        "extensions",
        lambda said: [
            (value, critical if isinstance(value, extension) else is_critical)
            for value, is_critical in whole(said)
            if critical is not None or not isinstance(value, extension)
        ],
    )
    twin = sign_twin(contents, algorithm="p256")
    with pytest.raises(LintError, match=rule):
        lint_crl(candidate(contents, twin=twin))


def test_twin_of_somebody_else(contents: Contents, pki: PKI) -> None:
    root = x509.load_der_x509_certificate(bytes(pki.root.certificate.der))
    twin = sign_twin(dataclasses.replace(contents, issuer=root), algorithm="p256")
    with pytest.raises(LintError, match=r"is not the name of the CA.*does not belong to the CA"):
        lint_crl(candidate(contents, twin=twin))


def test_what_was_not_asked_for_has_no_place(contents: Contents) -> None:
    more = dataclasses.replace(contents, freshest="http://example.org/a.crl")
    twin = sign_twin(more, algorithm="p256")
    with pytest.raises(LintError, match=r"crl_extensions: 2.5.29.46 has no place"):
        lint_crl(candidate(contents, twin=twin))


def test_pkilint_has_a_say(contents: Contents, monkeypatch) -> None:
    monkeypatch.setattr(crl_lint.compliance, "crl_findings", lambda der: ["pkix.mine"])
    with pytest.raises(LintError, match=r"crl_pkilint: pkix.mine"):
        lint_crl(candidate(contents))
