"""The ASGI application: the one place where the order of the middleware is written.

HTTP goes through Django (its middleware is listed in settings), but for OCSP answers that are kept in
memory: they leave before it. A WebSocket passes, in order:
the endpoint (only one that serves the chat has sockets), the Origin check, the identity, the note of
whose connection it is, the route.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.urls import re_path  # noqa: E402

from chat.origin import OriginMiddleware  # noqa: E402 (after the apps are loaded)
from chat.routing import websocket_urlpatterns  # noqa: E402
from pki.addresses import main_origins  # noqa: E402
from pki.middleware import WebSocketIdentityMiddleware  # noqa: E402
from project.ocsp import OCSPMiddleware  # noqa: E402
from project.sockets import EndpointSocketMiddleware, NoteSocketMiddleware, not_found  # noqa: E402

# Django types a route's target as a view; Channels wants an ASGI application there.
anything_else = re_path(r"", not_found)  # type: ignore[arg-type]
application = ProtocolTypeRouter(
    {
        "http": OCSPMiddleware(django_application),
        "websocket": EndpointSocketMiddleware(
            OriginMiddleware(
                WebSocketIdentityMiddleware(
                    NoteSocketMiddleware(URLRouter([*websocket_urlpatterns, anything_else]))
                ),
                allowed=main_origins,
            )
        ),
    }
)
