"""Tries an endpoint out: connects to it as everybody who might, and says what each of them saw."""

from __future__ import annotations

import datetime as dt
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cryptography import x509
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from pki import audit, endpoints, probes, server_certificates
from pki.identity import (
    AccountDisabledError,
    CertificateExpiredError,
    CertificateRevokedError,
    NoCertificateError,
)
from pki.models import CertificateAuthority, Endpoint
from pki.probes import Probe
from project.tls.line import told
from project.visit import VERSIONS, NobodyThereError, Place, Seen, knock, server_certificate, visit

# PROXY protocol version 2, command LOCAL: the proxy speaks for itself.
SPEAKS_FOR_ITSELF = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
PATIENCE = 10.0
SOON = dt.timedelta(days=30)
NONE, GOOD = "somebody without a certificate", "somebody with a good certificate"
EXPIRED, REVOKED = "somebody with an expired certificate", "somebody with a revoked certificate"
FOREIGN = "somebody with a certificate of another CA"
SERVER = "somebody with the certificate of a server"
NOBODY = "certificate required"
OLD_NOBODY = "handshake failure"  # TLS 1.2 has no alert for it
# What the endpoint has to say, by its mode: the alert that ends the handshake, or what /whoami
# says of who is let in. The account of the tests is closed, so a good certificate is told that.
REFUSES = {
    "none": {},
    "optional": {FOREIGN: "unknown ca", SERVER: "unsupported certificate"},
    "required": {
        NONE: NOBODY,
        EXPIRED: "certificate expired",
        REVOKED: "certificate revoked",
        FOREIGN: "unknown ca",
        SERVER: "unsupported certificate",
    },
}
ANSWERS = {
    NONE: "no_certificate",
    GOOD: "account_disabled",
    EXPIRED: "certificate_expired",
    REVOKED: "certificate_revoked",
}
LINES = {
    NONE: NoCertificateError(),
    GOOD: AccountDisabledError(),
    EXPIRED: CertificateExpiredError(),
    REVOKED: CertificateRevokedError(),
}


@dataclass(frozen=True)
class Result:
    """One sentence, or two. `is_right` is False where the endpoint does not do as its row says."""

    sentence: str
    is_right: bool = True


def test_endpoint(*, actor: str, endpoint: Endpoint) -> Iterator[Result]:
    """Connect to an endpoint in every version it admits: without a certificate, and with a good, an
    expired, a revoked, a foreign and a server's one; look at its own under every name of ours.

    Issues certificates for that which last minutes and are nobody's, and revokes them; writes audit
    entries for them and one for the test. Takes some seconds, because one of them has to expire.
    Raises NobodyThereError where nothing answers, and what `pki.probes` refuses.
    """
    results = []
    for result in _tried(actor, endpoint):
        results.append(result)
        yield result
    wrong = [result.sentence for result in results if not result.is_right]
    with transaction.atomic():
        audit.record(
            actor=actor,
            action="endpoint.tested",
            target=endpoint.name,
            detail={"right": len(results) - len(wrong), "wrong": wrong},
            at=timezone.now(),
        )


def _tried(actor: str, endpoint: Endpoint) -> Iterator[Result]:
    if why := _why_not(endpoint):
        yield Result(why)
        return
    greeting = SPEAKS_FOR_ITSELF if endpoint.proxy == Endpoint.Proxy.PROTOCOL else b""
    is_line = endpoint.serves == Endpoint.Serves.LINE
    place = Place(endpoint.address, endpoint.port, settings.SIGNET_HOSTS[0], greeting, is_line)
    knock(place)
    if greeting:
        yield Result(
            f"The endpoint {endpoint.name} is behind a proxy: this test speaks as the proxy, from "
            "this machine, which has to be among its listed addresses."
        )
    store, now = endpoint.truststore, timezone.now()
    authority = probes.authority_in(store, at=now) if store else None
    if endpoint.client_certificate == Endpoint.ClientCertificate.NONE:
        yield from _visits(endpoint, place, {NONE: None})
        yield from _certificates(endpoint, place, None)
    elif authority is None:
        yield Result(
            f"The trust store {store} trusts no CA that issues here, so nobody could be sent with "
            "a good, an expired, a revoked or a server's certificate of it."
        )
        yield from _visits(endpoint, place, {NONE: None, FOREIGN: probes.foreign(at=now)})
        yield from _certificates(endpoint, place, None)
    else:
        yield from _with_ours(actor, endpoint, place, authority)


