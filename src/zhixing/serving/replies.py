"""OpenAI's reply objects, for completions and for chat, whole and in chunks."""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zhixing.serving.orders import Plan
from zhixing.serving.writer import Token
from zhixing.tokenizers.protocol import Tokenizer

Json = dict[str, Any]


@dataclass
class Choice:
    """One text as it grows."""

    index: int
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str | None = None
    generated: int = 0


class Form(Protocol):
    """How one endpoint words its reply."""

    def whole(self, choices: Sequence[Choice]) -> Json:
        """Return the reply of a request that is not streamed."""

    def opening(self) -> list[Json]:
        """Return the chunks before the first token."""

    def chunk(self, index: int, text: str, token: Token) -> Json | None:
        """Return the chunk for one more token; None: nothing to say yet."""

    def closing(self, index: int, reason: str) -> Json:
        """Return the chunk that ends one choice."""

    def usage_chunk(self, choices: Sequence[Choice]) -> Json:
        """Return the chunk with the counts and no choices."""


class _Base:
    def __init__(self, kind: str, prefix: str, model: str, plan: Plan, tokenizer: Tokenizer) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }

    def usage_chunk(self, choices: Sequence[Choice]) -> Json:
        return self._object([]) | {"usage": self._usage(choices)}

    def _object(self, choices: list[Json]) -> Json:
        return {**self._head, "choices": choices}

    def _usage(self, choices: Sequence[Choice]) -> Json:
        written = sum(choice.generated for choice in choices)
        read = self._plan.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


class CompletionForm(_Base):
    """``text_completion``; with ``echo`` the prompt stands before the text."""

    def __init__(self, model: str, plan: Plan, tokenizer: Tokenizer, *, echo: bool, logprobs: bool) -> None:
        super().__init__("text_completion", "cmpl", model, plan, tokenizer)
        self._echo = echo
        self._columns = [_Columns(tokenizer) for _ in plan.orders] if logprobs else None
        if self._columns is not None and echo:
            for columns, ids, order in zip(self._columns, plan.echoes, plan.orders, strict=True):
                if len(ids) == len(order.ids):
                    columns.add_unscored(ids[0])

    def whole(self, choices: Sequence[Choice]) -> Json:
        """Return the reply of a request that is not streamed."""
        entries = []
        for choice in choices:
            for token in choice.tokens:
                self._note(choice.index, token)
            prompt = self._plan.echo_texts[choice.index] if self._echo else ""
            entries.append(self._entry(choice.index, prompt + choice.text, choice.finish_reason))
        return self._object(entries) | {"usage": self._usage(choices)}

    def opening(self) -> list[Json]:
        """Return one chunk per choice with the prompt, if it is to be echoed."""
        if not self._echo:
            return []
        texts = enumerate(self._plan.echo_texts)
        return [self._object([{"index": i, "text": t, "logprobs": None, "finish_reason": None}]) for i, t in texts]

    def chunk(self, index: int, text: str, token: Token) -> Json | None:
        """Return the chunk for one more token; None: nothing to say yet."""
        if not text and self._columns is None:
            return None
        self._note(index, token)
        return self._object([self._entry(index, text, None)])

    def closing(self, index: int, reason: str) -> Json:
        """Return the chunk that ends one choice."""
        return self._object([{"index": index, "text": "", "logprobs": None, "finish_reason": reason}])

    def _note(self, index: int, token: Token) -> None:
        if self._columns is not None:
            self._columns[index].add(token)

    def _entry(self, index: int, text: str, reason: str | None) -> Json:
        columns = self._columns[index].take() if self._columns is not None else None
        return {"index": index, "text": text, "logprobs": columns, "finish_reason": reason}


class ChatForm(_Base):
    """``chat.completion`` and ``chat.completion.chunk``; the role comes first."""

    def __init__(self, model: str, plan: Plan, tokenizer: Tokenizer, *, stream: bool, logprobs: bool) -> None:
        kind = "chat.completion.chunk" if stream else "chat.completion"
        super().__init__(kind, "chatcmpl", model, plan, tokenizer)
        self._logprobs = logprobs

    def whole(self, choices: Sequence[Choice]) -> Json:
        """Return the reply of a request that is not streamed."""
        entries = []
        for choice in choices:
            message = {"role": "assistant", "content": choice.text, "refusal": None}
            entry = {"index": choice.index, "message": message, "finish_reason": choice.finish_reason}
            entries.append(entry | {"logprobs": self._content(choice.tokens)})
        return self._object(entries) | {"usage": self._usage(choices)}

    def opening(self) -> list[Json]:
        """Return one chunk per choice with the role."""
        role = {"role": "assistant", "content": ""}
        return [self._delta(index, role, None) for index in range(len(self._plan.orders))]

    def chunk(self, index: int, text: str, token: Token) -> Json | None:
        """Return the chunk for one more token; None: nothing to say yet."""
        if not text and not self._logprobs:
            return None
        return self._delta(index, {"content": text}, None, [token])

    def closing(self, index: int, reason: str) -> Json:
        """Return the chunk that ends one choice."""
        return self._delta(index, {}, reason)

    def _delta(self, index: int, delta: Json, reason: str | None, tokens: Sequence[Token] = ()) -> Json:
        content = self._content(tokens) if tokens else None
        return self._object([{"index": index, "delta": delta, "logprobs": content, "finish_reason": reason}])

    def _content(self, tokens: Sequence[Token]) -> Json | None:
        if not self._logprobs:
            return None
        entries = []
        for token in tokens:
            top = [self._named(token_id, log_prob) for token_id, log_prob in token.top]
            entries.append(self._named(token.token_id, token.log_prob) | {"top_logprobs": top})
        return {"content": entries, "refusal": None}

    def _named(self, token_id: int, log_prob: float) -> Json:
        data = self._tokenizer.token_bytes(token_id)
        return {
            "token": token_name(self._tokenizer, token_id),
            "logprob": log_prob,
            "bytes": list(data) or None,
        }


class _Columns:
    """The four parallel lists of a completion's log-probabilities."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0
        self._rows: list[tuple[str, float | None, dict[str, float] | None, int]] = []

    def add(self, token: Token) -> None:
        top = {token_name(self._tokenizer, i): log_prob for i, log_prob in token.top} or None
        self._add(token.token_id, token.log_prob, top)

    def add_unscored(self, token_id: int) -> None:
        """Add the first id of a prompt: nothing stands before it, so it has no probability."""
        self._add(token_id, None, None)

    def take(self) -> Json:
        """Return what was added since the last time."""
        rows, self._rows = self._rows, []
        return {
            "tokens": [row[0] for row in rows],
            "token_logprobs": [row[1] for row in rows],
            "top_logprobs": [row[2] for row in rows],
            "text_offset": [row[3] for row in rows],
        }

    def _add(self, token_id: int, log_prob: float | None, top: dict[str, float] | None) -> None:
        self._rows.append((token_name(self._tokenizer, token_id), log_prob, top, self._offset))
        self._offset += len(self._decoder.decode(self._tokenizer.token_bytes(token_id)))


def token_name(tokenizer: Tokenizer, token_id: int) -> str:
    """Return a token as text; no whole character: ``bytes:\\x..``; a special one: its id."""
    data = tokenizer.token_bytes(token_id)
    if not data:
        return f"token_id:{token_id}"
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
