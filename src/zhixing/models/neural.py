"""A causal decoder in torch as a ``LanguageModel``: the bridge between tensors and the NumPy waist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zhixing.errors import ContextLengthError
from zhixing.models.families import UNLIMITED
from zhixing.models.protocol import Ids, LogProbs
from zhixing.nn.cache import Cache

_PIECE = 4096
"""Ids of a row that a model without a limit scores at once."""


class CausalDecoder(Protocol):
    """What a decoder module offers: hidden states, an output embedding, a cache."""

    settings: Any
    head_weight: Tensor

    def new_cache(self, batch: int) -> Cache:
        """Return an empty cache."""

    def __call__(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: Any = None,
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
    def context_length(self) -> int | None:
        """The most ids a state can hold; None: no limit."""
        return None if self.family in UNLIMITED else int(self._decoder.settings.context_length)

    def initial_state(self, batch: int) -> Cache:
        """Return an empty cache of ``batch`` rows."""
        cache: Cache = self._decoder.new_cache(batch)
        return cache

    def next_log_probs(self, ids: Ids, state: Cache, lengths: Ids | None = None) -> tuple[LogProbs, Cache]:
        """Read ids and return the (B, V) log-probabilities of what follows; see ``LanguageModel``."""
        real = None if lengths is None else self._tensor(lengths)
        self._check_fits(int((state.lengths + (ids.shape[1] if real is None else real)).max()))
        with torch.inference_mode():
            last = self._last_hidden(self._tensor(ids), state, real)
            logits = (last @ self._decoder.head_weight.T).float()
            return torch.log_softmax(logits, dim=-1).cpu().numpy(), state

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the (B, T - 1) log-probabilities of the ids after the first; see ``LanguageModel``."""
        batch, length = ids.shape
        self._check_fits(length - 1)
        inputs, targets = self._tensor(ids[:, :-1]), self._tensor(ids[:, 1:])
        with torch.inference_mode():
            found = [
                _token_log_probs(hidden.flatten(0, 1), self._decoder.head_weight, target.flatten()).view(batch, -1)
                for hidden, target in self._hidden(inputs, targets)
            ]
        result = torch.cat(found, dim=1).cpu().numpy()
        if lengths is not None:
            result[np.arange(1, length)[None, :] >= np.asarray(lengths)[:, None]] = 0.0
        return result

    def keep_rows(self, state: Cache, rows: Sequence[int]) -> Cache:
        """Return a cache with only the given rows."""
        with torch.inference_mode():
            return state.keep_rows(rows)

    def join_states(self, states: Sequence[Cache]) -> Cache:
        """Return one cache with the rows of all."""
        joined: Any = type(states[0])
        with torch.inference_mode():
            result: Cache = joined.join(states)
            return result

    def _last_hidden(self, ids: Tensor, state: Cache, lengths: Tensor | None) -> Tensor:
        """Return the (B, D) hidden states of the last real ids; a decoder may know how to compute no others."""
        if hasattr(self._decoder, "last_hidden"):
            last: Tensor = self._decoder.last_hidden(ids, cache=state, lengths=lengths)
            return last
        hidden: Tensor = self._decoder(ids, cache=state, lengths=lengths)
        if lengths is None:
            return hidden[:, -1]
        return hidden[torch.arange(len(ids), device=hidden.device), lengths - 1]

    def _check_fits(self, length: int) -> None:
        if self.context_length is not None and length > self.context_length:
            raise ContextLengthError(length, self.context_length)

    def _hidden(self, inputs: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield hidden states with their targets: all at once, or, where a text may be long, a piece at a time."""
        if self.context_length is not None or inputs.shape[1] <= _PIECE:
            yield self._decoder(inputs), targets
            return
        state = self._decoder.new_cache(len(inputs))
        for piece, target in zip(torch.split(inputs, _PIECE, dim=1), torch.split(targets, _PIECE, dim=1), strict=True):
            yield self._decoder(piece, cache=state), target

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
