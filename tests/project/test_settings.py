"""What settings say to the database's driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys

ASK = """
import json, django
from django.conf import settings
django.setup()
from django.db import connection
found = connection.get_connection_params()
print(json.dumps({name: found.get(name) for name in %r}))
"""
LIMITS = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval")


def limits(tmp_path, url):
    """Those with which a connection to PostgreSQL is made."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SIGNET_")}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "SIGNET_HOME": str(tmp_path),
        "DATABASE_URL": url,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK % (LIMITS,)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_database_that_vanished_is_given_up_sooner_than_a_heartbeat(tmp_path):
    found = limits(tmp_path, "postgres://signet@192.0.2.1/signet")
    assert 0 < found["connect_timeout"] < 25
    assert 0 < found["tcp_user_timeout"] < 25_000
    assert 0 < found["keepalives_idle"] + found["keepalives_interval"] < 25


def test_url_of_the_database_may_say_otherwise(tmp_path):
    found = limits(tmp_path, "postgres://signet@192.0.2.1/signet?connect_timeout=3")
    assert (int(found["connect_timeout"]), found["tcp_user_timeout"]) == (3, 20_000)
