"""Another serving process of the same deployment, with `main` on a port of its own: second.py PORT

As on a second machine that shares the database.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import django
from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from project.live.register import Register  # noqa: E402
from project.tls import configuration  # noqa: E402
from project.tls.listeners import Wanted  # noqa: E402
from project.tls.server import Server  # noqa: E402


def main(port: str) -> None:
    found = [one for one in configuration.load() if one.settings.name == "main"]
    wanted = [Wanted(replace(one.settings, port=int(port)), one.contexts) for one in found]
    connections.close_all()
    Server(
        import_string(settings.ASGI_APPLICATION),
        wanted=wanted,
        throughout=Register().run,
        ready=lambda: print("ready", flush=True),
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