def _why_not(endpoint: Endpoint) -> str:
    if not endpoint.enabled:
        return f"The endpoint {endpoint.name} is off, so nobody can connect. Switch it on first."
    if endpoint.proxy == Endpoint.Proxy.HEADER:
        return (
            f"The proxy in front of {endpoint.name} ends TLS and judges certificates first: "
            "there is no handshake to test here. Connect to the proxy instead."
        )
    if not endpoint.tls:
        return f"The endpoint {endpoint.name} has no TLS: there is no handshake to test."
    return ""


def _with_ours(
    actor: str, endpoint: Endpoint, place: Place, authority: CertificateAuthority
) -> Iterator[Result]:
    issued: list[Probe] = []

    def issue(make: Callable[..., Probe]) -> Probe:
        issued.append(make(actor=actor, authority=authority, at=timezone.now()))
        return issued[-1]

    try:
        good, server = issue(probes.issue_good), issue(probes.issue_server)
        expired = issue(probes.issue_expiring)
        foreign = probes.foreign(at=timezone.now())
        cast = {NONE: None, GOOD: good, FOREIGN: foreign, SERVER: server}
        yield from _visits(endpoint, place, cast)
        yield from _certificates(endpoint, place, good)
        _wait_for(expired)
        yield from _visits(endpoint, place, {EXPIRED: expired})
        probes.withdraw(actor=actor, probes=[good, server], at=timezone.now())
        issued.clear()
        yield from _visits_of_revoked(endpoint, place, good)
    finally:
        if issued:
            probes.withdraw(actor=actor, probes=issued, at=timezone.now())


def _wait_for(expired: Probe) -> None:
    assert expired.row is not None
    end = expired.row.not_after + dt.timedelta(seconds=1.1)
    time.sleep(max(0.0, (end - timezone.now()).total_seconds()))


# --- Visits ---------------------------------------------------------------------------------


def _visits(endpoint: Endpoint, place: Place, cast: dict[str, Probe | None]) -> Iterator[Result]:
    for who, probe in cast.items():
        for version in VERSIONS:
            if who == NONE or not _is_too_old(endpoint, version):
                seen = visit(place, version=version, probe=probe)
                yield _judged(endpoint, who, version, seen)


def _visits_of_revoked(endpoint: Endpoint, place: Place, probe: Probe) -> Iterator[Result]:
    """Each serving process looks for changes twice a second, and any of them may be met."""
    began = time.monotonic()
    for version in VERSIONS:
        if _is_too_old(endpoint, version):
            continue
        while True:
            seen, since = visit(place, version=version, probe=probe), time.monotonic() - began
            if _is_expected(endpoint, REVOKED, version, seen) or since > PATIENCE:
                break
            time.sleep(0.1)
        called = f"somebody whose certificate was revoked {since:.1f} s before,"
        yield _judged(endpoint, REVOKED, version, seen, called)


def _judged(endpoint: Endpoint, who: str, version: str, seen: Seen, called: str = "") -> Result:
    is_right = _is_expected(endpoint, who, version, seen)
    verdict = "Right." if is_right else f"Wrong: {_expected(endpoint, who, version)}"
    visitor = f"{called or who} in {version}"
    if _is_too_old(endpoint, version):
        visitor = f"a client that speaks {version} at most"
    return Result(f"As {visitor}: {_said(who, seen)} {verdict}", is_right)


