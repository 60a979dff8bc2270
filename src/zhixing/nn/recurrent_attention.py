"""Attention of a recurrent decoder to the states of an encoder: additive (Bahdanau et al. 2015, appendix A.1.2), and
the three forms of Luong et al. (2015), equation 8: "general" (here multiplicative), "dot" and "concat".

All take ``T`` queries at once. What depends on the source alone is computed once per source, by ``prepare``, not once
per step. ``LookThenMove`` and ``MoveThenLook`` are the two orders in which a decoder may use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zhixing.nn.compiled import not_compiled
from zhixing.nn.recurrent import Cell, RecurrentLayer, State, exact
from zhixing.nn.recurrent_step import move
from zhixing.nn.shared_matrix import SharedMatrix

_tanh_backward = torch.ops.aten.tanh_backward


class Source(NamedTuple):
    """What a decoder looks back at: annotations (B, S, K), as ``prepare`` maps them, and which are real (B, S).

    None: they are not mapped yet; all are real.
    """

    annotations: Tensor
    prepared: Tensor | None = None
    mask: Tensor | None = None


class Attention(nn.Module):
    """What the three have in common: a source is prepared once, and looked at from any number of states."""

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return (B, S, K) annotations as they are compared with: (B, S, A)."""
        raise NotImplementedError

    def scorer(self, prepared: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map from (B, T, Q) queries to the scores (B, T, S) of a source that ``prepare`` has mapped."""
        raise NotImplementedError

    def forward(
        self, query: Tensor, annotations: Tensor, mask: Tensor | None = None, prepared: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Look from (B, T, Q) at (B, S, K).

        ``mask`` (B, S): True where a source token is real; None: all. ``prepared``: what ``prepare`` returned.
        Returns the contexts (B, T, K) and the weights (B, T, S).
        """
        scorer = self.scorer(self.prepare(annotations) if prepared is None else prepared)
        return _mix(scorer(query), annotations, mask)


class AdditiveAttention(Attention):
    """``e = v · tanh(W s + U h)``; no biases, as in the paper. Luong's "concat" is the same: ``W_a [s; h]``."""

    def __init__(self, query_width: int, key_width: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_width, width, bias=False)
        self.key = nn.Linear(key_width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return (B, S, A) mapped (B, S, K) annotations."""
        return self.key(annotations)

    def scorer(self, prepared: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map from queries to scores."""
        mapped, score = SharedMatrix(self.query.weight.T), self.score.weight[0]
        return lambda query: additive_scores(mapped(query), prepared, score)


class MultiplicativeAttention(Attention):
    """``e = s · (W h)``."""

    def __init__(self, query_width: int, key_width: int) -> None:
        super().__init__()
        self.key = nn.Linear(key_width, query_width, bias=False)

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return (B, S, Q) mapped (B, S, K) annotations."""
        return self.key(annotations)

    def scorer(self, prepared: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map from queries to scores."""
        return SharedMatrix(prepared.mT)


class DotAttention(Attention):
    """``e = s · h``, for states of one width; nothing to learn."""

    def prepare(self, annotations: Tensor) -> Tensor:
        """Return the annotations, which are their own keys."""
        return annotations

    def scorer(self, prepared: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the map from queries to scores."""
        return SharedMatrix(prepared.mT)


class LookThenMove(nn.Module):
    """A decoder layer of Bahdanau et al. (2015), section 3.1: from the state before, look at the source; then read the
    token and what was seen."""

    def __init__(self, cell: Cell, token_width: int, key_width: int, width: int) -> None:
        super().__init__()
        self.attention = AdditiveAttention(width, key_width, width)
        self.layer = RecurrentLayer(cell, token_width + key_width, width)

    def forward(self, token: Tensor, state: State, source: Source) -> tuple[Tensor, State]:
        """Read (B, I) tokens; return the contexts (B, K) and the new state."""
        contexts, states = self.read(token[:, None], state, source)
        return contexts[:, 0], states[0]

    @not_compiled  # a compiler would unroll the loop over time
    def read(self, tokens: Tensor, state: State, source: Source) -> tuple[Tensor, list[State]]:
        """Read (B, T, I) tokens one after another; return the contexts (B, T, K) and the state after each.

        What the tokens say to the gates is computed for all steps at once, and in each step one product maps the state
        for the gates and for the next look. Steps are computed in float32 at least.
        """
        kind, layer, look = tokens.dtype, self.layer, self.attention
        with torch.autocast(tokens.device.type, enabled=False):
            annotations = SharedMatrix(exact(source.annotations))
            keys = exact(look.prepare(source.annotations) if source.prepared is None else source.prepared)
            weight, read = exact(layer.input.weight), tokens.shape[-1]
            of_token, of_context = weight[:, :read], weight[:, read:]
            of_state = torch.cat([exact(layer.recurrent.weight), exact(look.query.weight)])
            by_context = SharedMatrix(of_context.T)
            from_state = SharedMatrix(of_state.T, functional.pad(exact(layer.recurrent.bias), (0, keys.shape[-1])))
            score, state = exact(look.score.weight[0]), tuple(map(exact, state))
            contexts, states = list[Tensor](), list[State]()
            for by_token in functional.linear(exact(tokens), of_token, exact(layer.input.bias)).unbind(1):
                mapped, gates = from_state(state[0]), by_token.shape[-1]
                by_state, query = mapped[:, :gates], mapped[:, gates:]
                context = _mix(additive_scores(query[:, None], keys, score), annotations, source.mask)[0][:, 0]
                state = move(layer.cell, by_token + by_context(context), by_state, state)
                contexts.append(context)
                states.append(state)
        return torch.stack(contexts, dim=1).to(kind), [tuple(each.to(kind) for each in state) for state in states]


class MoveThenLook(nn.Module):
    """The attentional state of Luong et al. (2015), equation 5: ``tanh(W [c; s])``, c seen from the state s.

    ``attention``: multiplicative, dot or concat (equation 8).
    """

    def __init__(self, key_width: int, width: int, attention: str = "multiplicative") -> None:
        super().__init__()
        if attention == "dot":
            self.attention: Attention = DotAttention()
        elif attention == "concat":
            self.attention = AdditiveAttention(width, key_width, width)
        else:
            self.attention = MultiplicativeAttention(width, key_width)
        self.combine = nn.Linear(key_width + width, width, bias=False)

    def forward(self, states: Tensor, source: Source) -> Tensor:
        """(B, T, Q) states to as many attentional ones."""
        return self.looker(source)(states)

    def looker(self, source: Source) -> Callable[[Tensor], Tensor]:
        """Return ``forward`` for one source, to be called many times."""
        attention, annotations = self.attention, SharedMatrix(source.annotations)
        scorer = attention.scorer(attention.prepare(source.annotations) if source.prepared is None else source.prepared)
        combine = SharedMatrix(self.combine.weight.T)

        def look(states: Tensor) -> Tensor:
            context, _ = _mix(scorer(states), annotations, source.mask)
            return torch.tanh(combine(torch.cat([context, states], dim=-1)))

        return look


def additive_scores(query: Tensor, keys: Tensor, score: Tensor) -> Tensor:
    """Return ``v · tanh(q + k)`` (B, T, S) of mapped queries (B, T, A) and keys (B, S, A); score v (A,)."""
    found: Tensor = _TanhScores.apply(query, keys, score)  # type: ignore[no-untyped-call]
    return found


class _TanhScores(torch.autograd.Function):
    """``additive_scores``, its gradient in few passes over (B, T, S, A): that is all but everything a step costs."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, score: Tensor) -> Tensor:
        together = (query[:, :, None] + keys[:, None]).tanh_()
        ctx.save_for_backward(together, score)
        return together @ score

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        together, score = ctx.saved_tensors
        upstream = gradients[0]
        delta = _tanh_backward(upstream[..., None] * score, together)
        of_keys = delta[:, 0] if delta.shape[1] == 1 else delta.sum(dim=1)
        return delta.sum(dim=2), of_keys, upstream.flatten() @ together.flatten(0, 2)


def _mix(scores: Tensor, annotations: Tensor | SharedMatrix, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax of (B, T, S) scores over real tokens, and the annotations mixed by it."""
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return annotations(weights) if isinstance(annotations, SharedMatrix) else weights @ annotations, weights
