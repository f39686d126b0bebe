"""A visitor who knows the way into the console."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from django.http import HttpResponse

from tests.client import Visitor

PASSWORD = "open sesame"


class ConsoleVisitor(Visitor):
    def present(self, chain: Sequence[bytes]) -> None:
        """Connect anew with another certificate; the browser keeps its cookies."""
        pems = [ssl.DER_cert_to_PEM_cert(der) for der in chain]
        self.client.extensions["tls"]["client_cert_chain"] = pems

    def try_password(self, password: str) -> HttpResponse:
        return self.post("/console/login/", {"password": password})

    def unlock(self, password: str = PASSWORD) -> None:
        assert self.try_password(password).status_code == 302
