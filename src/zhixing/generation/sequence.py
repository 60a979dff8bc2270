"""One text being written: all that a decoding loop must know about it, nothing about batches or models.

The loop, here or in a server, reads ``last_id`` of each sequence, asks the model for the row that follows,
and hands that row to ``accept``. Filters, draws, stop rules and the incremental decoder live behind that
one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import ContextLengthError, InputError, ZhixingError
from zhixing.generation.filters import History, build_filters
from zhixing.generation.sampling import Draw, Greedy, Sampler, derived_seed, fresh_seed
from zhixing.generation.settings import GenerationSettings
from zhixing.generation.stop import StopStrings
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.stream import StreamDecoder

FinishReason = Literal["stop", "length"]
Prompt = str | Sequence[int]

_PRIMING = 8
UNLIMITED = 4_096
"""Most new tokens when neither the settings nor the model's context set a limit."""


@dataclass(frozen=True)
class Generation:
    """One finished text.

    ``ids`` are all the generated ones, also those of a stop string or a final separator, which ``text``
    does not show. ``log_probs`` (nats) are the model's own, before any filter. ``seed`` repeats this text
    with ``n=1``.
    """

    text: str
    ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    log_probs: tuple[float, ...]
    top_log_probs: tuple[tuple[tuple[int, float], ...], ...]
    seed: int
    prompt_index: int = 0
    stop_string: str | None = None


