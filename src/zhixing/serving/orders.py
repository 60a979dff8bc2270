"""From a checked request to orders for the engine: prompts become ids, lengths are compared with the context.

Nothing is ever cut: a prompt that does not fit is refused with the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zhixing.errors import ContextLengthError, InputError
from zhixing.generation.sampling import derived_seed, fresh_seed
from zhixing.generation.sequence import check_vocabulary, prompt_ids
from zhixing.generation.settings import GenerationSettings, make_settings
from zhixing.language import tr
from zhixing.serving.errors import ApiError
from zhixing.serving.schema import ChatRequest, CompletionRequest, Sampling
from zhixing.serving.served import ServedModel
from zhixing.serving.writer import Order
from zhixing.tokenizers.chat_template import ChatTemplate


@dataclass(frozen=True)
class Plan:
    """All texts of one request, choice by choice, and what the reply needs to know of them.

    Attributes:
        orders: one per choice; those of one prompt are neighbours.
        prompt_tokens: ids read, each prompt counted once.
        echoes: per choice, the prompt's ids as the client may see them (without a separator it did not send).
        echo_texts: per choice, the prompt as text.
        seed: repeats the reply.
    """

    orders: tuple[Order, ...]
    prompt_tokens: int
    echoes: tuple[tuple[int, ...], ...]
    echo_texts: tuple[str, ...]
    seed: int


def texts_asked(request: Sampling) -> int:
    """Return how many texts a request wants; costs no tokenising."""
    if isinstance(request, CompletionRequest):
        return request.n * len(_prompts(request.prompt))
    return request.n


def plan_completion(request: CompletionRequest, served: ServedModel) -> Plan:
    """Return the orders of a plain completion.

    Raises:
        ApiError: 400: too long, an id outside the vocabulary.
    """
    prompts = _prompts(request.prompt)
    all_ids = [_read(prompt, served) for prompt in prompts]
    score = request.echo and request.logprobs is not None
    chosen = {"logprobs": request.logprobs}
    orders, seed = _orders(request, served, all_ids, "prompt", request.max_tokens, chosen, score)
    shown = [ids[1:] if isinstance(prompt, str) else ids for prompt, ids in zip(prompts, all_ids, strict=True)]
    texts = [
        prompt if isinstance(prompt, str) else served.tokenizer.decode(prompt) if request.echo else ""
        for prompt in prompts
    ]
    return Plan(
        orders,
        sum(map(len, all_ids)),
        tuple(ids for ids in shown for _ in range(request.n)),
        tuple(text for text in texts for _ in range(request.n)),
        seed,
    )


def plan_chat(request: ChatRequest, served: ServedModel) -> Plan:
    """Return the orders of a conversation's next turn.

    Raises:
        ApiError: 400: no chat template, messages it cannot render, too long.
    """
    template = _template_of(served)
    ids = _render(request, template)
    most = request.max_completion_tokens if request.max_tokens is None else request.max_tokens
    chosen: dict[str, Any] = {"logprobs": (request.top_logprobs or 0) if request.logprobs else None}
    chosen["stop_ids"] = tuple(dict.fromkeys((*served.defaults.stop_ids, template.turn_end_id)))
    orders, seed = _orders(request, served, [ids], "messages", most, chosen, score=False)
    return Plan(orders, len(ids), ((),) * request.n, ("",) * request.n, seed)


def _prompts(prompt: Any) -> Sequence[str | Sequence[int]]:
    """Return the prompts of the four forms as one list."""
    return [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt


def _read(prompt: str | Sequence[int], served: ServedModel) -> tuple[int, ...]:
    limit = served.engine.context
    if not isinstance(prompt, str) and len(prompt) > limit:
        raise _too_long(len(prompt), 0, limit, "prompt")
    try:
        ids = prompt_ids(prompt, served.engine.model, served.tokenizer)
    except ContextLengthError as error:
        raise _too_long(error.ids, 0, limit, "prompt") from None
    except InputError as error:
        raise ApiError(400, f"'prompt': {error}", param="prompt", code="invalid_value") from None
    return ids


def _render(request: ChatRequest, template: ChatTemplate) -> tuple[int, ...]:
    """Return the ids of the conversation; the text of a message never becomes a special id."""
    roles = {"developer": "system"}
    messages = [{"role": roles.get(m.role, m.role), "content": m.content} for m in request.messages]
    try:
        return tuple(template.render_ids(messages, add_generation_prompt=True))
    except InputError as error:
        raise ApiError(400, f"'messages': {error}", param="messages", code="invalid_value") from None


def _template_of(served: ServedModel) -> ChatTemplate:
    if served.chat_template is not None:
        return served.chat_template
    message = tr(
        "this model has no chat template; use /v1/completions, or fine-tune it for chat",
        "该模型没有对话模板；请使用 /v1/completions，或将其微调为对话模型",
    )
    raise ApiError(400, message, param="model", code="chat_not_supported")


def _orders(
    request: Sampling,
    served: ServedModel,
    prompts: Sequence[tuple[int, ...]],
    param: str,
    most: int | None,
    chosen: dict[str, Any],
    score: bool,
) -> tuple[tuple[Order, ...], int]:
    seed = fresh_seed() if request.seed is None else request.seed
    base = _settings(request, served, chosen)
    orders: list[Order] = []
    for ids in prompts:
        limit = _most_tokens(len(ids), most, served.engine.context, param)
        settings = base.replace(max_new_tokens=limit)
        orders += [Order(ids, settings, derived_seed(seed, i), score) for i in range(request.n)]
    return tuple(orders), seed


def _settings(request: Sampling, served: ServedModel, chosen: dict[str, Any]) -> GenerationSettings:
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    given = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    given |= {"presence_penalty": request.presence_penalty, "frequency_penalty": request.frequency_penalty}
    given |= {"logit_bias": tuple(request.logit_bias.items()), "n": 1, "seed": None}
    if request.stop:
        given["stop"] = tuple(request.stop)
    try:
        settings = make_settings(given | chosen, served.defaults)
        check_vocabulary(served.engine.model, served.tokenizer, settings)
    except InputError as error:
        param = "logit_bias" if request.logit_bias else None
        raise ApiError(400, str(error), param=param, code="invalid_value") from None
    return settings


def _most_tokens(prompt: int, most: int | None, limit: int, param: str) -> int:
    """Return the number of tokens to write at most; not given: what the context leaves."""
    if prompt > limit or (prompt == limit and most != 0):
        raise _too_long(prompt, most or 0, limit, param)
    if most is not None and prompt + most > limit:
        raise _too_long(prompt, most, limit, "max_tokens")
    return limit - prompt if most is None else most


def _too_long(prompt: int, most: int, limit: int, param: str) -> ApiError:
    message = tr(
        f"the prompt has {prompt} tokens and {most} more are asked for, but the context holds {limit}; "
        "shorten the prompt or lower max_tokens",
        f"提示有 {prompt} 个词元，另要求生成 {most} 个，而上下文只容纳 {limit} 个；请缩短提示或减小 max_tokens",
    )
    return ApiError(400, message, param=param, code="context_length_exceeded")
