"""The few settings of OpenSSL that Python's `ssl` does not offer, made on a context of `ssl`.

The pointer to OpenSSL's own context is the first field of CPython's object. Where that cannot be
relied on, or Python does not share its OpenSSL, `IS_IN_REACH` is False and nothing is touched.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys

CRL_CHECKS = 0x4 | 0x8  # X509_V_FLAG_CRL_CHECK, X509_V_FLAG_CRL_CHECK_ALL
SET_GROUPS_LIST = 92  # SSL_CTRL_SET_GROUPS_LIST
POST_QUANTUM = "X25519MLKEM768:" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else ""
GROUPS = f"{POST_QUANTUM}X25519:P-256:P-384"


def check_crls(context: ssl.SSLContext) -> None:
    """Let the store of a context, and so every connection that is handed on to it, check the CRLs
    of the whole chain. Python's `verify_flags` count for connections that begin on it."""
    library = _reached()
    parameters = library.X509_STORE_get0_param(library.SSL_CTX_get_cert_store(_own(context)))
    library.X509_VERIFY_PARAM_set_flags(parameters, CRL_CHECKS)
    if library.X509_VERIFY_PARAM_get_flags(parameters) & CRL_CHECKS != CRL_CHECKS:
        raise RuntimeError("OpenSSL did not take the flags.")


def limit_groups(context: ssl.SSLContext) -> None:
    """Agree on keys in `GROUPS` alone."""
    done = _reached().SSL_CTX_ctrl(_own(context), SET_GROUPS_LIST, 0, GROUPS.encode())
    if done != 1:
        raise RuntimeError("OpenSSL did not take the groups.")


def _own(context: ssl.SSLContext) -> ctypes.c_void_p:
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__)


def _reached() -> ctypes.CDLL:
    if LIBRARY is None:
        raise RuntimeError("This Python does not let us at its OpenSSL.")
    return LIBRARY


def _reach() -> ctypes.CDLL | None:
    if sys.implementation.name != "cpython" or not _has_expected_shape():
        return None
    pointer = ctypes.c_void_p
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        for name in ("SSL_CTX_get_cert_store", "X509_STORE_get0_param"):
            function = getattr(library, name)
            function.restype, function.argtypes = pointer, [pointer]
        library.X509_VERIFY_PARAM_set_flags.argtypes = [pointer, ctypes.c_ulong]
        library.X509_VERIFY_PARAM_get_flags.argtypes = [pointer]
        library.X509_VERIFY_PARAM_get_flags.restype = ctypes.c_ulong
        library.SSL_CTX_ctrl.argtypes = [pointer, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
    except (AttributeError, OSError):
        return None
    return library


def _has_expected_shape() -> bool:
    """Whether the pointer to the type is the last thing before an object's own fields."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    size = ctypes.sizeof(ctypes.c_void_p)
    place = ctypes.c_void_p.from_address(id(context) + object.__basicsize__ - size)
    return place.value == id(type(context))


LIBRARY = _reach()
IS_IN_REACH = LIBRARY is not None
