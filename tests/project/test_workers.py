"""The parent with real processes, whose program is small so that they start at once."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from project import workers

REPOSITORY = Path(__file__).resolve().parents[2]
PARENT = """
import asyncio, logging, sys
from project.systemd import Manager
from project.tls.binding import OwnSockets
from project.workers import Workers
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
company = Workers(
    int(sys.argv[1]), command=[sys.executable, sys.argv[2]], sockets=OwnSockets(),
    manager=Manager(), drain_seconds=float(sys.argv[3]),
)
sys.exit(asyncio.run(company.run()))
"""
WORKER = """
import json, socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
link.send(json.dumps({"ready": ["Listening: here"]}).encode())
link.recv(100)
"""
BROKEN = "import sys; sys.exit('The new code is broken.')"
ONE_AFTER_THE_OTHER = f"""
import os, signal
try:
    open(__file__ + ".first", "x")
except FileExistsError:
    if not os.path.exists(__file__ + ".mended"):
        os.kill(os.getpid(), signal.SIGKILL)
{WORKER}
"""
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
STUBBORN = f"""
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{WORKER.replace("link.recv(100)", "time.sleep(600)")}
"""
SILENT_SECONDS = 5
WATCHING = PARENT.replace(
    "company =",
    f"from project import workers; workers.SIGN_SECONDS = 0.2\n"
    f"workers.SILENT_SECONDS = {SILENT_SECONDS}; company =",
)
SIGNING = """
import asyncio, socket, sys, time
from project import workers
from project.tls import lending
lending.SIGN_SECONDS = 0.2
def hang(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
async def work():
    await asyncio.sleep(600)
async def main():
    gone = asyncio.Event()
    borrower = lending.Borrower(socket.socket(fileno=int(sys.argv[1])), on_lost=gone.set)
    (await borrower.take("main", ("127.0.0.1", 0))).close()
    borrower.ready(["Listening: here"])
    working = asyncio.create_task(work())
    await gone.wait()
workers.write_stacks_when_asked()
asyncio.run(main())
"""
HANGING = SIGNING.replace("await asyncio.sleep(600)", "hang(600)")
BUSY = SIGNING.replace(
    "await asyncio.sleep(600)",
    "[(hang(2), await asyncio.sleep(0.5)) for _ in range(4)]; print('busy no more')",
)


@dataclass
class Company:
    process: subprocess.Popen[str]
    program: Path
    log: Path

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.log.read_text().count(text) >= times, self.log.read_text)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


Start = Callable[..., Company]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Company] = []

    def start(count: int = 2, program: str = WORKER, drain_seconds: float = 30) -> Company:
        code, log = tmp_path / "worker.py", tmp_path / "log"
        code.write_text(program)
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", PARENT, str(count), str(code), str(drain_seconds)],
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPOSITORY)},
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        begun.append(Company(process, code, log))
        return begun[-1]

    yield start
    for one in begun:
        left = one.workers() if one.process.poll() is None else []
        one.process.kill()
        one.process.wait()
        for pid in left:  # one that stands still does not notice
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], object], what: Callable[[], str] = str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_says_where_it_listens_once_and_ends_with_its_workers(start):
    company = start(count=3)
    company.says("Workers: ")
    assert company.log.read_text().count("Listening: here") == 1
    pids = company.workers()
    assert len(pids) == 3
    company.send(signal.SIGTERM)
    assert company.process.wait(30) == 0
    assert not any(map(is_alive, pids))


def test_dead_worker_is_replaced_and_the_log_says_so(start):
    company = start()
    company.says("Workers: ")
    dead, other = company.workers()
    os.kill(dead, signal.SIGKILL)
    company.says(f"Worker {dead} ended by signal 9. Another takes its place in 1 s.")
    company.says(" serves.", times=3)
    assert len(company.workers()) == 2
    assert other in company.workers()


def test_worker_that_dies_again_and_again_is_replaced_ever_more_slowly(start):
    company = start(count=1)
    company.says("Workers: ")
    company.program.write_text(WORKER.replace("link.recv(100)", "sys.exit(3)"))
    os.kill(company.workers()[0], signal.SIGKILL)
    company.says(" ended with status 3. Another takes its place in 4 s.")
    pauses = re.findall(r"takes its place in (\d+) s", company.log.read_text())
    assert pauses == ["1", "2", "4"]


def test_replacement_that_does_not_come_to_serve_is_tried_again(start):
    company = start(count=1)
    company.says("Workers: ")
    company.program.write_text(BROKEN)
    os.kill(company.workers()[0], signal.SIGKILL)
    company.says(" ended with status 1 before it served. Another takes its place in 2 s.")
    company.program.write_text(WORKER)
    company.says(" serves.", times=2)
    assert len(company.workers()) == 1


@pytest.fixture
def watching(start, monkeypatch) -> Start:
    """A parent that bears little silence."""
    monkeypatch.setattr(f"{__name__}.PARENT", WATCHING)
    return start


def test_worker_that_is_stopped_is_replaced_and_the_other_stays(watching):
    company = watching(program=SIGNING)
    company.says("Workers: ")
    stopped, other = company.workers()
    os.kill(stopped, signal.SIGSTOP)
    company.says(f"Worker {stopped} has given no sign of life for {SILENT_SECONDS} s and is ended.")
    company.says(f"Worker {stopped} ended by signal 9. Another takes its place ")
    company.says(" serves.", times=3)
    assert other in company.workers()
    assert company.log.read_text().count("no sign of life") == 1


def test_worker_that_hangs_writes_where_it_stands_before_it_is_replaced(watching):
    company = watching(count=1, program=HANGING)
    company.says("Workers: ")
    company.program.write_text(SIGNING)
    company.says(" serves.", times=2)
    log = company.log.read_text()
    assert log.index("no sign of life") < log.index(" in hang\n") < log.index("ended by signal 9")


def test_worker_that_is_busy_again_and_again_for_less_than_the_limit_stays(watching):
    company = watching(count=1, program=BUSY)
    company.says("Workers: ")
    busy = company.workers()
    company.says("busy no more")
    assert company.workers() == busy
    assert "no sign of life" not in company.log.read_text()


def test_worker_that_has_never_given_a_sign_is_left_alone(watching):
    company = watching()
    company.says("Workers: ")
    pids = company.workers()
    time.sleep(SILENT_SECONDS + 2)
    assert company.workers() == pids


def test_time_in_which_the_parent_itself_stood_still_does_not_count(watching):
    company = watching(program=SIGNING)
    company.says("Workers: ")
    pids = company.workers()
    for pid in (company.process.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SILENT_SECONDS + 2)
    company.send(signal.SIGCONT)
    time.sleep(1)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)
    assert company.workers() == pids
    assert "no sign of life" not in company.log.read_text()


def test_watchdog_of_systemd_hears_of_the_parent_until_its_end(start, monkeypatch, tmp_path):
    notify = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", notify)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(notify)
        manager.settimeout(30)
        company = start(program=STUBBORN)
        for state in (b"READY=1", b"STOPPING=1"):
            while manager.recv(100) != state:
                pass
            assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            company.send(signal.SIGTERM)


def test_program_that_is_not_there_ends_the_start(start, monkeypatch):
    monkeypatch.setattr(
        f"{__name__}.PARENT", PARENT.replace("command=[sys.executable", "command=['/no'")
    )
    company = start()
    assert company.process.wait(30) == 1
    assert "No worker can be started: No such file or directory." in company.log.read_text()


def test_first_worker_that_cannot_serve_ends_the_start(start):
    company = start(program=BROKEN)
    assert company.process.wait(30) == 1
    assert company.log.read_text().count("The new code is broken.") == 1


def test_first_worker_that_is_killed_ends_the_start_and_the_log_says_how(start):
    company = start(program=KILLED)
    assert company.process.wait(30) == 1
    assert re.fullmatch(
        r"Worker \d+ ended by signal 9 before it served\.\n", company.log.read_text()
    )


def test_further_worker_that_is_killed_while_it_starts_is_tried_again_and_the_first_serves(start):
    company = start(program=ONE_AFTER_THE_OTHER)
    company.says("Workers: ")
    (first,) = re.findall(r"Worker (\d+) serves", company.log.read_text())
    company.says("ended by signal 9 before it served. Another takes its place in 1 s.")
    company.says("ended by signal 9 before it served. Another takes its place in 2 s.")
    company.program.with_name(company.program.name + ".mended").touch()
    company.says(" serves.", times=2)
    assert len(company.workers()) == 2
    assert int(first) in company.workers()
    assert company.process.poll() is None


def test_further_worker_that_refuses_is_tried_again_too(start):
    refusing = ONE_AFTER_THE_OTHER.replace("os.kill(os.getpid(), signal.SIGKILL)", BROKEN[12:])
    company = start(program=f"import sys\n{refusing}")
    company.says("ended with status 1 before it served. Another takes its place in 2 s.")
    assert company.log.read_text().count(" serves.") == 1
    assert len(company.workers()) >= 1
    company.send(signal.SIGTERM)
    assert company.process.wait(30) == 0


def test_hangup_puts_new_workers_in_the_place_of_all(start):
    company = start()
    company.says("Workers: ")
    old = company.workers()
    company.send(signal.SIGHUP)
    company.says("Every worker is new.")
    assert len(company.workers()) == 2
    assert not set(old) & set(company.workers())


def test_hangup_onto_broken_code_leaves_the_old_workers(start):
    company = start()
    company.says("Workers: ")
    old = company.workers()
    company.program.write_text(BROKEN)
    company.send(signal.SIGHUP)
    company.says("The new worker does not serve, so the old ones go on.")
    assert company.workers() == old
    company.program.write_text(WORKER)
    company.send(signal.SIGHUP)
    company.says("Every worker is new.")


def test_worker_that_does_not_come_to_an_end_is_cut(start, monkeypatch):
    company = start(count=1, program=STUBBORN, drain_seconds=1 - workers.LAST_SECONDS)
    company.says("Workers: ")
    (stubborn,) = company.workers()
    company.send(signal.SIGTERM)
    assert company.process.wait(30) == 0
    assert f"Worker {stubborn} does not come to an end; it is cut." in company.log.read_text()
    assert not is_alive(stubborn)


def test_second_signal_ends_all_at_once(start):
    company = start(program=STUBBORN)
    company.says("Workers: ")
    pids = company.workers()
    company.send(signal.SIGINT)
    company.says("Stopping.")
    company.send(signal.SIGINT)
    assert company.process.wait(30) == 128 + signal.SIGINT
    assert not any(map(is_alive, pids))


def test_closed_terminal_ends_what_was_started_in_it(tmp_path):
    """A pseudo-terminal whose other side goes away: the kernel sends SIGHUP."""
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    pid, terminal = os.forkpty()
    if pid == 0:  # the child
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-c", PARENT, "1", str(program), "5"])
    printed = b""
    while b"Workers: " not in printed:
        printed += os.read(terminal, 1000)
    os.close(terminal)
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)


def test_several_workers_without_redis_are_refused(settings):
    settings.REDIS_URL = None
    with pytest.raises(CommandError, match="--workers 2 needs REDIS_URL: it is by Redis that"):
        call_command("serve", workers=2)


def test_no_worker_at_all_is_refused():
    with pytest.raises(CommandError, match="--workers is a number from 1 up"):
        call_command("serve", workers=0)