def prompt_ids(prompt: Prompt, model: LanguageModel, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return what the model reads: the separator and the ids of a string, or the given ids as they are.

    Raises:
        ContextLengthError: more ids than the context holds; a prompt is never shortened.
        InputError: no ids, or an id outside the vocabulary.
    """
    ids = (tokenizer.separator_id, *tokenizer.encode(prompt)) if isinstance(prompt, str) else tuple(map(int, prompt))
    if not ids:
        raise InputError(
            tr("a prompt of ids is empty; begin it with the separator", "提示的编号列表为空；请以分隔符开头")
        )
    wrong = next((token_id for token_id in ids if not 0 <= token_id < tokenizer.vocab_size), None)
    if wrong is not None:
        size = tokenizer.vocab_size
        raise InputError(
            tr(
                f"prompt id {wrong} is outside the vocabulary (0 to {size - 1})",
                f"提示中的编号 {wrong} 超出词表（0 到 {size - 1}）",
            )
        )
    if model.context_length is not None and len(ids) > model.context_length:
        raise ContextLengthError(len(ids), model.context_length)
    return ids


def room(prompt_length: int, max_new_tokens: int | None, context_length: int | None) -> int:
    """Return the most tokens that can be written.

    The last token need not be read, so a context of C ids leaves C - P + 1 after a prompt of P.
    """
    if context_length is None:
        return UNLIMITED if max_new_tokens is None else max_new_tokens
    left = context_length - prompt_length + 1
    return left if max_new_tokens is None else min(max_new_tokens, left)


class SequenceState:
    """The state machine of one text: unfinished until ``finish_reason`` is set."""

    def __init__(
        self,
        prompt: Sequence[int],
        model: LanguageModel,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        seed: int,
        prompt_index: int = 0,
    ) -> None:
        self.prompt = tuple(prompt)
        self.settings = settings
        self.seed = seed
        self.prompt_index = prompt_index
        self.ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._limit = room(len(self.prompt), settings.max_new_tokens, model.context_length)
        self._stop_ids = stop_ids(tokenizer, settings)
        self._filters = build_filters(settings, forbidden_ids(model, tokenizer, settings))
        self._sampler: Sampler = Greedy() if settings.greedy else Draw(seed)
        self._history = History(self.prompt)
        self._decoder = _primed_decoder(tokenizer, self.prompt)
        self._stops = StopStrings(settings.stop)
        self._text: list[str] = []
        self._log_probs: list[float] = []
        self._top: list[tuple[tuple[int, float], ...]] = []
        if self._limit == 0:
            self.finish_reason = "length"

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be written."""
        return self.finish_reason is not None

    @property
    def last_id(self) -> int:
        """The generated id that the model reads next."""
        return self.ids[-1]

    def accept(self, log_probs: NDArray[Any]) -> str:
        """Choose the next token from the model's row (V,); return the text that may be shown now.

        Raises:
            ZhixingError: the row is not a distribution, or the filters leave no token.
        """
        row = np.asarray(log_probs, dtype=np.float64)
        chosen = self._choose(row)
        self._record(chosen, row)
        if chosen in self._stop_ids:
            return self._end("stop")
        shown = self._stops.push(self._decoder.push(chosen))
        self._text.append(shown)
        if self._stops.found is not None:
            self.finish_reason = "stop"
        elif len(self.ids) >= self._limit:
            return shown + self._end("length")
        return shown

    def result(self) -> Generation:
        """Return the finished text with its counts."""
        if self.finish_reason is None:
            raise RuntimeError("the sequence is not finished")
        return Generation(
            text="".join(self._text),
            ids=tuple(self.ids),
            finish_reason=self.finish_reason,
            prompt_tokens=len(self.prompt),
            completion_tokens=len(self.ids),
            log_probs=tuple(self._log_probs),
            top_log_probs=tuple(self._top),
            seed=self.seed,
            prompt_index=self.prompt_index,
            stop_string=self._stops.found,
        )

    def _choose(self, row: NDArray[np.float64]) -> int:
        scores = row
        for apply in self._filters:
            scores = apply(scores, self._history)
        # NaN survives max(), so one look at the result tells a broken model and an empty choice.
        if not np.isfinite(scores.max()):
            raise ZhixingError(
                tr(
                    "no token can be chosen: the model's probabilities are not finite, or all were excluded",
                    "没有可选的词元：模型的概率不是有限值，或全部被排除",
                )
            )
        return self._sampler.choose(scores)

    def _record(self, chosen: int, row: NDArray[np.float64]) -> None:
        self.ids.append(chosen)
        self._history.append(chosen)
        self._log_probs.append(float(row[chosen]))
        if self.settings.logprobs:
            best = np.argsort(-row, kind="stable")[: self.settings.logprobs]
            self._top.append(tuple((int(i), float(row[i])) for i in best if row[i] > -np.inf))

    def _end(self, reason: FinishReason) -> str:
        """Finish: let out what the decoder and the stop strings held back."""
        self.finish_reason = reason
        rest = self._stops.push(self._decoder.finish())
        if self._stops.found is not None:
            self.finish_reason = "stop"
        rest += self._stops.finish()
        self._text.append(rest)
        return rest


def _primed_decoder(tokenizer: Tokenizer, prompt: Sequence[int]) -> StreamDecoder:
    """Return a decoder that has seen the prompt's end: some tokenizers write a first token differently."""
    decoder = StreamDecoder(tokenizer)
    for token_id in prompt[-_PRIMING:]:
        decoder.push(token_id)
    return decoder


def stop_ids(tokenizer: Tokenizer, settings: GenerationSettings) -> frozenset[int]:
    """Return the ids that end a text. Whether the separator does, ``stop_at_separator`` alone decides."""
    separator = frozenset({tokenizer.separator_id})
    others = frozenset(settings.stop_ids) - separator
    return others | separator if settings.stop_at_separator else others


def forbidden_ids(model: LanguageModel, tokenizer: Tokenizer, settings: GenerationSettings) -> tuple[int, ...]:
    """Return the ids never chosen: special ones that end nothing, and those the tokenizer does not know.

    The separator may always be chosen; where it does not end the text, a new document begins after it.
    """
    allowed = {tokenizer.separator_id, *settings.stop_ids}
    unused = range(tokenizer.vocab_size, model.vocab_size)
    return (*sorted(tokenizer.special_ids - allowed), *unused)


def make_sequences(
    prompt: Prompt,
    model: LanguageModel,
    tokenizer: Tokenizer,
    settings: GenerationSettings,
    prompt_index: int = 0,
) -> list[SequenceState]:
    """Return the ``n`` sequences of one prompt, each with its own seed.

    Raises:
        ContextLengthError, InputError: the prompt does not fit; see ``prompt_ids``.
    """
    check_vocabulary(model, tokenizer, settings)
    ids = prompt_ids(prompt, model, tokenizer)
    seed = fresh_seed() if settings.seed is None else settings.seed
    return [
        SequenceState(ids, model, tokenizer, settings, derived_seed(seed, index), prompt_index)
        for index in range(settings.n)
    ]


def check_vocabulary(model: LanguageModel, tokenizer: Tokenizer, settings: GenerationSettings) -> None:
    """Refuse a tokenizer that the model was not trained with, and settings that name ids it does not have."""
    if tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            tr(
                f"the tokenizer has {tokenizer.vocab_size} ids, the model only {model.vocab_size}: "
                "they do not belong together",
                f"分词器有 {tokenizer.vocab_size} 个编号，而模型只有 {model.vocab_size} 个：两者不匹配",
            )
        )
    for name, ids in (("logit_bias", [i for i, _ in settings.logit_bias]), ("stop_ids", settings.stop_ids)):
        wrong = next((token_id for token_id in ids if not 0 <= token_id < tokenizer.vocab_size), None)
        if wrong is not None:
            last = tokenizer.vocab_size - 1
            raise InputError(
                tr(
                    f"'{name}': id {wrong} is outside the vocabulary (0 to {last})",
                    f"'{name}'：编号 {wrong} 超出词表（0 到 {last}）",
                )
            )
