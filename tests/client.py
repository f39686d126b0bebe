"""A visitor to one endpoint, with the certificate they present; requests go through all middleware."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient

from project.tls.note import Note

TLS = SimpleNamespace(
    version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    alpn="http/1.1",
    resumed=False,
    server_name="localhost",
)


class ScopedClient(AsyncClient):
    """Django's client, with the scope extensions that our TLS endpoints add."""

    def __init__(self, extensions: dict[str, Any]) -> None:
        super().__init__()
        self.extensions = extensions

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        return {**super()._base_scope(**request), "extensions": self.extensions}


class Visitor:
    """`chain` is DER, leaf first; empty for somebody without a certificate."""

    def __init__(self, chain: Sequence[bytes] = (), *, serves: str = "main") -> None:
        connection = SimpleNamespace(
            endpoint=serves,
            serves=serves,
            client_certificate="optional",
            tls=None if serves == "public" else TLS,
            backlog=lambda: 0,
            note=Note(),
        )
        extensions: dict[str, Any] = {"signet.connection": connection}
        if connection.tls:
            pems = [ssl.DER_cert_to_PEM_cert(der) for der in chain]
            extensions["tls"] = {"client_cert_chain": pems}
        self.secure = connection.tls is not None
        self.client = ScopedClient(extensions)

    def get(self, path: str, **fields: Any) -> HttpResponse:
        get = async_to_sync(self.client.get)
        response: HttpResponse = get(path, secure=self.secure, **fields)
        return response

    def post(self, path: str, data: Any = None, **fields: Any) -> HttpResponse:
        post = async_to_sync(self.client.post)
        response: HttpResponse = post(path, data, secure=self.secure, **fields)
        return response
