"""A causal decoder in torch as a ``LanguageModel``: the bridge between tensors and the NumPy waist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zhixing.errors import ContextLengthError
from zhixing.models.protocol import Ids, LogProbs
from zhixing.nn.cache import KeyValueCache


class CausalDecoder(Protocol):
    """What a decoder module offers: hidden states, an output embedding, a cache."""

    settings: Any
    head_weight: Tensor

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache."""

    def __call__(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: KeyValueCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """(B, T) ids to (B, T, D) hidden states."""


class NeuralLanguageModel:
    """A decoder module behind the ``LanguageModel`` protocol. It is put into evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()
        self._decoder: Any = module
        self._device = next(module.parameters()).device

    @property
    def family(self) -> str:
        """The family's name."""
        return str(self._decoder.settings.family)

    @property
    def vocab_size(self) -> int:
        """``V``."""
        return int(self._decoder.settings.vocab_size)

    @property
    def context_length(self) -> int:
        """The most ids a state can hold."""
        return int(self._decoder.settings.context_length)

    def initial_state(self, batch: int) -> KeyValueCache:
        """Return an empty cache of ``batch`` rows."""
        cache: KeyValueCache = self._decoder.new_cache(batch)
        return cache

    def next_log_probs(
        self, ids: Ids, state: KeyValueCache, lengths: Ids | None = None
    ) -> tuple[LogProbs, KeyValueCache]:
        """Read ids and return the (B, V) log-probabilities of what follows; see ``LanguageModel``."""
        batch, length = ids.shape
        real = None if lengths is None else self._tensor(lengths)
        longest = int((state.lengths + (length if real is None else real)).max())
        if longest > self.context_length:
            raise ContextLengthError(longest, self.context_length)
        with torch.inference_mode():
            hidden = self._decoder(self._tensor(ids), cache=state, lengths=real)
            rows = torch.arange(batch, device=hidden.device)
            last = hidden[:, -1] if real is None else hidden[rows, real - 1]
            logits = (last @ self._decoder.head_weight.T).float()
            return torch.log_softmax(logits, dim=-1).cpu().numpy(), state

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the (B, T - 1) log-probabilities of the ids after the first; see ``LanguageModel``."""
        batch, length = ids.shape
        if length - 1 > self.context_length:
            raise ContextLengthError(length - 1, self.context_length)
        inputs, targets = self._tensor(ids[:, :-1]), self._tensor(ids[:, 1:])
        with torch.inference_mode():
            hidden = self._decoder(inputs).flatten(0, 1)
            found = _token_log_probs(hidden, self._decoder.head_weight, targets.flatten())
        result = found.view(batch, length - 1).cpu().numpy()
        if lengths is not None:
            result[np.arange(1, length)[None, :] >= np.asarray(lengths)[:, None]] = 0.0
        return result

    def keep_rows(self, state: KeyValueCache, rows: Sequence[int]) -> KeyValueCache:
        """Return a cache with only the given rows."""
        with torch.inference_mode():
            return state.keep_rows(rows)

    def join_states(self, states: Sequence[KeyValueCache]) -> KeyValueCache:
        """Return one cache with the rows of all."""
        with torch.inference_mode():
            return KeyValueCache.join(states)

    def _tensor(self, ids: Ids) -> Tensor:
        owned = np.require(ids, np.int64, ["C", "W"])  # torch wants what it may write to
        return torch.from_numpy(owned).to(self._device)


def _token_log_probs(hidden: Tensor, head: Tensor, targets: Tensor, rows: int = 1024) -> Tensor:
    """Return (N,) log-probabilities of (N,) targets from (N, D) hidden states, few logits at a time."""
    parts = []
    for start in range(0, len(targets), rows):
        logits = (hidden[start : start + rows] @ head.T).float()
        picked = logits.gather(1, targets[start : start + rows, None]).squeeze(1)
        parts.append(picked - torch.logsumexp(logits, dim=-1))
    return torch.cat(parts)
