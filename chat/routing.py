"""The sockets and their paths; all of them are here."""

from django.urls import path

from chat.consumers import ChatConsumer, EchoConsumer

websocket_urlpatterns = [
    path("ws/chat/", ChatConsumer.as_asgi()),
    path("ws/echo/", EchoConsumer.as_asgi()),
]
