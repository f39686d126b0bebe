"""The parent of several serving processes: starts them, replaces them, renews them one by one.

It owns the listening sockets (`project.tls.lending`) and does nothing else: it holds no database
connection and no key, and serves nobody. Each worker is a fresh process that runs the code as it is
on disk. A worker that loses its parent comes to an end in order.

    SIGTERM, SIGINT   every worker finishes what it is doing, then the parent ends; again: at once
    SIGHUP            a rolling restart: a new worker is ready before an old one goes

A worker whose event loop stands still is noticed by its silence, and replaced.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from project.systemd import Manager
from project.tls.binding import OwnSockets
from project.tls.lending import SIGN_SECONDS, Lender, Link, pair

logger = logging.getLogger("project.workers")

READY_SECONDS = 120.0
STEADY_SECONDS = 10.0  # who lived so long is replaced at once
LONGEST_PAUSE = 30.0
LAST_SECONDS = 10.0  # beyond the time to drain
SILENT_SECONDS = 30.0  # without a sign of life, a worker has this long
STACKS = signal.SIGUSR1  # not SIGABRT: the memory that it may leave on the disk has keys in it
STACKS_SECONDS = 1.0


class CannotServe(Exception):
    """A worker did not come to serve. `is_said` where it has given its own reason already."""

    def __init__(self, sentence: str, *, is_said: bool = False) -> None:
        super().__init__(sentence)
        self.is_said = is_said


class Worker:
    """One serving process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self.process, self.link = process, link
        self.is_leaving = self.is_late = False
        self.began = asyncio.get_running_loop().time()
        self.ended = asyncio.create_task(self._wait())

    async def is_ready(self) -> list[str] | None:
        """Where it listens once it accepts connections; None if it will not come to that."""
        try:
            async with asyncio.timeout(READY_SECONDS):  # wait_for can swallow a cancellation
                return await asyncio.shield(self.link.ready)
        except TimeoutError:
            self.is_late = True
            self.kill()
            await self.ended
            return None

    async def how_it_ended(self) -> str:
        """A sentence without its full stop, once it has ended."""
        code = await self.ended
        if self.is_late:
            return f"Worker {self.process.pid} did not come to serve in {READY_SECONDS:g} s"
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        return f"Worker {self.process.pid} ended {how}"

    async def leave(self, *, patience: float) -> None:
        """Let it finish what it is doing; returns when it has ended."""
        self.is_leaving = True
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(self.ended)
        except TimeoutError:
            logger.error("Worker %d does not come to an end; it is cut.", self.process.pid)
            self.kill()
            await self.ended

    async def break_silence(self) -> None:
        """Have it write where its threads stand, and end it, so that another takes its place."""
        logger.error(
            "Worker %d has given no sign of life for %g s and is ended. Unless something stopped "
            "it from outside, it writes next where its threads stand: report that as an error.",
            self.process.pid,
            SILENT_SECONDS,
        )
        self._send(STACKS)
        await asyncio.sleep(STACKS_SECONDS)
        self._send(signal.SIGKILL)

    def kill(self) -> None:
        self.is_leaving = True
        self._send(signal.SIGKILL)

    def lived(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    async def _wait(self) -> int:
        code = await self.process.wait()
        self.link.close()
        return code

    def _send(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)


class Workers:
    """As many workers as were asked for, whatever happens to one of them once the first serves."""

    def __init__(
        self,
        count: int,
        *,
        command: Sequence[str],
        sockets: OwnSockets,
        manager: Manager,
        drain_seconds: float,
        say: Callable[[str], None] = print,
    ) -> None:
        """`command` starts a worker when the number of its end of the link is added to it."""
        self._count, self._command, self._say = count, list(command), say
        self._sockets, self._lender, self._manager = sockets, Lender(sockets), manager
        self._patience = drain_seconds + LAST_SECONDS
        self._workers: set[Worker] = set()  # all that live, also those that are not ready or leave
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_wanted, self._renewal_wanted = asyncio.Event(), asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Serve until a signal says otherwise; returns the exit code."""
        self._listen_to_signals()
        self._manager.feed()
        self._in_background(self._watch())
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(self._stop_wanted.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            self._code = 1
        self._stop_wanted.set()
        for task in (serving, *self._tasks):
            task.cancel()
        self._manager.tell("STOPPING=1")
        self._lender.close()
        await asyncio.gather(*(one.leave(patience=self._patience) for one in set(self._workers)))
        return self._code

    # --- signals ------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self._had_terminal = has_terminal()

    def _on_stop(self, number: int) -> None:
        if not self._stop_wanted.is_set():
            logger.info("Stopping.")
            self._stop_wanted.set()
            return
        logger.warning("Stopping at once.")
        self._code = 128 + number
        for worker in self._workers:
            worker.kill()

    def _on_hangup(self) -> None:
        if self._had_terminal and not has_terminal():  # a window was closed
            self._stop_wanted.set()
        else:
            self._renewal_wanted.set()

    # --- life ---------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Returns where no first worker can be had; it has been said why. The others may fail as
        often as they like."""
        try:
            lines = await self._begin()
        except CannotServe as error:
            if not error.is_said:
                logger.error("%s.", error)
            return
        for line in [*lines, *self._sockets.unused()]:
            self._say(line)
        self._manager.tell("READY=1")
        await asyncio.gather(*(self._join() for _ in range(self._count - 1)))
        self._say(f"Workers: {', '.join(str(one.process.pid) for one in self._workers)}")
        while await self._renewal_wanted.wait():
            self._renewal_wanted.clear()
            self._manager.tell("STATUS=Rolling restart")
            await self._renew()
            self._manager.tell("STATUS=Serving")

    async def _join(self) -> None:
        """Start one more; where that fails it is tried again in the background."""
        try:
            await self._begin()
        except CannotServe as error:
            self._in_background(self._replace(str(error), _longer(0.0)))

    async def _begin(self, *, pause: float = 0.0) -> list[str]:
        """Start a worker that is replaced when it dies; returns where it listens. Raises
        CannotServe if it does not get so far."""
        ours, its = pair()
        try:
            with its:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(its.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                    start_new_session=True,  # a terminal's Ctrl-C is for the parent alone
                )
        except OSError as error:
            ours.close()
            raise CannotServe(f"No worker can be started: {error.strerror}") from None
        worker = Worker(process, Link(ours, self._lender))
        self._workers.add(worker)
        lines = await worker.is_ready()
        if lines is None:
            self._workers.discard(worker)
            how = await worker.how_it_ended()
            before = "" if worker.is_late else " before it served"
            raise CannotServe(how + before, is_said=process.returncode == 1)
        logger.info("Worker %d serves.", process.pid)
        self._in_background(self._mind(worker, pause))
        return lines

    async def _watch(self) -> None:
        """End workers that fall silent; goes on until it is cancelled. One that has never given a
        sign, because it is not ready or of an older version, is left alone.

        What counts is rounds, not time: however long this process itself, or the machine, has stood
        still, it is one round.
        """
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            for worker in self._workers:
                if worker.link.silence is None:
                    continue
                worker.link.silence += 1
                if worker.link.silence > SILENT_SECONDS / SIGN_SECONDS:
                    worker.link.silence = None
                    self._in_background(worker.break_silence())

    async def _mind(self, worker: Worker, pause: float) -> None:
        """Wait for the end of a worker that serves, and put another in its place."""
        await asyncio.shield(worker.ended)
        self._workers.discard(worker)
        if not worker.is_leaving:
            pause = 0.0 if worker.lived() >= STEADY_SECONDS else _longer(pause)
            await self._replace(await worker.how_it_ended(), pause)

    async def _replace(self, loss: str, pause: float) -> None:
        """Start another after a pause, and again after longer ones until it serves."""
        while True:
            when = f"in {pause:g} s" if pause else "now"
            logger.error("%s. Another takes its place %s.", loss, when)
            await asyncio.sleep(pause)
            try:
                await self._begin(pause=pause)
            except CannotServe as error:
                loss, pause = str(error), _longer(pause)
            else:
                return

    async def _renew(self) -> None:
        """Put a new worker in the place of each, one after the other."""
        for old in [one for one in self._workers if one.link.ready.done()]:
            if old.ended.done():
                continue
            old.is_leaving = True  # whatever happens to it now, it is being replaced
            try:
                await self._begin()
            except CannotServe as error:
                logger.error(
                    "%s. The new worker does not serve, so the old ones go on. "
                    "Put right what is wrong and send SIGHUP again.",
                    error,
                )
                old.is_leaving = False
                if old.ended.done():
                    pause = 0.0 if old.lived() >= STEADY_SECONDS else _longer(0.0)
                    self._in_background(self._replace(await old.how_it_ended(), pause))
                return
            logger.info("Worker %d is relieved.", old.process.pid)
            await old.leave(patience=self._patience)
        logger.info("Every worker is new.")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def has_terminal() -> bool:
    """Whether this process was started in a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def write_stacks_when_asked() -> None:
    """For a worker: let the parent have the stacks of all threads written to the log."""
    faulthandler.register(STACKS)


def worker_command() -> list[str]:
    return [sys.executable, sys.argv[0], "serve", "--worker"]


def _longer(pause: float) -> float:
    return min(max(1.0, 2 * pause), LONGEST_PAUSE)
