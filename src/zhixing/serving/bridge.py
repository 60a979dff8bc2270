"""From the engine's thread to one asyncio task: events in order, the client's departure among them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import Receive

from zhixing.language import tr
from zhixing.serving.engine import Engine, Ticket
from zhixing.serving.errors import ApiError
from zhixing.serving.writer import Event, Failed, Order, Piece

_STATUS = {"timeout": 408, "shutting_down": 503}


class ClientGone(Exception):
    """The client closed the connection: nobody is left to answer."""


class SlowReader(Exception):
    """The client took the events of its stream too slowly."""


class Mailbox:
    """The events of one request, posted by the engine's thread and taken by the request's task."""

    def __init__(self, ticket: Ticket, limit: int | None) -> None:
        self._ticket = ticket
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        # Each counter is written by one thread only.
        self._posted = self._taken = 0

    def post(self, event: Event) -> None:
        """Put an event in, from any thread; a full box ends the request: the engine waits for no client."""
        self._posted += 1
        full = self._limit is not None and self._posted - self._taken > self._limit
        if full and isinstance(event, Piece):
            self._ticket.cancel()
            self._loop.call_soon_threadsafe(self._queue.put_nowait, SlowReader())
        else:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def hang_up(self) -> None:
        """Tell the reader that the client is gone; in the event loop's thread."""
        self._queue.put_nowait(ClientGone())

    async def take(self) -> Event:
        """Return the next event.

        Raises:
            ClientGone: there is nobody to answer.
            SlowReader: the box was full.
        """
        item = await self._queue.get()
        self._taken += 1
        if isinstance(item, Exception):
            raise item
        return item


class Work:
    """A request at work in the engine; ``close`` cancels whatever has not ended.

    The client is watched all the while: when it goes, the work stops, before the first token, in the midst
    of a stream, and while a whole reply is awaited.
    """

    def __init__(
        self,
        engine: Engine,
        ticket: Ticket,
        orders: Sequence[Order],
        receive: Receive,
        seconds: float,
        limit: int | None = None,
    ) -> None:
        self._ticket = ticket
        self.mailbox = Mailbox(ticket, limit)
        engine.submit(ticket, orders, self.mailbox.post, seconds)
        self._watch = asyncio.create_task(_watch(receive, ticket, self.mailbox))

    def close(self) -> None:
        """Stop watching and working."""
        self._watch.cancel()
        self._ticket.cancel(abandoned=False)


async def _watch(receive: Receive, ticket: Ticket, mailbox: Mailbox) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    ticket.cancel()
    mailbox.hang_up()


def failure(event: Failed) -> ApiError:
    """Return the refusal that tells a client how its text was ended."""
    return ApiError(_STATUS.get(event.code, 500), event.message, code=event.code)


def slow_reader() -> ApiError:
    """Return the refusal for a client that does not keep up."""
    return ApiError(408, tr("the stream was read too slowly", "读取数据流过慢"), code="slow_reader")