def _is_too_old(endpoint: Endpoint, version: str) -> bool:
    return endpoint.policy == Endpoint.Policy.MODERN and version == "TLS 1.2"


def _is_expected(endpoint: Endpoint, who: str, version: str, seen: Seen) -> bool:
    alert = _alert(endpoint, who, version)
    if alert or seen.alert or seen.trouble:
        return seen.alert == alert and not seen.trouble
    if seen.line is not None:
        return seen.line == told(LINES[who])
    return seen.answer is None or _code(seen) == ANSWERS[who]


def _alert(endpoint: Endpoint, who: str, version: str) -> str:
    if _is_too_old(endpoint, version):
        return "protocol version"
    alert = REFUSES[endpoint.client_certificate].get(who, "")
    return OLD_NOBODY if alert == NOBODY and version == "TLS 1.2" else alert


def _code(seen: Seen) -> str:
    return str((seen.answer or {}).get("certificate", {}).get("authorization_error"))


def _said(who: str, seen: Seen) -> str:
    if seen.trouble:
        return f"the server {seen.trouble}."
    if seen.alert:
        return f"the server ended the handshake with “{seen.alert}”."
    if seen.line is not None:
        return f"the server let them in, and said: “{seen.line}”"
    if seen.answer is None:
        return "the server let them in."
    if who == GOOD and _code(seen) == ANSWERS[GOOD]:
        return "the server let them in, and the site knew whose it is."
    detail = seen.answer.get("certificate", {}).get("detail") or "You are somebody."
    return f"the server let them in, and the site said: “{detail}”"


def _expected(endpoint: Endpoint, who: str, version: str) -> str:
    if alert := _alert(endpoint, who, version):
        return f"this endpoint has to end the handshake with “{alert}”."
    if endpoint.serves == Endpoint.Serves.LINE:
        return f"this endpoint has to let them in, and to say “{told(LINES[who])}”"
    if endpoint.client_certificate == Endpoint.ClientCertificate.OPTIONAL and who != GOOD:
        words = ANSWERS[who].replace("_", " ")
        return f"this endpoint has to let them in, and the site to say “{words}”."
    return "this endpoint has to let them in."


# --- The endpoint's own certificate -----------------------------------------------------------


def _certificates(endpoint: Endpoint, place: Place, probe: Probe | None) -> Iterator[Result]:
    roots = tuple(
        bytes(root.certificate.der)
        for root in CertificateAuthority.objects.filter(parent=None).select_related("certificate")
    )
    for host in settings.SIGNET_HOSTS:
        yield _own_certificate(replace(place, host=host), roots, probe)
    if endpoint.serves != Endpoint.Serves.LINE:
        for certificate in endpoints.certificates_of(endpoint):
            if unserved := server_certificates.unserved(certificate):
                yield Result(f"{unserved} Wrong: add it to SIGNET_HOST and start again.", False)


def _own_certificate(place: Place, roots: tuple[bytes, ...], probe: Probe | None) -> Result:
    who = f"As {place.host}, the server"
    try:
        der = server_certificate(place, roots=roots, probe=probe)
    except ssl.SSLCertVerificationError as error:
        return Result(
            f"{who} is not believed by clients that trust our root: {error.verify_message}. "
            "Wrong: give the endpoint a certificate for this name.",
            False,
        )
    except OSError as error:
        return Result(f"{who} could not be asked: {error}. Wrong: it has to answer.", False)
    end = x509.load_der_x509_certificate(der).not_valid_after_utc
    left = end - timezone.now()
    said = f"{who} is believed by clients that trust our root. Its certificate ends"
    said += f" on {end.day} {end:%B %Y}, in {left.days} days."
    return Result(f"{said} Right." if left > SOON else f"{said} Renew it soon.")


__all__ = ["NobodyThereError", "Result", "test_endpoint"]
