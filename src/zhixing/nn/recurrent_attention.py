"""Attention of a recurrent decoder to the states of an encoder: additive (Bahdanau et al. 2015, appendix A.1.2) and
multiplicative (Luong et al. 2015, equation 8, "general").

Both take ``T`` queries at once. What depends on the source alone is computed once per source, by ``prepare``, not once
per step. ``LookThenMove`` and ``MoveThenLook`` are the two orders in which a decoder may use them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zhixing.nn.recurrent import Cell, RecurrentLayer, State


class Source(NamedTuple):
    """What a decoder looks back at: annotations (B, S, K), as ``prepare`` maps them, and which are real (B, S).

    None: they are not mapped yet; all are real.
    """

    annotations: Tensor
    prepared: Tensor | None = None
    mask: Tensor | None = None


class AdditiveAttention(nn.Module):
    """``e = v · tanh(W s + U h)``; no biases, as in the paper."""

    def __init__(self, query_width: int, key_width: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_width, width, bias=False)
        self.key = nn.Linear(key_width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return (B, S, A) mapped (B, S, K) annotations."""
        return self.key(annotations)

    def forward(
        self, query: Tensor, annotations: Tensor, mask: Tensor | None = None, prepared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Look from (B, T, Q) at (B, S, K).

        ``mask`` (B, S): True where a source token is real; None: all. ``prepared``: what ``prepare`` returned.
        Returns the contexts (B, T, K) and the weights (B, T, S).
        """
        keys = self.prepare(annotations) if prepared is None else prepared
        together = torch.tanh(self.query(query)[:, :, None] + keys[:, None])  # (B, T, S, A)
        return _mix(self.score(together).squeeze(-1), annotations, mask)


class MultiplicativeAttention(nn.Module):
    """``e = s · (W h)``."""

    def __init__(self, query_width: int, key_width: int) -> None:
        super().__init__()
        self.key = nn.Linear(key_width, query_width, bias=False)

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return (B, S, Q) mapped (B, S, K) annotations."""
        return self.key(annotations)

    def forward(
        self, query: Tensor, annotations: Tensor, mask: Tensor | None = None, prepared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Look from (B, T, Q) at (B, S, K); arguments and results as for ``AdditiveAttention``."""
        keys = self.prepare(annotations) if prepared is None else prepared
        return _mix(query @ keys.transpose(1, 2), annotations, mask)


class LookThenMove(nn.Module):
    """A decoder layer of Bahdanau et al. (2015), section 3.1: from the state before, look at the source; then read the
    token and what was seen."""

    def __init__(self, cell: Cell, token_width: int, key_width: int, width: int) -> None:
        super().__init__()
        self.attention = AdditiveAttention(width, key_width, width)
        self.layer = RecurrentLayer(cell, token_width + key_width, width)

    def forward(self, token: Tensor, state: State, source: Source) -> tuple[Tensor, State]:
        """Read (B, I) tokens; return the contexts (B, K) and the new state."""
        context, _ = self.attention(state[0][:, None], source.annotations, source.mask, source.prepared)
        _, state = self.layer(torch.cat([token[:, None], context], dim=-1), state)
        return context[:, 0], state


class MoveThenLook(nn.Module):
    """The attentional state of Luong et al. (2015), equation 5: ``tanh(W [c; s])``, c seen from the state s."""

    def __init__(self, key_width: int, width: int) -> None:
        super().__init__()
        self.attention = MultiplicativeAttention(width, key_width)
        self.combine = nn.Linear(key_width + width, width, bias=False)

    def forward(self, states: Tensor, source: Source) -> Tensor:
        """(B, T, Q) states to as many attentional ones."""
        context, _ = self.attention(states, source.annotations, source.mask, source.prepared)
        return torch.tanh(self.combine(torch.cat([context, states], dim=-1)))


def _mix(scores: Tensor, annotations: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax of (B, T, S) scores over real tokens, and the annotations mixed by it."""
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return weights @ annotations, weights
