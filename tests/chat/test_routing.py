import pytest
from django.urls import Resolver404, URLResolver
from django.urls.resolvers import RegexPattern

from chat.consumers import ChatConsumer, EchoConsumer
from chat.routing import websocket_urlpatterns

RESOLVER = URLResolver(RegexPattern(r"^/"), websocket_urlpatterns)


@pytest.mark.parametrize(
    ("path", "consumer"), [("/ws/chat/", ChatConsumer), ("/ws/echo/", EchoConsumer)]
)
def test_sockets_are_where_the_contract_says(path, consumer):
    assert RESOLVER.resolve(path).func.consumer_class is consumer


@pytest.mark.parametrize("path", ["/ws/", "/ws/chat", "/ws/chat/x", "/ws/echo/../chat/", "/"])
def test_elsewhere_is_none(path):
    with pytest.raises(Resolver404):
        RESOLVER.resolve(path)
