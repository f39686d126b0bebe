"""What to do about a failed handshake: OpenSSL's reason → one sentence. The table of
docs/handshakes.md is this one.

The reasons were found by making each handshake fail (tests/project/tls/test_reasons.py).
"""

from __future__ import annotations

HUNG_UP = "the client hung up in the middle"
LATE = "not complete after"
OTHERWISE = "If it goes on, look at the client's own log."

NEW_ONE = "Its holder needs a new certificate: make them an enrolment link."
REVOKED = (
    "If it is they, they need a new certificate; if it was revoked because it was lost or stolen, "
    "somebody else may be trying it."
)
NOT_OURS = (
    "It was issued by a CA that this endpoint does not trust. If it is one of yours, add its root "
    "to the trust store; otherwise its holder enrols here."
)
CRL = "Publish a new one with: manage.py publish_crl. Until then nobody can connect here."
CLIENT_DISTRUSTS = (
    "The client does not trust our server certificate: install the root certificate on it, from "
    "the start page of the enrolment endpoint."
)
OTHER_NAME = (
    "The client found no fault with the CA, but with the server certificate itself: most often it "
    "does not name the host that the client asked for. Renew it with that name."
)
TOO_OLD = "The client is too old for this endpoint's TLS policy: update it."
TOO_OLD_OR_KEY = (
    "The client is too old for this endpoint's TLS policy: update it; or it cannot use the kind of "
    "key of the certificate for this name: put an RSA one beside it."
)
WEAK = "Its key or signature is weaker than is admitted. Its holder needs a new certificate."
BROKEN_CHAIN = (
    "A CA above it may not have issued it. Have the certificate issued anew by a CA that may."
)
NOT_TLS = (
    "What came is not TLS, or was damaged on the way. A scanner does that; for a client of yours, "
    "check its address, its port and any proxy in between."
)
BROKEN_PEER = (
    "The client holds no key for its certificate, or is broken. Install its identity again."
)

ADVICE = {
    # The client's certificate, as OpenSSL's verification names it
    "certificate has expired": NEW_ONE,
    "certificate is not yet valid": "Compare the clocks of the client, the CA and this server.",
    "certificate revoked": REVOKED,
    "unable to get local issuer certificate": NOT_OURS,
    "unable to get issuer certificate": NOT_OURS,
    "self-signed certificate": "Its holder made it alone. Only certificates of a CA are accepted.",
    "self-signed certificate in certificate chain": NOT_OURS,
    "unsuitable certificate purpose": (
        "It is not meant for clients. Use the certificate of a person, not that of a server."
    ),
    "certificate signature failure": (
        "It was not signed by the CA that it names: a forgery, or a CA made twice under one name."
    ),
    "EE certificate key too weak": WEAK,
    "CA certificate key too weak": WEAK,
    "CA signature digest algorithm too weak": WEAK,
    "invalid CA certificate": BROKEN_CHAIN,
    "path length constraint exceeded": BROKEN_CHAIN,
    "permitted subtree violation": BROKEN_CHAIN,
    "excluded subtree violation": BROKEN_CHAIN,
    "unhandled critical extension": (
        "It demands something that is not known here. Have it issued without that extension."
    ),
    # The CRLs that this endpoint judges by
    "CRL has expired": CRL,
    "unable to get certificate CRL": CRL,
    "CRL is not yet valid": "The clock of this server went back, or that of the CA runs ahead.",
    "CRL signature failure": "It was not made by the CA that it names. " + CRL,
    # What the client did
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "The client sent no certificate. Enrol it, install the certificate, and choose it when the "
        "browser asks."
    ),
    "HTTP_REQUEST": "The client spoke plain HTTP to a TLS port: use https:// in the address.",
    "HTTPS_PROXY_REQUEST": "The client takes this port for a proxy: mend its proxy settings.",
    "UNSUPPORTED_PROTOCOL": TOO_OLD,
    "NO_SHARED_CIPHER": TOO_OLD_OR_KEY,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": TOO_OLD_OR_KEY,
    "NO_SUITABLE_KEY_SHARE": TOO_OLD,
    "WRONG_VERSION_NUMBER": NOT_TLS,
    "UNEXPECTED_MESSAGE": NOT_TLS,
    "LENGTH_TOO_SHORT": NOT_TLS,
    "LENGTH_MISMATCH": NOT_TLS,
    "RECORD_LENGTH_MISMATCH": NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": NOT_TLS,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": NOT_TLS,
    "BAD_SIGNATURE": BROKEN_PEER,
    "CALLBACK_FAILED": (
        "The server name that the client asked for cannot be one. A scanner does that; for a client "
        "of yours, check the host name in its address."
    ),
    # What the client's own alert said
    "TLSV1_ALERT_UNKNOWN_CA": CLIENT_DISTRUSTS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": CLIENT_DISTRUSTS,
    "SSLV3_ALERT_BAD_CERTIFICATE": OTHER_NAME,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        "The client says that our server certificate has expired. Renew it, or set its clock."
    ),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": OTHER_NAME,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": TOO_OLD_OR_KEY,
    "TLSV1_ALERT_PROTOCOL_VERSION": TOO_OLD,
    # What never happened
    HUNG_UP: "Browsers and port scanners do that. It is no reason to worry unless somebody complains.",
    LATE: "A scanner, a bad line, or a client that speaks another protocol and waits for us.",
}

