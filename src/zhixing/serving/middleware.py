"""What every request passes before any route sees it: one pure-ASGI wrapper.

Pure ASGI on purpose: Starlette's ``BaseHTTPMiddleware`` hides a client's disconnect from the route, so that
abandoned work is never cancelled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhixing.language import tr
from zhixing.serving.auth import Guard
from zhixing.serving.errors import ApiError
from zhixing.serving.settings import ServerSettings

log = logging.getLogger(__name__)
access = logging.getLogger("zhixing.serving.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MAX_HEADERS = 100
_MAX_TARGET = 2048

REQUEST_ID = "zhixing.request_id"
"""Where the request id stands in the ASGI scope."""


class Gate:
    """Limits, the guard, the request id, the access log, and the last catch for what a route lets through."""

    def __init__(self, app: ASGIApp, guard: Guard, settings: ServerSettings) -> None:
        self._app = app
        self._guard = guard
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no websockets here
        reply = _Reply(send)
        started = time.monotonic()
        scope[REQUEST_ID] = reply.request_id
        try:
            self._check(scope)
            await self._app(scope, _Body(receive, self._settings), reply)
        except ApiError as error:
            await reply.refuse(error)
        except Exception as error:
            _log_place(error, reply.request_id)
            await reply.refuse(unforeseen(reply.request_id))
        finally:
            _log_access(scope, reply, time.monotonic() - started)

    def _check(self, scope: Scope) -> None:
        _check_target(scope)
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if size > self._settings.header_bytes or len(headers) > _MAX_HEADERS:
            raise ApiError(
                400,
                tr(
                    f"the request headers exceed {self._settings.header_bytes} bytes or {_MAX_HEADERS} lines",
                    f"请求头超过 {self._settings.header_bytes} 字节或 {_MAX_HEADERS} 行",
                ),
                code="headers_too_large",
            )
        self._guard.check(scope)


class _Reply:
    """Passes the reply on; adds the request id; remembers whether it has begun and with which status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.request_id = secrets.token_hex(8)
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Send the error object, unless a reply has begun: then only closing the connection is honest."""
        if self.status:
            return
        body = json.dumps(error.body(), ensure_ascii=False).encode()
        fields = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            # The rest of the request may be unread; it must not be taken for the next request.
            "connection": "close",
            **error.reply_headers(),
        }
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


class _Body:
    """Hands the body on piece by piece; stops when it grows too large or comes too slowly."""

    def __init__(self, receive: Receive, settings: ServerSettings) -> None:
        self._receive = receive
        self._settings = settings
        self._left = settings.body_bytes
        self._complete = False
        self._deadline = time.monotonic() + settings.read_seconds

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()  # only a disconnect can follow: wait for it as long as it takes
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                408, tr("the request body took too long to arrive", "请求体到达过慢"), code="body_timeout"
            ) from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._left < 0:
                raise too_large(self._settings.body_bytes)
        return message


def too_large(limit: int) -> ApiError:
    """Return the refusal of a body above the limit."""
    return ApiError(
        413,
        tr(f"the request body exceeds {limit} bytes", f"请求体超过 {limit} 字节"),
        code="body_too_large",
    )


def _check_target(scope: Scope) -> None:
    """Refuse spellings that a router and a guard could read differently, before either reads them."""
    raw = scope.get("raw_path") or b""
    lowered = raw.lower()
    path = scope["path"]
    if len(raw) + len(scope["query_string"]) > _MAX_TARGET:
        raise ApiError(400, tr("the URL is too long", "URL 过长"), code="url_too_long")
    odd = any(code in lowered for code in (b"%2f", b"%5c", b"%2e", b"%25", b"%00"))
    odd = odd or not path.startswith("/") or "//" in path or "\\" in path
    if odd or not path.isprintable() or any(part in (".", "..") for part in path.split("/")):
        message = tr("the path of the URL is not in its plain form", "URL 路径格式不规范")
        raise ApiError(400, message, code="invalid_path")


def unforeseen(request_id: str) -> ApiError:
    """Return the refusal for a fault of the server itself."""
    return ApiError(
        500,
        tr(
            f"the server failed; its log names the place under request id {request_id}",
            f"服务器内部出错；日志中以请求号 {request_id} 记录了位置",
        ),
        code="internal_error",
    )


def _log_place(error: Exception, request_id: str) -> None:
    """Log where it happened, never what it was about: an exception's text may quote a prompt."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "?" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    log.error("request %s: %s at %s", request_id, type(error).__name__, place)


def _log_access(scope: Scope, reply: _Reply, seconds: float) -> None:
    """One line: request id, method, route, status, time. No query, no body, no text that a client chose."""
    route: Any = scope.get("route")
    path = getattr(route, "path", "-")
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    access.info("%s %s %s %s %.3f s", reply.request_id, method, path, reply.status or 499, seconds)
