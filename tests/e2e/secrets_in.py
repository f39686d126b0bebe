"""Whether a secret is in what was sent, in whatever way bytes are usually written."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec

URL_SAFE = bytes.maketrans(b"+/", b"-_")


def forms_of_key(key: ec.EllipticCurvePrivateKey) -> dict[str, bytes]:
    """The private number d. Whatever holds the key (PKCS #8, SEC 1, JWK) holds these 32 bytes."""
    number = key.private_numbers().private_value
    return {**_forms(number.to_bytes(32, "big")), "decimal": str(number).encode()}


def forms_of_password(password: str) -> dict[str, bytes]:
    letters = password.replace("-", "")
    plain = {f"undashed {name}": form for name, form in _forms(letters.encode()).items()}
    return {**_forms(password.encode()), "UTF-16": password.encode("utf-16-be"), **plain}


def found(forms: dict[str, bytes], sent: bytes) -> set[str]:
    """The names of the forms that occur in what was sent, also percent-encoded or in lines."""
    plain = unquote_to_bytes(sent.replace(b"+", b"%2B"))
    joined = plain.translate(None, delete=b"\r\n\\ ")
    views = (sent, plain, unquote_to_bytes(plain), joined, joined.replace(b"rn", b""))
    return {name for name, form in forms.items() if any(form in view for view in views)}


def _forms(secret: bytes) -> dict[str, bytes]:
    forms = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "hex with colons": secret.hex(":").encode(),
        "numbers": ",".join(map(str, secret)).encode(),
        "percent": "".join(f"%{byte:02X}" for byte in secret).encode(),
    }
    for offset, encoded in enumerate(_base64_anywhere(secret)):
        forms[f"base64 at {offset}"] = encoded
        forms[f"base64url at {offset}"] = encoded.translate(URL_SAFE)
    return forms


def _base64_anywhere(secret: bytes) -> Iterator[bytes]:
    """The letters that do not depend on neighbours, for each way the bytes may fall into threes."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret)
        last = len(encoded) - (4 if encoded.endswith(b"=") else 0)
        yield encoded[(0, 2, 3)[offset] : last]
