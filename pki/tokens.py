"""Keys that live on a PKCS #11 token: made there, used there, never read.

What always holds here:
  1. a key is made sensitive and not extractable, so the token itself refuses to hand it out;
  2. one call at a time reaches the token, whatever threads there are (C_Initialize without locks);
  3. a PIN that the token refused is not tried again until its file is changed, and the last try
     before the token locks itself is left to people;
  4. a signature is checked under the public key before anybody sees it.
One session is kept for each process. Where the token ended it, it is opened anew, once.
"""

from __future__ import annotations

import _ssl
import ctypes
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, TypeVar, cast
from urllib.parse import quote, unquote

import pkcs11
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as fault
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from pki.algorithms import RSA_EXPONENT, SigningKey, spki_sha256
from pki.errors import KeyBackendError

ED25519_PARAMETERS = bytes.fromhex("130c656477617264733235353139")  # PrintableString edwards25519
ED25519_BYTES = 32
PRIVATE = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
CURVES = {"p256": "secp256r1", "p384": "secp384r1"}
RSA_BITS = {"rsa3072": 3072, "rsa4096": 4096}
RSA_MECHANISMS = {"sha256": Mechanism.SHA256_RSA_PKCS, "sha384": Mechanism.SHA384_RSA_PKCS}
UNSUPPORTED = (
    fault.MechanismInvalid,
    fault.MechanismParamInvalid,
    fault.FunctionNotSupported,
    fault.KeySizeRange,
    fault.DomainParamsInvalid,
)
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where keys are: the module (a shared library), the label of the token, the file of its PIN."""

    module: Path
    token: str
    pin_file: Path


def create_key(place: Place, *, algorithm: str) -> tuple[str, CertificatePublicKeyTypes]:
    """Make a key pair on the token; returns its URI (RFC 7512) and its public half.

    Refuses (KeyBackendError): a token that is away, locked or does not make this kind of key.
    """
    identifier = secrets.token_bytes(16)
    label = f"signet-{identifier.hex()[:12]}"
    with _able(place, f"does not make {algorithm} keys", "Choose another kind of key."):
        public = _with_session(place, lambda s: _generate(s, algorithm, identifier, label))
    written = "".join(f"%{octet:02X}" for octet in identifier)
    return f"pkcs11:token={quote(place.token, safe='')};id={written};object={label}", public


def open_key(place: Place, *, handle: str, name: str) -> SigningKey:
    """The key behind a URI, as an object whose `sign` asks the token.

    `name` is the SHA-256 of its public key. Refuses (KeyBackendError) a key that is on another
    token than the settings name, that is gone, or whose public half is not the one that is named.
    """
    identifier = _identifier(place, handle)
    with _able(place, "does not show the public half of this key", _check_module(place)):
        public = _public_keys.get(name) or _with_session(place, lambda s: _public(s, identifier))
    if spki_sha256(public) != name:
        raise KeyBackendError(
            f"The token {place.token} holds another key than expected under this identifier. "
            "Restore the token from its backup."
        )
    _public_keys[name] = public
    return _wrapped(_TokenKey(place, identifier, public))


def destroy_key(place: Place, *, handle: str) -> None:
    """Remove a key pair from the token, for good; one that is gone already is no fault.

    Refuses (KeyBackendError) a key that is on another token than the settings name, and a token
    that removes none.
    """
    identifier = _identifier(place, handle)
    with _able(place, "does not remove keys", "Remove this one with the token's own tool."):
        _with_session(
            place,
            lambda s: [found.destroy() for found in s.get_objects({Attribute.ID: identifier})],
        )


def _identifier(place: Place, handle: str) -> bytes:
    """What the token calls the key behind a URI."""
    parts = dict(part.split("=", 1) for part in handle.removeprefix("pkcs11:").split(";"))
    if unquote(parts["token"]) != place.token:
        raise KeyBackendError(
            f"This key is on the token {unquote(parts['token'])}, but SIGNET_PKCS11_TOKEN names "
            f"{place.token}. Point the settings at the right token."
        )
    return bytes.fromhex(parts["id"].replace("%", ""))


# --- What cryptography signs with -----------------------------------------------------------


@dataclass(frozen=True)
class _TokenKey:
    place: Place
    identifier: bytes
    public: CertificatePublicKeyTypes

    def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        def ask(session: Any) -> bytes:
            key = _one(session, ObjectClass.PRIVATE_KEY, self.identifier)
            return bytes(key.sign(data, mechanism=mechanism))

        with _able(
            self.place,
            "does not sign with this key",
            f"Nothing was signed. {_check_module(self.place)}",
        ):
            return _with_session(self.place, ask)

    def refuse_forged(self, check: Callable[[], None]) -> None:
        try:
            check()
        except InvalidSignature:
            raise KeyBackendError(
                f"The token {self.place.token} answered with a signature that its own public key "
                "does not verify. Do not use it until this is explained."
            ) from None


def _stays(*_: object, **__: object) -> Never:
    raise KeyBackendError("This key is on a token, and does nothing but sign.")


class _EllipticCurveKey(ec.EllipticCurvePrivateKey):
    def __init__(self, key: _TokenKey, public: ec.EllipticCurvePublicKey) -> None:
        self._key, self._public = key, public

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed):
            raise UnsupportedAlgorithm("A token key signs data, and hashes it itself.")
        digest = hashes.Hash(algorithm)
        digest.update(bytes(data))
        raw = self._key.sign(digest.finalize(), Mechanism.ECDSA)
        half = len(raw) // 2
        signature = encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )
        verify = self._public.verify
        self._key.refuse_forged(lambda: verify(signature, bytes(data), ec.ECDSA(algorithm)))
        return signature

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _stays


class _RSAKey(rsa.RSAPrivateKey):
    def __init__(self, key: _TokenKey, public: rsa.RSAPublicKey) -> None:
        self._key, self._public = key, public

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        if not isinstance(padding, _PKCS1) or getattr(algorithm, "name", "") not in RSA_MECHANISMS:
            raise UnsupportedAlgorithm("A token key signs with PKCS #1 v1.5 and SHA-256 or 384.")
        signature = self._key.sign(bytes(data), RSA_MECHANISMS[algorithm.name])
        verify = self._public.verify
        self._key.refuse_forged(lambda: verify(signature, bytes(data), padding, algorithm))
        return signature

    decrypt = private_numbers = private_bytes = __copy__ = __deepcopy__ = _stays


class _Ed25519Key(ed25519.Ed25519PrivateKey):
    def __init__(self, key: _TokenKey, public: ed25519.Ed25519PublicKey) -> None:
        self._key, self._public = key, public

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    def sign(self, data: Any) -> bytes:
        signature = self._key.sign(bytes(data), Mechanism.EDDSA)
        self._key.refuse_forged(lambda: self._public.verify(signature, bytes(data)))
        return signature

    private_bytes = private_bytes_raw = __copy__ = __deepcopy__ = _stays


_PKCS1 = padding.PKCS1v15
_public_keys: dict[str, CertificatePublicKeyTypes] = {}  # by hash, which says that it is the one


def _wrapped(key: _TokenKey) -> SigningKey:
    if isinstance(key.public, ec.EllipticCurvePublicKey):
        return _EllipticCurveKey(key, key.public)
    if isinstance(key.public, rsa.RSAPublicKey):
        return _RSAKey(key, key.public)
    assert isinstance(key.public, ed25519.Ed25519PublicKey)
    return _Ed25519Key(key, key.public)


# --- Objects on the token -------------------------------------------------------------------


def _generate(
    session: Any, algorithm: str, identifier: bytes, label: str
) -> CertificatePublicKeyTypes:
    how = {"id": identifier, "label": label, "store": True, "private_template": PRIVATE}
    if algorithm in RSA_BITS:
        exponent = {Attribute.PUBLIC_EXPONENT: RSA_EXPONENT.to_bytes(3, "big")}
        session.generate_keypair(KeyType.RSA, RSA_BITS[algorithm], public_template=exponent, **how)
    elif algorithm == "ed25519":
        _parameters(session, KeyType.EC_EDWARDS, ED25519_PARAMETERS).generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, **how
        )
    else:
        curve = encode_named_curve_parameters(CURVES[algorithm])
        _parameters(session, KeyType.EC, curve).generate_keypair(**how)
    return _public(session, identifier)


def _parameters(session: Any, kind: KeyType, parameters: bytes) -> Any:
    return session.create_domain_parameters(kind, {Attribute.EC_PARAMS: parameters}, local=True)


def _public(session: Any, identifier: bytes) -> CertificatePublicKeyTypes:
    found = _one(session, ObjectClass.PUBLIC_KEY, identifier)
    if found.key_type == KeyType.EC_EDWARDS:
        point = bytes(found[Attribute.EC_POINT])
        return ed25519.Ed25519PublicKey.from_public_bytes(point[-ED25519_BYTES:])
    if found.key_type == KeyType.RSA:
        return _rsa_public(found)
    return cast(ec.EllipticCurvePublicKey, load_der_public_key(encode_ec_public_key(found)))


def _rsa_public(found: Any) -> rsa.RSAPublicKey:
    exponent = int.from_bytes(found[Attribute.PUBLIC_EXPONENT], "big")
    return rsa.RSAPublicNumbers(
        exponent, int.from_bytes(found[Attribute.MODULUS], "big")
    ).public_key()


def _one(session: Any, kind: ObjectClass, identifier: bytes) -> Any:
    found = list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: identifier}))
    if len(found) != 1:
        raise fault.NoSuchKey()
    return found[0]


# --- The session ----------------------------------------------------------------------------


@dataclass
class _Session:
    place: Place
    process: int
    session: Any


_lock = threading.RLock()
os.register_at_fork(  # or a child would wait for a thread that it does not have
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)
_kept: list[_Session] = []
_refused_pins: set[tuple[Place, bytes]] = set()


def _with_session(place: Place, act: Callable[[Any], T]) -> T:
    """Do something on the token. A session that was kept and proves dead is opened anew, once."""
    with _lock, _no_traces(), _sentences(place):
        is_kept = _is_kept(place)
        try:
            return act(_open_session(place))
        except UNSUPPORTED:
            raise
        except fault.PKCS11Error:
            _forget()
            if not is_kept:
                raise
        try:
            return act(_open_session(place))
        except fault.PKCS11Error:
            _forget()
            raise


@contextmanager
def _no_traces() -> Iterator[None]:
    """Take away what a module leaves in this thread's error queue of OpenSSL, where it shares that
    with Python (SoftHSM does). `ssl` would take it for a failure of what it does next."""
    try:
        yield
    finally:
        _clear_errors()


def _clearing() -> Callable[[], Any]:
    try:
        return cast(Callable[[], Any], ctypes.CDLL(getattr(_ssl, "__file__", None)).ERR_clear_error)
    except (AttributeError, OSError):
        return lambda: None  # an OpenSSL that we cannot reach is not shared with a module either


_clear_errors = _clearing()


def _is_kept(place: Place) -> bool:
    return bool(_kept) and (_kept[0].place, _kept[0].process) == (place, os.getpid())


def _open_session(place: Place) -> Any:
    if not _is_kept(place):
        _forget()
        session = _log_in(_library(place), place)
        _kept.append(_Session(place, os.getpid(), session))
    return _kept[0].session


def _library(place: Place) -> Any:
    """The module, begun anew: so it sees tokens that came back, and a child process its own."""
    library = pkcs11.lib(str(place.module))
    library.reinitialize()
    return library


def _log_in(library: Any, place: Place) -> Any:
    pin = _pin(place.pin_file)
    if (place, pin) in _refused_pins:
        raise _pin_error(place)
    token = library.get_token(token_label=place.token)
    if token.flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
        raise KeyBackendError(
            f"The token {place.token} would lock itself at one more wrong PIN. Correct "
            f"{place.pin_file}, and log in once with the token's own tool."
        )
    try:
        return token.open(rw=True, user_pin=pin.decode())
    except (fault.PinIncorrect, fault.PinInvalid, fault.PinLenRange):
        _refused_pins.add((place, pin))
        raise _pin_error(place) from None


def _pin_error(place: Place) -> KeyBackendError:
    return KeyBackendError(
        f"The token {place.token} refuses the PIN in {place.pin_file}. It is not tried again until "
        "the file is corrected, so that the token does not lock itself."
    )


def _forget() -> None:
    """Let go of the session; the next call begins the module anew, which ends it."""
    _kept.clear()


def _pin(path: Path) -> bytes:
    try:
        mode, content = path.stat().st_mode, path.read_bytes().strip()
        content.decode()
    except OSError as error:
        raise KeyBackendError(f"The PIN file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeyBackendError(f"The PIN file {path} does not hold text.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyBackendError(f"The PIN file {path} may be read by others; run: chmod 600 on it.")
    if not content:
        raise KeyBackendError(f"The PIN file {path} is empty.")
    return content


@contextmanager
def _able(place: Place, not_able: str, what_to_do: str) -> Iterator[None]:
    """Where the token cannot do such a thing at all: what that is, and what to do."""
    try:
        yield
    except UNSUPPORTED as error:
        raise KeyBackendError(
            f"The token {place.token} {not_able} ({_named(error)}). {what_to_do}"
        ) from None


def _check_module(place: Place) -> str:
    return f"Check that SIGNET_PKCS11_MODULE ({place.module}) is the module of this token."


@contextmanager
def _sentences(place: Place) -> Iterator[None]:
    """What the module says, as a sentence that says what to do; `_able` has one for the rest."""
    try:
        yield
    except UNSUPPORTED:
        raise
    except fault.PinLocked:
        raise KeyBackendError(
            f"The PIN of the token {place.token} is locked. Its security officer sets a new one."
        ) from None
    except fault.NoSuchKey:
        raise KeyBackendError(
            f"The key is not on the token {place.token}. Restore the token from its backup."
        ) from None
    except fault.PKCS11Error as error:
        raise KeyBackendError(
            f"The token {place.token} does not answer ({_named(error)}). Nothing was signed. Plug "
            f"it in, or check SIGNET_PKCS11_MODULE ({place.module}) and SIGNET_PKCS11_TOKEN."
        ) from None


def _named(error: fault.PKCS11Error) -> str:
    return f"{type(error).__name__} {error}".strip()
