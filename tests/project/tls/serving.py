"""A process with the real server around a small ASGI application: serving.py ROOT SERVER_PEM PORT…

The first port is TLS and asks for certificates, the second is plain HTTP.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from functools import partial
from pathlib import Path

import django
from django.conf import settings

if not settings.configured:
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "pki"]
    settings.configure(INSTALLED_APPS=apps, AUTH_USER_MODEL="pki.User")
    django.setup()

from project.tls import context
from project.tls import http as web
from project.tls.endpoint import EndpointSettings
from project.tls.limits import Limits
from project.tls.listeners import Wanted
from project.tls.server import DRAIN_SECONDS, Server
from tests.project.tls.conftest import Trust

seen: dict[str, int] = {}


async def application(scope, receive, send) -> None:
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await http(scope, receive, send)


async def http(scope, receive, send) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"application/json")]
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    if scope["path"] == "/until":
        while not Path(scope["query_string"].decode()).exists():
            await asyncio.sleep(0.01)
    if scope["path"] == "/forever":
        await asyncio.sleep(3600)
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(scope["query_string"])):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            seen["sent"] = seen.get("sent", 0) + 65536
        await send({"type": "http.response.body"})
        return
    if scope["path"] == "/boom":
        raise RuntimeError("boom")
    if scope["path"] in ("/short", "/broken"):
        length = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if scope["path"] == "/broken":
            raise RuntimeError("broken")
        await send({"type": "http.response.body"})
        return
    extensions = scope["extensions"]
    connection = extensions["signet.connection"]
    answer = {
        "scheme": scope["scheme"],
        "body": len(body),
        "endpoint": connection.endpoint,
        "name": extensions.get("tls", {}).get("client_cert_name"),
        "seen": seen,
        "rss": rss(),
        "root_path": scope["root_path"],
    }
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def websocket(scope, receive, send) -> None:
    await receive()
    path = scope["path"]
    if path == "/deny":
        headers = [(b"x-why", b"because")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"no cert", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"ificate"})
        return
    if path == "/refuse":
        await send({"type": "websocket.close"})
        return
    if path == "/boom":
        raise RuntimeError("boom")
    offered = scope["subprotocols"]
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": offered[0] if offered else None,
            "headers": [(b"x-scheme", scope["scheme"].encode())],
        }
    )
    if path == "/sleepy":
        await asyncio.sleep(3600)
    if path == "/flood":
        for number in range(100_000):
            seen["flooded"] = number
            await send({"type": "websocket.send", "bytes": b"x" * 60_000})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            seen["code"] = message["code"]
            return
        text = message.get("text")
        if text is not None and text.startswith("close "):
            _, code, reason = text.split(" ", 2)
            await send({"type": "websocket.close", "code": int(code), "reason": reason})
        elif text is not None and text.startswith("large "):
            await send({"type": "websocket.send", "text": "x" * int(text.split()[1])})
        elif text == "crash":
            raise RuntimeError("crash")
        else:
            kind = "bytes" if text is None else "text"
            await send({"type": "websocket.send", kind: message[kind]})


def rss() -> int:
    """Resident memory in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def first_certificate(pem: str) -> bytes:
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pem.split(end)[0] + end + "\n")


def wanted(name: str, port: int, mode: str, server: Path, trust: Trust) -> Wanted:
    tls = mode != "plain"
    row = EndpointSettings(
        name=name,
        address="127.0.0.1",
        port=port,
        serves="main",
        tls=tls,
        client_certificate=mode if tls else "none",
        certificate=first_certificate(server.read_text()),
    )
    if not tls:
        return Wanted(row, None)
    contexts = context.build(
        policy="intermediate",
        client_certificate=mode,
        snapshot=trust,
        load_chain=lambda target: target.load_cert_chain(server),
    )
    return Wanted(row, contexts)


def main(root: str, server: str, secure: str, plain: str) -> None:
    trust = Trust(anchors=(ssl.PEM_cert_to_DER_cert(Path(root).read_text()),))
    ports = [
        wanted("main", int(secure), "optional", Path(server), trust),
        wanted("public", int(plain), "plain", Path(server), trust),
    ]
    limits = Limits(**json.loads(os.environ.get("LIMITS", "{}")))
    ready = partial(print, "ready", flush=True)
    drain = float(os.environ.get("DRAIN", DRAIN_SECONDS))
    web.LAST_CALL_SECONDS = float(os.environ.get("LAST_CALL", web.LAST_CALL_SECONDS))
    Server(application, wanted=ports, ready=ready, limits=limits, drain_seconds=drain).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
