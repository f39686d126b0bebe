"""Keys on a PKCS #11 token: SoftHSM plays the token."""

from __future__ import annotations

import copy
import os
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pkcs11
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pkcs11 import Attribute, ObjectClass

from pki import tokens
from pki.algorithms import SigningKey, spki_sha256
from pki.errors import KeyBackendError
from tests.certs import make_ca
from tests.softhsm import LABEL, PIN, Token, make_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    return make_token(tmp_path / "hsm", monkeypatch)


@pytest.fixture
def place(token: Token) -> tokens.Place:
    return tokens.Place(token.module, LABEL, token.pin_file)


def _made(place: tokens.Place, algorithm: str = "p256") -> SigningKey:
    handle, public = tokens.create_key(place, algorithm=algorithm)
    return tokens.open_key(place, handle=handle, name=spki_sha256(public))


def _sign(key: SigningKey, data: bytes = b"data") -> None:
    """Sign and verify; raises where the signature is wrong."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        key.public_key().verify(
            key.sign(data, ec.ECDSA(hashes.SHA384())), data, ec.ECDSA(hashes.SHA384())
        )
    elif isinstance(key, rsa.RSAPrivateKey):
        way = (padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(key.sign(data, *way), data, *way)
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        key.public_key().verify(key.sign(data), data)


@pytest.mark.parametrize("algorithm", ["p256", "p384", "rsa3072", "ed25519"])
def test_key_signs(place: tokens.Place, algorithm: str) -> None:
    key = _made(place, algorithm)
    _sign(key)
    _sign(key, bytes(100_000))


def test_key_does_not_leave_the_token(place: tokens.Place) -> None:
    """The token's own word, and every way out of the object."""
    handle, public = tokens.create_key(place, algorithm="p256")
    assert PIN not in handle
    session = pkcs11.lib(str(place.module)).get_token(token_label=LABEL).open()
    [key] = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    assert (key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE]) == (True, False)
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        key[Attribute.VALUE]
    opened = tokens.open_key(place, handle=handle, name=spki_sha256(public))
    for way_out in (
        lambda: opened.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        lambda: opened.private_numbers(),  # type: ignore[union-attr]
        lambda: copy.copy(opened),
    ):
        with pytest.raises(KeyBackendError, match="does nothing but sign"):
            way_out()


