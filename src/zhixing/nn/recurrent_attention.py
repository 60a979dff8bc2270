"""Attention of a recurrent decoder to the states of an encoder: additive (Bahdanau et al. 2015, appendix A.1.2) and
multiplicative (Luong et al. 2015, equation 8, "general").

Both take ``T`` queries at once. What depends on the source alone is computed once per source, by ``prepare``, not once
per step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


def _mix(scores: Tensor, annotations: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax of (B, T, S) scores over real tokens, and the annotations mixed by it."""
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return weights @ annotations, weights
