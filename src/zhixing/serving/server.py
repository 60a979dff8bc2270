"""The process around the application: the socket, the signals, the orderly end.

On the first SIGTERM or SIGINT the server says at once that it is not ready and takes no new work; what runs
may finish for a while; what is left is cut, and streams are told so by an error event. A second signal cuts
at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from zhixing.errors import InputError
from zhixing.language import tr
from zhixing.serving.app import create_app
from zhixing.serving.auth import check_exposure
from zhixing.serving.errors import ApiError
from zhixing.serving.metrics import Metrics
from zhixing.serving.served import ServedModel
from zhixing.serving.settings import ServerSettings

log = logging.getLogger(__name__)

_HEAD_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 5
_LAST_BYTES_SECONDS = 5


class Server(uvicorn.Server):
    """Runs until it is told to stop; ``run`` blocks and returns the exit code."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        metrics: Metrics,
        settings: ServerSettings,
        key: str | None = None,
    ) -> None:
        """Bind the socket and start the engines.

        Raises:
            InputError: an address open to others without a key, or an address that cannot be bound.
        """
        check_exposure(settings.host, key)
        self._socket = _bind(settings.host, settings.port)
        self._models = models
        self._settings = settings
        self._signals: list[int] = []
        self._deadline = float("inf")
        self._told = False
        super().__init__(_config(create_app(models, metrics, settings, key), settings))
        for served in models:
            served.engine.start()

    @property
    def url(self) -> str:
        """Where the server listens."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_until_stopped(self, announce: Callable[[], None] = lambda: None) -> int:
        """Serve; return 0 after an orderly end, 128 + the signal's number if a second one cut it short."""
        self._announce = announce
        try:
            self.run(sockets=[self._socket])
        finally:
            for served in self._models:
                served.engine.stop()
        return 128 + self._signals[1] if len(self._signals) > 1 else 0

    def drain(self) -> None:
        """Begin the orderly end; from any thread or a signal handler."""
        for served in self._models:
            served.engine.drain()
        self._deadline = time.monotonic() + self._settings.drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: has everything that runs ended, or its time?"""
        late = time.monotonic() > self._deadline or len(self._signals) > 1
        draining = self._deadline < float("inf")
        if draining and not self._told:
            self._tell_drain()
        if draining and (late or not any(served.engine.taken for served in self._models)):
            for served in self._models:
                served.engine.cut()
            self.should_exit = True
        return await super().on_tick(counter)

    def _tell_drain(self) -> None:
        self._told = True
        seconds = f"{self._settings.drain_seconds:g}"
        log.warning(
            tr(
                f"finishing what runs, at most {seconds} s; a second signal stops at once",
                f"正在完成现有请求，最多 {seconds} 秒；再次发送信号则立即停止",
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take the signals while serving; unlike uvicorn's, does not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)
        if len(self._signals) == 1:
            self.drain()


class Connection(H11Protocol):
    """uvicorn's connection with a time limit for the request's head, and our error object for garbage."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Handle bytes; stop the clock when the head is complete, start it when the next one begins."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        error = ApiError(400, tr("this is not a valid HTTP request", "不是有效的 HTTP 请求"), code="invalid_http")
        body = json.dumps(error.body(), ensure_ascii=False).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events: list[Any] = [h11.Response(status_code=400, headers=headers, reason=b"Bad Request")]
        for event in [*events, h11.Data(data=body), h11.EndOfMessage()]:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise InputError(
            tr(
                f"cannot listen on {host} port {port}: {error.strerror}; choose another --host or --port",
                f"无法监听 {host} 端口 {port}：{error.strerror}；请更换 --host 或 --port",
            )
        ) from error
    return listener


def _config(app: Any, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_LAST_BYTES_SECONDS,
        h11_max_incomplete_event_size=settings.header_bytes,
    )
