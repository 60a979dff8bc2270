"""Beam search: the most probable text instead of a drawn one, with its runners-up.

Lowerre (1976); length penalty of Wu et al. (2016), equation 14; formula: ``zhixing.theory.decoding.beam_search``.
It is the way of translation and transcription, where one text is right; in open-ended writing the most probable text
is dull and repeats itself (Holtzman et al. 2020).

Every stop id of every beam finishes a text, and the best of those are kept. The search ends as soon as no unfinished
text can overtake them: log-probabilities only fall, so a beam's sum divided by the largest penalty is the most it
can still reach. That loses nothing against running to the limit, unlike stopping once enough texts have ended; but
the nearer ``max_new_tokens`` is to the length of a real answer, the sooner it is sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import ConfigError, ZhixingError
from zhixing.generation.filters import Filter, History, build_filters
from zhixing.generation.sequence import Generation, Prompt, check_vocabulary, forbidden_ids, prompt_ids, room, stop_ids
from zhixing.generation.settings import GenerationSettings
from zhixing.generation.stop import StopStrings
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel, State
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.stream import StreamDecoder

_PRIMING = 8
"""How many of the prompt's tokens the decoder sees first: some tokenizers write a first token differently."""
Top = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Hypothesis:
    """A text on its way: its ids, the sum searched by, and what the model said of every id."""

    ids: tuple[int, ...] = ()
    total: float = 0.0
    log_probs: tuple[float, ...] = ()
    top: tuple[Top, ...] = ()
    stopped: bool = False
    row: int = 0
    """Its parent's row in the model's state."""


def length_penalty(length: int, alpha: float) -> float:
    """Return what a sum of log-probabilities over ``length`` tokens is divided by; 1 for ``alpha`` 0."""
    return float(((5.0 + length) / 6.0) ** alpha)


def beam_search(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    settings: GenerationSettings | None = None,
    *,
    beams: int = 4,
    alpha: float = 0.6,
) -> list[Generation]:
    """Return the ``settings.n`` best continuations of every prompt, best first, in the order of the prompts.

    Args:
        model: any language model; it reads ``beams`` rows in a step.
        tokenizer: the model's.
        prompts: texts, or ids as they are; as for ``generate``.
        settings: greedy ones (temperature 0, the default here). Penalties, bias, stop strings and ids, limits and
            ``logprobs`` work as in ``generate``. ``n``: how many texts, at most ``beams``.
        beams: unfinished texts kept after every token.
        alpha: of the length penalty, 0 or more; 0.6 to 1 is usual, 0 prefers short texts.

    Raises:
        ConfigError: the settings draw at random, ``n`` exceeds ``beams``, or a number is out of bounds.
        ContextLengthError, InputError, ZhixingError: as ``generate``.
    """
    settings = settings or GenerationSettings(temperature=0.0)
    _check(prompts, settings, beams, alpha)
    check_vocabulary(model, tokenizer, settings)
    read = [prompt_ids(prompt, model, tokenizer) for prompt in prompts]
    return [
        generation
        for index, ids in enumerate(read)
        for generation in _Search(model, tokenizer, ids, settings, beams, alpha).run(index)
    ]