def test_wrong_pin_is_tried_once(
    place: tokens.Place, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wrong try brings the token nearer to locking itself."""
    tries = []
    real = tokens._log_in

    class Library:
        def __init__(self, library: object) -> None:
            self.library = library

        def get_token(self, **which: object) -> object:
            tries.append(which)
            return self.library.get_token(**which)  # type: ignore[attr-defined]

    monkeypatch.setattr(tokens, "_log_in", lambda library, place: real(Library(library), place))
    token.pin_file.write_text("999999")
    for _ in range(5):
        with pytest.raises(KeyBackendError, match="refuses the PIN"):
            tokens.create_key(place, algorithm="p256")
    assert len(tries) == 1
    token.pin_file.write_text(PIN)
    _sign(_made(place))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.chmod(0o640), "may be read by others"),
        (lambda path: path.write_text("\n"), "is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "does not hold text"),
    ],
)
def test_pin_file_refused(place: tokens.Place, token: Token, change, sentence: str) -> None:
    change(token.pin_file)
    with pytest.raises(KeyBackendError, match=sentence):
        tokens.create_key(place, algorithm="p256")


def test_last_try_is_left_to_people(place: tokens.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def get_token(self, **which: object) -> object:
            flags = pkcs11.TokenFlag.USER_PIN_FINAL_TRY

            class Exhausted:
                pass

            Exhausted.flags = flags  # type: ignore[attr-defined]
            return Exhausted

    monkeypatch.setattr(tokens, "_library", lambda place: Library())
    with pytest.raises(KeyBackendError, match="one more wrong PIN"):
        tokens.create_key(place, algorithm="p256")


def test_token_away_and_back(place: tokens.Place, token: Token) -> None:
    key = _made(place)
    _sign(key)
    token.take_away()
    for _ in range(2):
        with pytest.raises(KeyBackendError, match=r"does not answer|is not on the token"):
            _sign(key)
    token.bring_back()
    _sign(key)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_session_that_the_token_ended_is_opened_anew(place: tokens.Place) -> None:
    key = _made(place)
    tokens._kept[0].session.close()
    _sign(key)
    pkcs11.lib(str(place.module)).reinitialize()  # every session of the process is gone
    _sign(key)


def test_token_pulled_out_in_the_middle_of_a_signature(
    place: tokens.Place, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _made(place)

    def pulled(*_: object, **__: object) -> bytes:
        if token.tokens.exists():
            token.take_away()
        raise pkcs11.exceptions.DeviceRemoved()

    class Handle:
        sign = staticmethod(pulled)

    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_one", lambda *_: Handle())
        with pytest.raises(KeyBackendError, match="Nothing was signed"):
            _sign(key)
    token.bring_back()
    _sign(key)


def test_signature_that_is_wrong_is_not_passed_on(
    place: tokens.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _made(place, "p256")

    class Handle:
        @staticmethod
        def sign(*_: object, **__: object) -> bytes:
            return bytes(31) + b"\1" + bytes(31) + b"\2"

    monkeypatch.setattr(tokens, "_one", lambda *_: Handle())
    with pytest.raises(KeyBackendError, match="does not verify"):
        _sign(key)


def test_another_key_under_the_identifier(place: tokens.Place) -> None:
    handle, _ = tokens.create_key(place, algorithm="p256")
    with pytest.raises(KeyBackendError, match="another key"):
        tokens.open_key(place, handle=handle, name="0" * 64)


def test_key_on_another_token(place: tokens.Place) -> None:
    handle, public = tokens.create_key(place, algorithm="p256")
    other = handle.replace("signet%20test", "elsewhere")
    with pytest.raises(KeyBackendError, match="is on the token elsewhere"):
        tokens.open_key(place, handle=other, name=spki_sha256(public))


def test_destroyed_key(place: tokens.Place) -> None:
    handle, public = tokens.create_key(place, algorithm="p256")
    key = tokens.open_key(place, handle=handle, name=spki_sha256(public))
    tokens.destroy_key(place, handle=handle)
    with pytest.raises(KeyBackendError, match="is not on the token"):
        _sign(key)
    tokens.destroy_key(place, handle=handle)


def test_kind_of_key_that_the_token_does_not_make(
    place: tokens.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise pkcs11.exceptions.MechanismInvalid()

    monkeypatch.setattr(tokens, "_generate", unable)
    with pytest.raises(KeyBackendError, match="does not make ed25519 keys"):
        tokens.create_key(place, algorithm="ed25519")


def test_key_that_the_token_does_not_sign_with(
    place: tokens.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _made(place)

    class Handle:
        @staticmethod
        def sign(*_: object, **__: object) -> bytes:
            raise pkcs11.exceptions.MechanismInvalid()

    monkeypatch.setattr(tokens, "_one", lambda *_: Handle())
    with pytest.raises(KeyBackendError, match=r"does not sign .* Nothing was signed\. Check that"):
        _sign(key)


def test_keys_that_the_token_does_not_show_or_remove(
    place: tokens.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, public = tokens.create_key(place, algorithm="p256")

    class Session:
        @staticmethod
        def get_objects(which: object) -> None:
            raise pkcs11.exceptions.FunctionNotSupported()

    monkeypatch.setattr(tokens, "_open_session", lambda place: Session())
    with pytest.raises(KeyBackendError, match=r"does not show .* Check that"):
        tokens.open_key(place, handle=handle, name=spki_sha256(public))
    with pytest.raises(KeyBackendError, match=r"does not remove keys .* own tool"):
        tokens.destroy_key(place, handle=handle)


def test_unknown_hash_and_padding(place: tokens.Place) -> None:
    key = _made(place, "rsa3072")
    assert isinstance(key, rsa.RSAPrivateKey)
    with pytest.raises(UnsupportedAlgorithm):
        key.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


@pytest.mark.parametrize("change", [{"token": "nowhere"}, {"module": Path("/nowhere.so")}])
def test_no_such_token_or_module(place: tokens.Place, change: dict[str, object]) -> None:
    wrong = tokens.Place(**(vars(place) | change))
    with pytest.raises(KeyBackendError, match="does not answer"):
        tokens.create_key(wrong, algorithm="p256")


def test_threads_take_turns(place: tokens.Place) -> None:
    key = _made(place)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(25):
                _sign(key, str(number).encode())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_child_process_opens_a_session_of_its_own(place: tokens.Place) -> None:
    key = _made(place)
    _sign(key)
    child = os.fork()
    if child == 0:
        try:
            _sign(key)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _sign(key)


def test_other_tools_see_the_key(place: tokens.Place, token: Token) -> None:
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("pkcs11-tool is missing on this machine")
    tokens.create_key(place, algorithm="p384")
    command = ["pkcs11-tool", "--module", str(token.module), "--token-label", LABEL]
    command += ["--login", "--pin", PIN, "--list-objects", "--type", "privkey"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "never extractable" in done.stdout
    assert "sensitive" in done.stdout


def test_what_the_module_leaves_behind_fails_no_tls_of_this_thread(place: tokens.Place) -> None:
    """SoftHSM looks for an engine that OpenSSL does not have, and leaves that in its queue."""
    _sign(_made(place))
    root = make_ca("Root").der
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=root)
