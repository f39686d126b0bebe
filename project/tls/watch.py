"""Keeps the ports of a serving process in step with the database.

A change is noticed at once when this process made it (`trust_changed`) and within half a second
when another did (the trust version). Contexts are rebuilt in a thread; new connections use them,
live ones go on. While the database cannot be read, the old state keeps serving. What falls due by
itself (`pki.upkeep`) has a task and a thread of its own: no change waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from pki import changes, upkeep
from pki.signals import trust_changed
from project import handshakes
from project.tls import configuration, failures
from project.tls.configuration import REFUSALS
from project.tls.listeners import Listeners, Wanted

logger = logging.getLogger("project.tls")
POLL_SECONDS = 0.5
UPKEEP_SECONDS = 60.0
RETRY_SECONDS = 5.0  # after a port or a key could not be had
NEVER = float("inf")
Result = TypeVar("Result")


class Complaints:
    """Each trouble is logged once until all is well again, not twice a second."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    def make(self, error: Exception) -> None:
        if isinstance(error, (DatabaseError, OSError, *REFUSALS)):
            self._log(f"{type(error).__name__}: {error}")
        else:
            self._log(f"unexpected {type(error).__name__}", exc_info=error)

    def clear(self) -> None:
        self._made.clear()

    def _log(self, trouble: str, *, exc_info: Exception | None = None) -> None:
        if trouble not in self._made:
            logger.error("Serving goes on as it was. %s", trouble, exc_info=exc_info)
        self._made.add(trouble)


class Watch:
    def __init__(self, *, version: int) -> None:
        """`version` is the trust version that was read before the endpoints were."""
        self._applied = self._announced = version
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self._upkeep_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upkeep")
        self._wake = asyncio.Event()
        self._is_announcing = False
        self._complaints = Complaints()
        self._upkeep_at = 0.0
        self._retry_at = NEVER

    async def run(self, ports: Listeners) -> None:
        """Goes on until it is cancelled."""
        loop = asyncio.get_running_loop()

        def wake(**_: Any) -> None:
            if not self._is_announcing:
                loop.call_soon_threadsafe(self._wake.set)

        trust_changed.connect(wake)
        upkeep_task = loop.create_task(self._keep_up())
        try:
            while True:
                await self._turn(ports)
                await self._pause()
        finally:
            upkeep_task.cancel()
            trust_changed.disconnect(wake)
            for thread in (self._thread, self._upkeep_thread):
                thread.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, ports: Listeners) -> None:
        try:
            version = await self._in_thread(changes.current_version)
            is_well = await self._follow(ports, version)
            if version != self._announced:
                self._announced = version
                await self._in_thread(self._announce)
            if len(failures.sample):  # last: what cannot be kept must keep no change waiting
                await self._in_thread(handshakes.keep)
        except Exception as error:
            self._complaints.make(error)
        else:
            if is_well and self._retry_at == NEVER:
                self._complaints.clear()

    async def _follow(self, ports: Listeners, version: int) -> bool:
        """False where the ports could not follow; the change is announced all the same, or sockets
        would outlive what it revokes."""
        try:
            if version != self._applied or time.monotonic() >= self._retry_at:
                await self._apply(ports)
                self._applied = version
        except Exception as error:
            self._complaints.make(error)
            return False
        return True

    async def _apply(self, ports: Listeners) -> None:
        wanted = await self._in_thread(self._load)
        ports_are_had = await ports.apply(self._keep(ports, wanted))
        is_whole = ports_are_had and None not in wanted.values()
        self._retry_at = NEVER if is_whole else time.monotonic() + RETRY_SECONDS

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):  # wait_for can swallow a cancellation
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _keep_up(self) -> None:
        """Goes on until it is cancelled."""
        complaints = Complaints()
        while True:
            duty = upkeep.carry_out_punctual
            if time.monotonic() - self._upkeep_at >= UPKEEP_SECONDS:
                duty, self._upkeep_at = upkeep.carry_out, time.monotonic()
            try:
                await self._in_thread(partial(_now, duty), self._upkeep_thread)
            except Exception as error:
                complaints.make(error)
            else:
                complaints.clear()
            await asyncio.sleep(POLL_SECONDS)

    def _load(self) -> dict[str, Wanted | None]:
        """What is wanted now. An endpoint that cannot be prepared is None: it stays as it is."""
        wanted: dict[str, Wanted | None] = {}
        for row in configuration.rows():
            try:
                wanted[row.name] = configuration.prepare(row)
            except Exception as error:  # what is wrong with one must keep no other from following
                wanted[row.name] = None
                self._complaints.make(error)
        return wanted

    @staticmethod
    def _keep(ports: Listeners, wanted: dict[str, Wanted | None]) -> list[Wanted]:
        whole = [one for one in wanted.values() if one is not None]
        broken = [name for name, one in wanted.items() if one is None]
        old = [ports.endpoints[name] for name in broken if name in ports.endpoints]
        return whole + [Wanted(endpoint.settings, endpoint.contexts) for endpoint in old]

    def _announce(self) -> None:
        """Tell this process. For a change of its own this is the second time, which does no harm:
        a change of another process may have come between."""
        self._is_announcing = True
        try:
            for receiver, result in trust_changed.send_robust(sender=None):
                if isinstance(result, Exception):
                    logger.error("%r failed on trust_changed", receiver, exc_info=result)
        finally:
            self._is_announcing = False

    async def _in_thread(
        self, call: Callable[[], Result], thread: ThreadPoolExecutor | None = None
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread or self._thread, _fresh, call)


def _now(duty: Callable[..., None]) -> None:
    duty(at=timezone.now())


def _fresh(call: Callable[[], Result]) -> Result:
    close_old_connections()
    return call()