PLAINLY = {
    "unable to get local issuer certificate": "issued by a CA that is not trusted here",
    "unable to get issuer certificate": "issued by a CA that is not known here",
    "self-signed certificate in certificate chain": "issued by a foreign CA",
    "unsuitable certificate purpose": "not a certificate for clients",
    "EE certificate key too weak": "its key is too weak",
    "CA certificate key too weak": "the key of its CA is too weak",
    "CA signature digest algorithm too weak": "the signature of its CA is too weak",
    "unable to get certificate CRL": "the CRL of its CA is missing",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no certificate was sent",
    "HTTP_REQUEST": "plain HTTP to a TLS port",
    "HTTPS_PROXY_REQUEST": "taken for a proxy",
    "UNSUPPORTED_PROTOCOL": "the client's TLS version is too old",
    "NO_SHARED_CIPHER": "no cipher suite in common",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no kind of signature in common",
    "NO_SUITABLE_KEY_SHARE": "no key exchange in common",
    "WRONG_VERSION_NUMBER": "what came was not TLS",
    "UNEXPECTED_MESSAGE": "a message that did not belong there",
    "LENGTH_TOO_SHORT": "a message that was too short",
    "LENGTH_MISMATCH": "a message of the wrong length",
    "RECORD_LENGTH_MISMATCH": "a record of the wrong length",
    "PACKET_LENGTH_TOO_LONG": "a record that was too long",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record that was damaged",
    "CALLBACK_FAILED": "the client asked for a name that is none",
    "BAD_SIGNATURE": "the client did not prove that it holds the key",
    "TLSV1_ALERT_UNKNOWN_CA": "the client does not know our CA",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client finds fault with our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client says our certificate has expired",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the client cannot use our certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the client finds nothing in common with us",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the client wants another TLS version",
}
ALERTS = ("SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_")


def plainly(reason: str) -> str:
    """The reason in words for people; OpenSSL's own where they are that already."""
    if reason in PLAINLY or not reason.isupper():
        return PLAINLY.get(reason, reason)
    for alert in ALERTS:
        if reason.startswith(alert):
            return f"the client said: {_spoken(reason.removeprefix(alert))}"
    return _spoken(reason)


def _spoken(token: str) -> str:
    return token.replace("_", " ").lower()


def advice(reason: str) -> str:
    """What to do about it, in one sentence or two."""
    return ADVICE.get(LATE if reason.startswith(LATE) else reason, OTHERWISE)
