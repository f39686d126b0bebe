"""Serve every enabled endpoint until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import threading
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.utils.module_loading import import_string

from pki import changes, keys
from project.tls import configuration
from project.tls.endpoint import ListenError
from project.tls.listeners import Wanted

BOOTSTRAP = "Run: manage.py bootstrap"
LAST_SECONDS = 3.0


class Command(BaseCommand):
    help = "Serve every enabled endpoint until SIGTERM or Ctrl-C."
    requires_system_checks: list[str] = []  # they run in handle(), where a refusal is one sentence

    def handle(self, *args: Any, **options: Any) -> None:
        # Inside, because importing Daphne installs the Twisted reactor and Channels wants the apps.
        from project.tls.server import Server
        from project.tls.watch import Watch

        version, wanted = self._read()
        application = import_string(settings.ASGI_APPLICATION)

        def announce() -> None:
            for one in wanted:
                self.stdout.write(f"Listening: {one.settings}")
            self.stdout.flush()

        server = Server(
            application, wanted=wanted, background=Watch(version=version).run, ready=announce
        )
        try:
            server.run()
        except ListenError as error:
            raise CommandError(str(error)) from None
        _end_within(LAST_SECONDS)

    def _read(self) -> tuple[int, list[Wanted]]:
        """The version comes first: what changes while the rest is read is read again."""
        try:
            version = changes.current_version()
            keys.require_master_key()
            self._check()
            wanted = configuration.load()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read ({error}). {BOOTSTRAP}") from None
        except configuration.REFUSALS as error:
            raise CommandError(str(error)) from None
        finally:
            connections.close_all()
        if not wanted:
            raise CommandError(f"There is nothing to serve: no endpoint is enabled. {BOOTSTRAP}")
        return version, wanted

    def _check(self) -> None:
        for message in checks.run_checks(databases=["default"]):
            said = f"{message.msg} {message.hint or ''} ({message.id})".replace("  ", " ")
            if message.is_serious():
                raise CommandError(said)
            self.stderr.write(said)


def _end_within(seconds: float) -> None:
    """Python waits for its worker threads when it ends. A view that hangs in one has been given
    its time already, so it does not keep the process."""
    last = threading.Timer(seconds, os._exit, (0,))
    last.daemon = True
    last.start()