class _Search:
    """The search after one prompt."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        prompt: tuple[int, ...],
        settings: GenerationSettings,
        beams: int,
        alpha: float,
    ) -> None:
        self._model, self._tokenizer, self._prompt, self._settings = model, tokenizer, prompt, settings
        self._beams, self._alpha = beams, alpha
        self._limit = room(len(prompt), settings.max_new_tokens, model.context_length)
        self._stop_ids = np.array(sorted(stop_ids(tokenizer, settings)), dtype=np.int64)
        self._filters: list[Filter] = build_filters(settings, forbidden_ids(model, tokenizer, settings))
        raised = [amount > 0 for _, amount in settings.logit_bias]
        self._only_falls = not any(raised) and settings.presence_penalty >= 0 and settings.frequency_penalty >= 0
        self._finished: list[_Hypothesis] = []

    def run(self, prompt_index: int) -> list[Generation]:
        alive, state = [_Hypothesis()], self._model.initial_state(1)
        ids = np.array([self._prompt], dtype=np.int64)
        for length in range(1, self._limit + 1):
            log_probs, state = self._model.next_log_probs(ids, state)
            alive = self._grow(alive, np.asarray(log_probs, dtype=np.float64))
            if length == self._limit or self._decided(alive):
                break
            state = self._follow(state, alive, rows=len(ids))
            ids = np.array([[hypothesis.ids[-1]] for hypothesis in alive], dtype=np.int64)
        best = sorted([*self._finished, *alive], key=self._rank)[: self._settings.n]
        return [self._result(hypothesis, prompt_index) for hypothesis in best]

    def _follow(self, state: State, alive: Sequence[_Hypothesis], rows: int) -> State:
        parents = [hypothesis.row for hypothesis in alive]
        return state if parents == list(range(rows)) else self._model.keep_rows(state, parents)

    def _grow(self, alive: Sequence[_Hypothesis], log_probs: NDArray[np.float64]) -> list[_Hypothesis]:
        """Extend every beam by every token: the ends join the finished, the best others live on."""
        totals = np.stack([self._filtered(h, row) + h.total for h, row in zip(alive, log_probs, strict=True)])
        for row, hypothesis in enumerate(alive):
            ends = [int(token) for token in self._stop_ids if totals[row, token] > -np.inf]
            self._finish(self._extended(hypothesis, row, token, totals, log_probs, stopped=True) for token in ends)
        totals[:, self._stop_ids] = -np.inf
        living: list[_Hypothesis] = []
        for row, token in _best(totals, self._beams * (2 if self._settings.stop else 1)):
            grown = self._extended(alive[row], row, token, totals, log_probs)
            if self._settings.stop and self._text(grown.ids)[1] is not None:
                self._finish([grown])
            elif len(living) < self._beams:
                living.append(grown)
        return living

    def _filtered(self, hypothesis: _Hypothesis, row: NDArray[np.float64]) -> NDArray[np.float64]:
        history, scores = self._history(hypothesis), row
        for apply in self._filters:
            scores = apply(scores, history)
        if not np.isfinite(scores.max()):
            raise ZhixingError(
                tr(
                    "no token can be chosen: the model's probabilities are not finite, or all were excluded",
                    "没有可选的词元：模型的概率不是有限值，或全部被排除",
                )
            )
        return scores

    def _history(self, hypothesis: _Hypothesis) -> History:
        """Return what the penalties look at; nothing where there are none."""
        asked = self._settings
        if asked.repetition_penalty == 1.0 and not asked.presence_penalty and not asked.frequency_penalty:
            return History(())
        history = History(self._prompt)
        for token in hypothesis.ids:
            history.append(token)
        return history

    def _extended(
        self,
        parent: _Hypothesis,
        row: int,
        token: int,
        totals: NDArray[np.float64],
        log_probs: NDArray[np.float64],
        stopped: bool = False,
    ) -> _Hypothesis:
        top = parent.top
        if self._settings.logprobs:
            best = np.argsort(-log_probs[row], kind="stable")[: self._settings.logprobs]
            top = (*top, tuple((int(i), float(log_probs[row, i])) for i in best if log_probs[row, i] > -np.inf))
        said = (*parent.log_probs, float(log_probs[row, token]))
        return _Hypothesis((*parent.ids, token), float(totals[row, token]), said, top, stopped, row)

    def _finish(self, ended: Iterator[_Hypothesis] | Sequence[_Hypothesis]) -> None:
        self._finished = sorted([*self._finished, *ended], key=self._rank)[: self._beams]

    def _rank(self, hypothesis: _Hypothesis) -> float:
        return -hypothesis.total / length_penalty(len(hypothesis.ids), self._alpha)

    def _decided(self, alive: Sequence[_Hypothesis]) -> bool:
        """Whether nothing alive can still enter the best ``n``."""
        if not alive:
            return True
        if len(self._finished) < self._settings.n or not self._only_falls:
            return False
        reachable = max(hypothesis.total for hypothesis in alive) / length_penalty(self._limit, self._alpha)
        return reachable <= -self._rank(self._finished[self._settings.n - 1])

    def _text(self, ids: Sequence[int]) -> tuple[str, str | None]:
        """Return what may be shown of the text, and the stop string that ended it."""
        decoder, stops = StreamDecoder(self._tokenizer), StopStrings(self._settings.stop)
        for token in self._prompt[-_PRIMING:]:
            decoder.push(token)
        shown = [stops.push(decoder.push(token)) for token in ids]
        shown += [stops.push(decoder.finish()), stops.finish()]
        return "".join(shown), stops.found

    def _result(self, hypothesis: _Hypothesis, prompt_index: int) -> Generation:
        text, found = self._text(hypothesis.ids[:-1] if hypothesis.stopped else hypothesis.ids)
        return Generation(
            text=text,
            ids=hypothesis.ids,
            finish_reason="stop" if hypothesis.stopped or found is not None else "length",
            prompt_tokens=len(self._prompt),
            completion_tokens=len(hypothesis.ids),
            log_probs=hypothesis.log_probs,
            top_log_probs=hypothesis.top,
            seed=self._settings.seed or 0,
            prompt_index=prompt_index,
            stop_string=found,
        )


def _best(totals: NDArray[np.float64], count: int) -> Iterator[tuple[int, int]]:
    """Yield (row, token) of the best sums, best first; of equal ones the earlier row, then the lower id."""
    flat = totals.ravel()
    count = min(count, int((flat > -np.inf).sum()))
    if not count:
        return
    # All that reach the last place, so that ties are broken by place and not by the partition's whim.
    near = np.flatnonzero(flat >= np.partition(flat, -count)[-count])
    for place in near[np.argsort(-flat[near], kind="stable")][:count]:
        yield int(place) // totals.shape[1], int(place) % totals.shape[1]


def _check(prompts: Sequence[Prompt], settings: GenerationSettings, beams: int, alpha: float) -> None:
    if isinstance(prompts, str):
        raise ConfigError(tr("prompts must be a list: [prompt]", "prompts 必须是列表：[prompt]"))
    if not settings.greedy:
        raise ConfigError(
            tr("beam search draws nothing: set temperature to 0", "束搜索不做随机抽取：请将 temperature 设为 0")
        )
    if beams < 1 or settings.n > beams:
        raise ConfigError(
            tr(
                f"beams = {beams}: there must be at least one, and as many as the {settings.n} texts asked for (n)",
                f"beams = {beams}：至少为 1，且不少于所要的文本数 n = {settings.n}",
            )
        )
    if not 0.0 <= alpha <= 10.0:
        raise ConfigError(tr(f"alpha = {alpha}: give 0 to 10", f"alpha = {alpha}：请取 0 到 10"))
