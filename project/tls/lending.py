"""One parent owns the listening sockets; its workers borrow them.

Between them is a pair of Unix sockets, one message of JSON at a time. A worker says
`{"take": [address, port], "name": …}`, `{"give_back": [address, port]}`, `{"ready": [line, …]}` and
from then on, as long as its event loop goes round, `{"alive": true}`; the parent answers a `take`
with `{"place": [address, port]}` and the socket, or with a `refusal` in its place. All workers
accept from the same queue, so a connection that waits in it is lost with none of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import select
import socket
from collections.abc import Callable
from typing import Any

from project.tls.binding import ListenError, OwnSockets, Place, written

logger = logging.getLogger("project.workers")
MESSAGE_BYTES = 64 * 1024
LOST = "A listening socket was lost on its way: this worker has too many open files."
OTHERS_SECONDS = 3.0  # the other workers hear of the same change within half a second
ANSWER_SECONDS = 15.0  # a worker waits so long for its parent, which may wait for the others
SIGN_SECONDS = 2.0  # between two signs of life


def pair() -> tuple[socket.socket, socket.socket]:
    """The parent's end and the worker's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Borrower:
    """The worker's end. `on_lost` is called when the parent has gone."""

    def __init__(self, link: socket.socket, *, on_lost: Callable[[], None]) -> None:
        link.setblocking(False)
        link.set_inheritable(False)
        self._link, self._on_lost = link, on_lost
        self._is_listening = False
        self._asked: dict[Place, asyncio.Future[socket.socket]] = {}

    async def take(self, name: str, place: Place) -> socket.socket:
        if not self._is_listening:
            self._is_listening = True
            asyncio.get_running_loop().add_reader(self._link, self._hear)
        answer: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._asked[place] = answer
        self._say({"take": place, "name": name})
        await asyncio.wait([answer], timeout=ANSWER_SECONDS)
        if answer.cancel():  # else it is there
            raise ListenError(
                f"The parent process did not answer within {ANSWER_SECONDS:g} seconds whether "
                f"endpoint {name} can have {written(place)}."
            )
        return answer.result()

    def give_back(self, place: Place) -> None:
        self._say({"give_back": place})

    def ready(self, lines: list[str]) -> None:
        """Tell that connections are accepted, and where; and from now on that the event loop
        goes round."""
        self._say({"ready": lines})
        self._give_sign()

    def _give_sign(self) -> None:
        if _reads(self._link):  # else the signs would leave no room for what must be told
            self._say({"alive": True})
        asyncio.get_event_loop().call_later(SIGN_SECONDS, self._give_sign)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._link.send(json.dumps(message).encode())
        except OSError:  # that the parent has gone is noticed in _hear
            logger.warning("The parent process cannot be told %s.", next(iter(message)))

    def _hear(self) -> None:
        try:
            data, handed, _, _ = socket.recv_fds(self._link, MESSAGE_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            data, handed = b"", []
        if not data:
            self._lose()
            return
        message = json.loads(data)
        place = _place(message["place"])
        answer = self._asked.pop(place, None)
        listener = socket.socket(fileno=handed[0]) if handed else None
        if answer is None or answer.done():  # nobody waits any more
            if listener is not None:
                listener.close()
                if answer is not None:  # else it was asked twice, and has it by the other answer
                    self.give_back(place)
        elif listener is not None:
            answer.set_result(listener)
        else:
            answer.set_exception(ListenError(message.get("refusal", LOST)))

    def _lose(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ListenError("The parent process has gone."))
        self._asked.clear()
        self._on_lost()


class Lender:
    """The parent's sockets, and which borrower has which."""

    def __init__(self, sockets: OwnSockets) -> None:
        self._sockets = sockets
        self._open: dict[Place, socket.socket] = {}
        self._held: dict[Place, set[object]] = {}

    async def lend(self, borrower: object, name: str, place: Place) -> socket.socket:
        """The socket of a place, opened if it is new; raises ListenError.

        Where a socket of ours is in the way (an endpoint that moves from 127.0.0.1 to 0.0.0.0),
        the workers that have not heard of the change yet get a moment to give it back.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + OTHERS_SECONDS
        while place not in self._open:
            try:
                self._open[place] = await self._sockets.take(name, place)
            except ListenError:
                if loop.time() > end or place[1] not in {port for _, port in self._open}:
                    raise
                await asyncio.sleep(0.05)
        self._held.setdefault(place, set()).add(borrower)
        return self._open[place]

    def take_back(self, borrower: object, place: Place) -> None:
        """A borrower does not want it any more; what nobody wants is closed."""
        self._held.get(place, set()).discard(borrower)
        if not self._held.get(place):
            self._close(place)

    def forget(self, borrower: object) -> None:
        """A borrower ends. What it had stays open, for the one that takes its place."""
        for holders in self._held.values():
            holders.discard(borrower)

    def tidy(self) -> None:
        """Close what nobody has. For a moment when some borrower has all that is wanted."""
        for place in [place for place in self._open if not self._held.get(place)]:
            self._close(place)

    def close(self) -> None:
        for place in list(self._open):
            self._close(place)

    def _close(self, place: Place) -> None:
        self._held.pop(place, None)
        if (listener := self._open.pop(place, None)) is not None:
            listener.close()
            self._sockets.give_back(place)


class Link:
    """The parent's end of the way to one worker."""

    def __init__(self, link: socket.socket, lender: Lender) -> None:
        link.setblocking(False)
        self._link, self._lender = link, lender
        self._lending: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[list[str] | None] = loop.create_future()
        self.silence: int | None = None  # rounds of the parent since the last sign of life
        loop.add_reader(link, self._hear)

    def close(self) -> None:
        """Forget the worker; if it was not ready yet, `ready` becomes None."""
        if self._link.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()
        for lending in self._lending:
            lending.cancel()
        self._lender.forget(self)
        if not self.ready.done():
            self.ready.set_result(None)

    def _hear(self) -> None:
        try:
            data = self._link.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._link)
            return
        message = json.loads(data)
        if "take" in message:
            lending = asyncio.create_task(self._lend(message["name"], _place(message["take"])))
            self._lending.add(lending)
            lending.add_done_callback(self._lending.discard)
        elif "give_back" in message:
            self._lender.take_back(self, _place(message["give_back"]))
        elif "alive" in message:
            self.silence = 0
        elif "ready" in message and not self.ready.done():
            self._lender.tidy()
            self.ready.set_result(message["ready"])

    async def _lend(self, name: str, place: Place) -> None:
        try:
            listener = await self._lender.lend(self, name, place)
        except ListenError as error:
            self._answer({"place": place, "refusal": str(error)})
        except Exception:  # whatever it is: who is not answered waits
            logger.exception("Endpoint %s cannot be lent its socket.", name)
            refusal = f"Endpoint {name} cannot have {written(place)}. The parent's log says why."
            self._answer({"place": place, "refusal": refusal})
        else:
            self._answer({"place": place}, listener.fileno())

    def _answer(self, message: dict[str, Any], *fds: int) -> None:
        try:
            socket.send_fds(self._link, [json.dumps(message).encode()], fds)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died since; whoever waits for its end hears of that
        except OSError as error:  # it asks again
            logger.warning("A worker cannot be answered: %s.", error.strerror)


def _reads(link: socket.socket) -> bool:
    """Whether the other end is there, and little waits in its queue."""
    asked = select.poll()
    asked.register(link, select.POLLOUT)
    return [event for _, event in asked.poll(0)] == [select.POLLOUT]


def _place(pair: list[Any]) -> Place:
    address, port = pair
    return address, port
