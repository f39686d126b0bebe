"""/healthz and /readyz, each part broken for real."""

from __future__ import annotations

import socket

import pytest
from channels.layers import channel_layers
from django.db import connection

from tests.client import Visitor
from tests.factories import make_pki


@pytest.fixture
def without_database(transactional_db, at):
    """The database is there when the process starts, and gone now."""
    make_pki(at=at)
    connection.close()
    before = dict(connection.settings_dict)
    gone = {"PORT": free_port(), "HOST": "127.0.0.1"}
    if connection.vendor == "sqlite":
        gone = {"NAME": "/nowhere/signet.sqlite3"}
    connection.settings_dict.update(gone)
    yield
    connection.close()
    connection.settings_dict.update({key: before[key] for key in gone})


@pytest.fixture
def without_redis(settings):
    """The channel layer is a Redis that does not listen."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [f"redis://127.0.0.1:{free_port()}/0"]},
        }
    }
    channel_layers.backends.clear()
    yield
    channel_layers.backends.clear()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_without_its_database_a_process_is_alive_but_not_ready(without_database):
    assert Visitor().get("/healthz").content == b"ok\n"
    ready = Visitor().get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["database"] == "failing"
    assert ready.json()["parts"]["channel_layer"] == "ok"


def test_without_redis_a_process_is_not_ready(pki, without_redis, caplog):
    ready = Visitor().get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"] == {
        "database": "ok",
        "channel_layer": "failing",
        "ca_key": "ok",
        "crl": "ok",
    }
    assert "127.0.0.1" not in ready.content.decode()
    assert "not ready: channel_layer" in caplog.text
