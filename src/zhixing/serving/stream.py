"""Server-sent events: a reply in pieces that always ends with ``[DONE]`` or with an error event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


def data_event(payload: Mapping[str, Any]) -> bytes:
    """Return one ``data:`` event; JSON keeps it on one line."""
    return b"data: " + json.dumps(payload, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


class EventStream(Response):
    """Sends events as they come, a comment when there are none for a while; gives up on a stalled reader."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        *,
        close: Callable[[], None],
        ping_seconds: float,
        stall_seconds: float,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self._events = events
        self._close = close
        self._ping = ping_seconds
        self._stall = stall_seconds
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", **headers})
        # The length is not known beforehand.
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream to its end; on leaving, for whatever reason, the work behind it is cancelled."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._events), aclosing(self._with_pings()) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(self._stall):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            pass  # the server closes a connection whose reply stays unfinished
        finally:
            self._close()

    async def _with_pings(self) -> AsyncGenerator[bytes, None]:
        following = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=self._ping)
                if not done:
                    yield PING
                    continue
                if (event := following.result()) is None:
                    return
                yield event
                following = asyncio.ensure_future(anext(self._events, None))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
