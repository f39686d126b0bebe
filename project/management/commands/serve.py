"""Serve every enabled endpoint until SIGTERM or Ctrl-C, in one process or in several."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from argparse import SUPPRESS
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from django.utils.module_loading import import_string

from pki import changes, keys
from pki.checks import is_migrated
from pki.management.base import OLDER
from project import systemd, workers
from project.tls import configuration
from project.tls.binding import ListenError, OwnSockets, Sockets
from project.tls.lending import Borrower
from project.tls.listeners import Wanted

if TYPE_CHECKING:
    from project.tls.server import Server

logger = logging.getLogger("project.workers")
BOOTSTRAP = "Run: manage.py bootstrap"
LAST_SECONDS = 3.0


class Command(BaseCommand):
    help = "Serve every enabled endpoint until SIGTERM or Ctrl-C."
    requires_system_checks: list[str] = []  # they run in handle(), where a refusal is one sentence

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--workers",
            type=int,
            metavar="N",
            help="serve with N processes, replace one that dies, renew them one by one on SIGHUP",
        )
        parser.add_argument("--worker", type=int, help=SUPPRESS)  # the link to the parent

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] is not None:
            self._serve_with(options["workers"])
        elif options["worker"] is not None:
            self._serve_for_parent(socket.socket(fileno=options["worker"]))
        else:
            self._serve_alone()

    def _serve_alone(self) -> None:
        manager, sockets = systemd.Manager(), OwnSockets(systemd.sockets())
        had_terminal = workers.has_terminal()

        def ready(lines: list[str]) -> None:
            for line in [*lines, *sockets.unused()]:
                self.stdout.write(line)
            self.stdout.flush()
            asyncio.get_event_loop().add_signal_handler(signal.SIGHUP, on_hangup)
            manager.tell("READY=1")
            manager.feed()

        def on_hangup() -> None:
            if had_terminal and not workers.has_terminal():  # its window was closed
                server.leave()
            else:
                logger.warning(
                    "SIGHUP changes nothing: endpoints, certificates and trust stores are followed "
                    "as they change. For new code restart, or serve with --workers."
                )

        server = self._server(sockets, ready=ready)
        self._run(server)

    def _serve_for_parent(self, link: socket.socket) -> None:
        def ready(lines: list[str]) -> None:
            loop = asyncio.get_event_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, server.leave)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            borrower.ready(lines)

        def on_lost() -> None:
            logger.error("The parent process has gone, so this worker comes to an end.")
            server.leave()

        workers.write_stacks_when_asked()
        borrower = Borrower(link, on_lost=on_lost)
        parting = f"Worker {os.getpid()} takes no new connections and finishes what it has begun."
        server = self._server(borrower, ready=ready, parting=parting)
        self._run(server)

    def _serve_with(self, count: int) -> None:
        """Start workers and mind them. This process itself never opens the database."""
        if count < 1:
            raise CommandError("--workers is a number from 1 up.")
        if count > 1 and not settings.REDIS_URL:
            raise CommandError(
                f"--workers {count} needs REDIS_URL: it is by Redis that one worker hears of a "
                "message, or of a revocation, that came in at another. Set it, or leave out "
                "--workers."
            )
        if count > 1 and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
            self.stderr.write(
                "On SQLite all workers wait for one writer at a time. That is correct, but no "
                "faster than one worker; set DATABASE_URL to a PostgreSQL database."
            )
        company = workers.Workers(
            count,
            command=workers.worker_command(),
            sockets=OwnSockets(systemd.sockets()),
            manager=systemd.Manager(),
            drain_seconds=settings.SIGNET_DRAIN_SECONDS,
        )
        code = asyncio.run(company.run())
        if code:
            sys.exit(code)

    def _server(
        self,
        sockets: Sockets,
        *,
        ready: Callable[[list[str]], None],
        parting: str = "Stopping.",
    ) -> Server:
        # Inside, because importing Daphne installs the Twisted reactor and Channels wants the apps.
        from project.live.register import Register
        from project.tls.server import Server
        from project.tls.watch import Watch

        version, wanted = self._read()
        return Server(
            import_string(settings.ASGI_APPLICATION),
            wanted=wanted,
            sockets=sockets,
            background=Watch(version=version).run,
            throughout=Register().run,
            ready=lambda: ready([f"Listening: {one.settings}" for one in wanted]),
            drain_seconds=settings.SIGNET_DRAIN_SECONDS,
            parting=parting,
        )

    def _run(self, server: Server) -> None:
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
            raise CommandError(_unreadable(error)) from None
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


def _unreadable(error: DatabaseError) -> str:
    """Without the SQL, which PostgreSQL's messages have from their second line on."""
    try:
        if not is_migrated():
            return OLDER
    except DatabaseError:
        pass  # there is nobody to ask
    return f"The database cannot be read: {str(error).partition(chr(10))[0]}."


def _end_within(seconds: float) -> None:
    """Python waits for its worker threads when it ends. A view that hangs in one has been given
    its time already, so it does not keep the process."""
    last = threading.Timer(seconds, os._exit, (0,))
    last.daemon = True
    last.start()
