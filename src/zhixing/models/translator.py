"""Encoder-decoders as what they were made for: a target is written for a source (Sutskever et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zhixing.errors import ContextLengthError
from zhixing.models.encoder_decoder import joined, source_and_target_length, start_id
from zhixing.models.protocol import Ids, LogProbs


@dataclass
class TranslatorState:
    """The decoder's cache of B targets; None: their sources have not been read."""

    batch: int
    cache: Any = None


class Translator:
    """An encoder-decoder as the language model of targets: the first reading of a row is its source.

    So everything that generates text generates targets: the prompt is the source, padded like any other, and what is
    generated is drawn from p(target | source). The decoder's start id is read on the way.
    """

    def __init__(self, module: nn.Module, separator_id: int) -> None:
        self.module = module.eval()
        self._network: Any = module
        self._device = next(module.parameters()).device
        settings: Any = module.settings
        self.source_length, self.target_length = source_and_target_length(settings)
        self._start = start_id(settings, separator_id)

    @property
    def family(self) -> str:
        """The family's name."""
        return str(self._network.settings.family)

    @property
    def vocab_size(self) -> int:
        """``V``."""
        return int(self._network.settings.vocab_size)

    @property
    def context_length(self) -> None:
        """No limit: a target may be longer than those it was trained on."""
        return None

    def initial_state(self, batch: int) -> TranslatorState:
        """Return the state of ``batch`` rows that wait for their source."""
        return TranslatorState(batch)

    def next_log_probs(
        self, ids: Ids, state: TranslatorState, lengths: Ids | None = None
    ) -> tuple[LogProbs, TranslatorState]:
        """Read (B, S) sources, or what follows of the targets; return (B, V) log-probabilities of the next target id.

        Raises:
            ContextLengthError: a source is longer than ``source_length``.
        """
        given = self._tensor(ids)
        real = None if lengths is None else self._tensor(lengths)
        with torch.inference_mode():
            if state.cache is None:
                longest = ids.shape[1] if lengths is None else int(np.max(lengths))
                if longest > self.source_length:
                    raise ContextLengthError(longest, self.source_length)
                state.cache = self._network.new_cache(len(ids))
                start = given.new_full((len(ids), 1), self._start)
                hidden = self._network.decode(start, self._network.encode(given, real), real, cache=state.cache)
                last = hidden[:, -1]
            else:
                hidden = self._network.decode(given, None, cache=state.cache, lengths=real)
                rows = torch.arange(len(ids), device=hidden.device)
                last = hidden[:, -1] if real is None else hidden[rows, real - 1]
            logits = (last @ self._network.head_weight.T).float()
            return torch.log_softmax(logits, dim=-1).cpu().numpy(), state

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the (B, T - 1) log-probabilities of the ids after the first, which is the source of each row."""
        sources, targets = ids[:, :1], ids[:, 1:]
        found = self.score_targets(sources, targets)
        if lengths is not None:
            found[np.arange(1, ids.shape[1])[None, :] >= np.asarray(lengths)[:, None]] = 0.0
        return found

    def score_targets(self, sources: Ids, targets: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the (B, T) log-probabilities of (B, T) targets after (B, S) sources, ``lengths`` (B,) real ids each.

        Of a right-padded target, ignore what is said at padding.
        """
        wanted, real = self._tensor(targets), None if lengths is None else self._tensor(lengths)
        start = wanted.new_full((len(targets), 1), self._start)
        with torch.inference_mode():
            memory = self._network.encode(self._tensor(sources), real)
            hidden = self._network.decode(torch.cat([start, wanted[:, :-1]], dim=1), memory, real)
            log_probs = torch.log_softmax((hidden @ self._network.head_weight.T).float(), dim=-1)
            return log_probs.gather(2, wanted[..., None]).squeeze(-1).cpu().numpy()

    def keep_rows(self, state: TranslatorState, rows: Sequence[int]) -> TranslatorState:
        """Return a state with only the given rows, in the given order."""
        with torch.inference_mode():
            return TranslatorState(len(rows), None if state.cache is None else state.cache.keep_rows(list(rows)))

    def join_states(self, states: Sequence[TranslatorState]) -> TranslatorState:
        """Return one state with the rows of all, whose sources have all been read, or none of them.

        Raises:
            ValueError: some have and some have not.
        """
        caches = [state.cache for state in states if state.cache is not None]
        if caches and len(caches) < len(states):
            raise ValueError("a row whose source has been read cannot join one whose source has not")
        with torch.inference_mode():
            return TranslatorState(sum(state.batch for state in states), joined(caches) if caches else None)

    def _tensor(self, ids: Ids) -> Tensor:
        return torch.from_numpy(np.require(ids, np.int64, ["C", "W"])).to(self._device)
