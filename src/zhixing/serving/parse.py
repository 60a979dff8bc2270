"""From the bytes of a body to a checked request, in time linear in the bytes."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from zhixing.language import tr
from zhixing.serving.errors import ApiError
from zhixing.serving.schema import REFUSED_FIELDS, ChatRequest, CompletionRequest, Sampling

RequestT = TypeVar("RequestT", bound=Sampling)

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}:,]')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAMED_AT_MOST = 32
_SEARCHED_BYTES = 65_536
_HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none",),
    "function_call": ("none",),
    "modalities": (["text"],),
    "suffix": ("",),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "use_beam_search": (False,),
}
"""Values that ask for nothing: a client may send them without being refused."""


def parse_request(body: bytes, kind: type[RequestT]) -> tuple[RequestT, list[str]]:
    """Return the checked request and the names of the fields that were accepted without effect.

    Raises:
        ApiError: 400, naming the field.
    """
    # A null is how clients write "not given".
    fields = {name: value for name, value in _read_object(body).items() if value is not None}
    for name in sorted(REFUSED_FIELDS & fields.keys()):
        if fields[name] not in _HARMLESS_VALUES.get(name, ()):
            raise _unsupported(name)
    try:
        request = kind.model_validate(fields)
    except ValidationError as error:
        raise _explain(error) from None
    _check_together(request)
    unknown = sorted(fields.keys() - kind.model_fields.keys() - REFUSED_FIELDS)
    return request, unknown


def ignored_header(names: list[str]) -> dict[str, str]:
    """Return the reply header that names the fields without effect; hostile names are not repeated."""
    if not names:
        return {}
    shown = [name if _PLAIN_NAME.fullmatch(name) else "(unprintable)" for name in names[:_NAMED_AT_MOST]]
    more = [f"and-{len(names) - _NAMED_AT_MOST}-more"] if len(names) > _NAMED_AT_MOST else []
    return {"x-zhixing-ignored-fields": ", ".join(shown + more)}


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        # NaN passes here, so that the schema can refuse it by the field's name; depth ends at 200.
        tree = from_json(body, allow_inf_nan=True)
    except ValueError as error:
        raise _not_json(body, str(error)) from None
    if not isinstance(tree, dict):
        message = tr("the body must be a JSON object", "请求体必须是 JSON 对象")
        raise ApiError(400, message, code="invalid_json")
    return tree


def _not_json(body: bytes, problem: str) -> ApiError:
    position = re.search(r"line (\d+) column (\d+)", problem)
    param = _field_at(body, int(position[1]), int(position[2])) if position else None
    message = tr(f"the body is not valid JSON: {problem}", f"请求体不是有效的 JSON：{problem}")
    return ApiError(400, message, param=param, code="invalid_json")


def _field_at(body: bytes, line: int, column: int) -> str | None:
    """Return the top-level field in which the parser gave up; None if that is far into the body."""
    end = len(body) - len(body.split(b"\n", line - 1)[-1]) + column
    if end > _SEARCHED_BYTES:
        return None
    depth, last, field = 0, b"", None
    for match in _TOKEN.finditer(body, 0, min(end, len(body))):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        elif token == b":" and depth == 1:
            field = last[1:-1].decode("utf-8", "replace")
        last = token
    return field if field is not None and _PLAIN_NAME.fullmatch(field) else None


def _unsupported(name: str) -> ApiError:
    message = tr(
        f"'{name}' is not supported by this server; leave it out",
        f"本服务不支持 '{name}'；请去掉该字段",
    )
    return ApiError(400, message, param=name, code="unsupported_parameter")


def _explain(error: ValidationError) -> ApiError:
    """Turn the first problem into a sentence; the value itself is never repeated, it may be private."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # A field name may itself come from the client only below a known field; those are cut off.
    param = ".".join(str(part) for part in problem["loc"][:4]) or None
    if problem["type"] == "missing":
        message = tr(f"'{param}' is required", f"缺少必填字段 '{param}'")
        return ApiError(400, message, param=param, code="missing_required_parameter")
    if param == "response_format.type":
        return _unsupported("response_format")
    message = f"'{param}': {problem['msg']}"
    return ApiError(400, message, param=param, code="invalid_value")


def _check_together(request: Sampling) -> None:
    """Refuse what no single field shows."""
    if request.stream_options is not None and not request.stream:
        raise _wrong("stream_options", tr("needs stream: true", "需要 stream: true"))
    if isinstance(request, CompletionRequest) and request.best_of not in (None, request.n):
        raise _wrong("best_of", tr("only best_of equal to n is supported", "仅支持 best_of 等于 n"))
    if isinstance(request, ChatRequest):
        if request.top_logprobs is not None and not request.logprobs:
            raise _wrong("top_logprobs", tr("needs logprobs: true", "需要 logprobs: true"))
        limits = {request.max_tokens, request.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise _wrong(
                "max_completion_tokens",
                tr("differs from max_tokens; give one of the two", "与 max_tokens 不一致；请只给一个"),
            )


def _wrong(param: str, reason: str) -> ApiError:
    return ApiError(400, f"'{param}': {reason}", param=param, code="invalid_value")
