"""The HTTP surface: routes, their wiring to the engine, one error shape everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import zhixing
from zhixing.errors import nearest
from zhixing.language import tr
from zhixing.serving.auth import Guard
from zhixing.serving.bridge import ClientGone, SlowReader, Work, failure, slow_reader
from zhixing.serving.engine import Refused, Ticket
from zhixing.serving.errors import ApiError
from zhixing.serving.metrics import CONTENT_TYPE, Metrics
from zhixing.serving.middleware import REQUEST_ID, Gate, too_large, unforeseen
from zhixing.serving.orders import Plan, plan_chat, plan_completion, texts_asked
from zhixing.serving.parse import ignored_header, parse_request
from zhixing.serving.replies import ChatForm, Choice, CompletionForm, Form
from zhixing.serving.schema import ChatRequest, CompletionRequest, Sampling
from zhixing.serving.served import ServedModel
from zhixing.serving.settings import ServerSettings
from zhixing.serving.stream import DONE, EventStream, data_event
from zhixing.serving.writer import Ended, Failed, Piece


def create_app(models: Sequence[ServedModel], metrics: Metrics, settings: ServerSettings, key: str | None) -> Gate:
    """Return the ASGI application that serves the models; the first is the default."""
    app = FastAPI(title="Zhixing", version=zhixing.__version__, docs_url=None, redoc_url=None)
    api = _Api({served.name: served for served in models}, metrics, settings)
    app.get("/health/live")(api.live)
    app.get("/health/ready")(api.ready)
    app.get("/version")(api.version)
    app.get("/metrics")(api.metrics)
    app.get("/v1/models")(api.list_models)
    app.get("/v1/models/{model_id}")(api.show_model)
    app.post("/v1/completions", openapi_extra=_body_of(CompletionRequest))(api.completions)
    app.post("/v1/chat/completions", openapi_extra=_body_of(ChatRequest))(api.chat_completions)
    app.add_exception_handler(ApiError, _tell_refusal)
    app.add_exception_handler(HTTPException, _tell_http_error)
    app.add_exception_handler(ClientGone, _tell_nobody)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_exception_handler(Exception, _tell_fault)
    return Gate(app, Guard(settings.host, key), settings)


class _Api:
    """The routes; each is a thin line between the request and the engine."""

    def __init__(self, models: Mapping[str, ServedModel], metrics: Metrics, settings: ServerSettings) -> None:
        self._models = models
        self._metrics = metrics
        self._settings = settings

    async def live(self) -> Response:
        """Answer that the process runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self) -> Response:
        """Answer whether new work would be taken."""
        ready = all(served.engine.ready() for served in self._models.values())
        return JSONResponse({"status": "ok" if ready else "not ready"}, 200 if ready else 503)

    async def version(self) -> Response:
        """Answer which Zhixing this is."""
        return JSONResponse({"version": zhixing.__version__})

    async def metrics(self) -> Response:
        """Answer the counters in Prometheus' text form."""
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def list_models(self) -> Response:
        """Answer the models that can be asked for."""
        return JSONResponse({"object": "list", "data": [served.card() for served in self._models.values()]})

    async def show_model(self, model_id: str) -> Response:
        """Answer one model's card."""
        return JSONResponse(self._find(model_id).card())

    async def completions(self, request: Request) -> Response:
        """Continue one or several prompts."""
        wanted, ignored = parse_request(await self._read_body(request), CompletionRequest)
        served = self._find(wanted.model)
        ticket, plan = await self._admit(wanted, served, lambda: plan_completion(wanted, served))
        logprobs = wanted.logprobs is not None
        form = CompletionForm(served.name, plan, served.tokenizer, echo=wanted.echo, logprobs=logprobs)
        return await self._answer(request, wanted, served, ticket, plan, form, ignored)

    async def chat_completions(self, request: Request) -> Response:
        """Write the next turn of a conversation."""
        wanted, ignored = parse_request(await self._read_body(request), ChatRequest)
        served = self._find(wanted.model)
        ticket, plan = await self._admit(wanted, served, lambda: plan_chat(wanted, served))
        form = ChatForm(served.name, plan, served.tokenizer, stream=wanted.stream, logprobs=wanted.logprobs)
        return await self._answer(request, wanted, served, ticket, plan, form, ignored)

    def _find(self, name: str | None) -> ServedModel:
        if name is None:
            return next(iter(self._models.values()))
        if name in self._models:
            return self._models[name]
        hint = nearest(name, self._models)
        message = tr(f"there is no such model; {hint}", f"没有该模型；{hint}")
        raise ApiError(404, message, param="model", code="model_not_found")

    async def _read_body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # A web page can send any other type to this machine without asking first.
            message = tr("send the body as application/json", "请以 application/json 发送请求体")
            raise ApiError(415, message, code="unsupported_media_type")
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.body_bytes:
            raise too_large(self._settings.body_bytes)
        return await request.body()

    async def _admit(self, wanted: Sampling, served: ServedModel, plan: Callable[[], Plan]) -> tuple[Ticket, Plan]:
        """Take the places first; tokenise only for those who have one, and outside the event loop."""
        try:
            ticket = served.engine.reserve(texts_asked(wanted))
        except Refused as refusal:
            raise _refusal(refusal, served.engine.capacity) from None
        try:
            return ticket, await asyncio.to_thread(plan)
        except BaseException:
            ticket.release()
            raise

    async def _answer(
        self,
        request: Request,
        wanted: Sampling,
        served: ServedModel,
        ticket: Ticket,
        plan: Plan,
        form: Form,
        ignored: list[str],
    ) -> Response:
        limits = self._settings
        headers = {"x-zhixing-seed": str(plan.seed), **ignored_header(ignored)}
        limit = limits.stream_events if wanted.stream else None
        work = Work(served.engine, ticket, plan.orders, request.receive, limits.request_seconds, limit)
        if wanted.stream:
            options = wanted.stream_options
            events = _stream(work, form, len(plan.orders), bool(options and options.include_usage))
            return EventStream(
                events,
                headers,
                close=work.close,
                ping_seconds=limits.ping_seconds,
                stall_seconds=limits.stall_seconds,
            )
        try:
            choices = await _collect(work, len(plan.orders))
        finally:
            work.close()
        return JSONResponse(form.whole(choices), headers=headers)


async def _collect(work: Work, texts: int) -> list[Choice]:
    """Wait for all texts of a request.

    Raises:
        ApiError: one of them failed.
        ClientGone: nobody waits any more.
    """
    choices = [Choice(index) for index in range(texts)]
    while any(choice.finish_reason is None for choice in choices):
        event = await work.mailbox.take()
        if isinstance(event, Failed):
            raise failure(event)
        _grow(choices[event.index], event)
    return choices


async def _stream(work: Work, form: Form, texts: int, usage: bool) -> AsyncGenerator[bytes, None]:
    """Yield the events of a streamed reply."""
    choices = [Choice(index) for index in range(texts)]
    empty = {"usage": None} if usage else {}
    try:
        for chunk in form.opening():
            yield data_event(chunk | empty)
        while any(choice.finish_reason is None for choice in choices):
            event = await work.mailbox.take()
            if isinstance(event, Failed):
                raise failure(event)
            choice = choices[event.index]
            if isinstance(event, Ended):
                choice.finish_reason, choice.generated = event.reason, event.tokens
                yield data_event(form.closing(event.index, event.reason) | empty)
            elif (piece := form.chunk(event.index, event.text, event.token)) is not None:
                yield data_event(piece | empty)
        if usage:
            yield data_event(form.usage_chunk(choices))
        yield DONE
    except ApiError as error:
        yield data_event(error.body())
    except SlowReader:
        yield data_event(slow_reader().body())
    except ClientGone:
        return


def _grow(choice: Choice, event: Piece | Ended) -> None:
    if isinstance(event, Ended):
        choice.finish_reason, choice.generated = event.reason, event.tokens
    else:
        choice.text += event.text
        choice.tokens.append(event.token)


def _refusal(refusal: Refused, capacity: int) -> ApiError:
    if refusal.reason == "too_many":
        message = tr(
            f"n times the number of prompts exceeds the {capacity} texts this server takes at once",
            f"n 乘以提示数超过本服务同时接受的 {capacity} 个文本",
        )
        return ApiError(400, message, param="n", code="too_many_texts")
    if refusal.reason == "shutting_down":
        message = tr("the server is shutting down", "服务器正在关闭")
        return ApiError(503, message, code="shutting_down", retry_after=refusal.retry_after)
    message = tr("the server is busy; try again later", "服务器繁忙；请稍后重试")
    return ApiError(429, message, code="overloaded", retry_after=refusal.retry_after)


def _body_of(kind: type[Sampling]) -> dict[str, Any]:
    """Return the OpenAPI description of a body; its parts in place, not behind references."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _in_place(schema, parts)}},
        }
    }


def _in_place(node: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_in_place(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _in_place(parts[node["$ref"].rsplit("/", 1)[1]], parts)
    return {name: _in_place(item, parts) for name, item in node.items()}


async def _tell_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, headers=error.reply_headers())


async def _tell_http_error(_: Request, error: Exception) -> Response:
    """Word the framework's own refusals (unknown path, wrong method) like all others."""
    assert isinstance(error, HTTPException)
    messages = {
        404: tr("there is no such path", "没有该路径"),
        405: tr("this path does not take that method", "该路径不支持此方法"),
    }
    message = messages.get(error.status_code, tr("the request cannot be answered", "无法处理该请求"))
    codes = {404: "not_found", 405: "method_not_allowed"}
    refusal = ApiError(error.status_code, message, code=codes.get(error.status_code, "invalid_request"))
    return JSONResponse(refusal.body(), error.status_code, headers=dict(error.headers or {}))


async def _tell_nobody(_: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _tell_fault(request: Request, error: Exception) -> Response:
    refusal = unforeseen(request.scope[REQUEST_ID])
    return JSONResponse(refusal.body(), refusal.status)
