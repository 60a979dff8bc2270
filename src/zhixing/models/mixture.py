"""A mixture of language models that share a tokenizer: ``p(x | c) = sum_m w_m(c) p_m(x | c)``.

Interpolation with weights fitted on held-out text is Jelinek and Mercer (1980); see
``zhixing.theory.mixture``. A neural model and an n-gram err in different places, so on a small budget the
two together beat either alone.

What differs from the textbook: the weights may depend on the context through two things that are known
before the token and cost next to nothing. One is how many of the preceding ids an n-gram member has seen
together in training (its ``matched order``). The other is how much better the first member has been than
the best of the others over the last few tokens of this very text. The second is continuous, and the weights
are interpolated linearly between a few knots, so that a rounding error in a member never makes the mixture
jump. Fitted by EM, each cell of the table drawn towards the static weights; which of these dependences is
used is decided by cross-validation on the text given to ``fit``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zhixing.config import Settings, setting
from zhixing.errors import ConfigError, ModelFolderError
from zhixing.language import tr
from zhixing.models.protocol import Ids, LanguageModel, LogProbs, State

Floats = NDArray[np.float64]
_WORST_ADVANTAGE = 8.0
"""One token moves the running advantage by at most this many nats: a surprise should not rule for long."""


class MixtureSettings(Settings):
    """A mixture of saved models."""

    family: Literal["mixture"] = setting("mixture", "the model family", "模型族")
    members: tuple[str, ...] = setting((), "folders of the member models", "各成员模型的文件夹")
    weights: Literal["static", "context"] = setting(
        "context", "one weight per member, or weights by context", "每个成员一个权重，或随上下文变化的权重"
    )


@runtime_checkable
class OrderedModel(Protocol):
    """A ``LanguageModel`` that also tells how much of the context it has seen in training (an n-gram)."""

    def score_with_order(self, ids: Ids, lengths: Ids | None = None) -> tuple[LogProbs, Ids]:
        """Return ``score`` and, (B, T - 1), the number of preceding ids that were matched."""

    def next_with_order(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[LogProbs, Ids, State]:
        """Return log-probabilities (B, V), the matched order (B,) and the new state."""


@dataclass(frozen=True)
class Gate:
    """The weights as a table.

    ``weights`` (K_order, K_knots, M), each row a distribution over the members; ``knots`` (K_knots,)
    increasing advantages in nats; ``span``: over how many preceding tokens the advantage is averaged. One
    order level means that the matched order is not used, one knot that the advantage is not.
    """

    weights: Floats
    knots: Floats
    span: int

    @property
    def uses_advantage(self) -> bool:
        """Whether the weights depend on how the members have done on the last tokens."""
        return len(self.knots) > 1

    @property
    def uses_order(self) -> bool:
        """Whether the weights depend on the matched order."""
        return len(self.weights) > 1

    def weigh(self, order: Ids, advantage: Floats) -> Floats:
        """Return the weights (..., M) for matched orders (...) and running advantages (...)."""
        cells, share = self.cells(order, advantage)
        flat = self.weights.reshape(-1, self.weights.shape[-1])
        return np.asarray(flat[cells[0]] * (1 - share)[..., None] + flat[cells[1]] * share[..., None])

    def cells(self, order: Ids, advantage: Floats) -> tuple[tuple[Ids, Ids], Floats]:
        """Return the two cells of the flat table around each place, and the share of the second one."""
        row = np.minimum(np.asarray(order, np.int64), len(self.weights) - 1) * len(self.knots)
        if not self.uses_advantage:
            return (row, row), np.zeros(row.shape)
        inside = np.clip(advantage, self.knots[0], self.knots[-1])
        left = np.clip(np.searchsorted(self.knots, inside, side="right") - 1, 0, len(self.knots) - 2)
        share = (inside - self.knots[left]) / (self.knots[left + 1] - self.knots[left])
        return (row + left, row + left + 1), np.asarray(share)


@dataclass
class _MixtureState:
    """Members' states, and what a gate that looks back needs.

    ``history``: each row's ids; ``recent`` (B, span): the first member's advantages on the last tokens, the
    newest last; ``expected``: what every member said comes next, (B, V) each.
    """

    members: tuple[State, ...]
    history: list[Ids]
    recent: Floats
    expected: list[LogProbs] = field(default_factory=list)


class MixtureModel:
    """A ``LanguageModel`` over models that share a vocabulary."""

    def __init__(self, members: Sequence[LanguageModel], gate: Gate, fitted: Mapping[str, Any] | None = None) -> None:
        """Mix ``members`` as ``gate`` says; ``fitted`` records how the gate came to be.

        Raises:
            ConfigError: fewer than two members, unequal vocabularies, or a gate for another number of
                members.
        """
        check_members(members)
        if gate.weights.ndim != 3 or gate.weights.shape[1:] != (len(gate.knots), len(members)):
            raise ConfigError(
                tr(
                    f"the mixture has weights of shape {gate.weights.shape}, but {len(members)} members",
                    f"混合模型的权重形状为 {gate.weights.shape}，与 {len(members)} 个成员不符",
                )
            )
        self.members = tuple(members)
        self.gate = gate
        self.fitted = dict(fitted or {})
        self._ordered = ordered_member(members) if gate.uses_order else None

    @property
    def family(self) -> str:
        """``"mixture"``."""
        return "mixture"

    @property
    def vocab_size(self) -> int:
        """``V``, the same for all members."""
        return self.members[0].vocab_size

    @property
    def context_length(self) -> int | None:
        """The shortest context of a member; None if no member has a limit."""
        return min((m.context_length for m in self.members if m.context_length is not None), default=None)

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the natural log-probability (B, T - 1) of every id but the first; 0 at padding."""
        scores, order = score_members(self.members, ids, lengths, self._ordered)
        advantage = running_advantage(scores, self.gate.span) if self.gate.uses_advantage else scores[0]
        mixed = mix(scores, np.moveaxis(self.gate.weigh(order, advantage), -1, 0))
        if lengths is not None:
            mixed[np.arange(mixed.shape[1]) >= np.asarray(lengths)[:, None] - 1] = 0.0
        return mixed.astype(np.float32)

    def initial_state(self, batch: int) -> _MixtureState:
        """Return the state of ``batch`` texts of which nothing has been read."""
        states = tuple(member.initial_state(batch) for member in self.members)
        empty = [np.zeros(0, np.int64) for _ in range(batch)]
        return _MixtureState(states, empty, np.zeros((batch, self.gate.span)))

    def next_log_probs(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[LogProbs, State]:
        """Read ``ids`` (B, T); return the log-probabilities (B, V) of what comes next and the new state."""
        ids = np.asarray(ids, np.int64)
        recent = self._read(ids, state, lengths) if self.gate.uses_advantage else state.recent
        expected, states, order = self._next_of_members(ids, state.members, lengths)
        weights = self.gate.weigh(order, recent.sum(axis=1) / self.gate.span)  # (B, M)
        mixed = mix(np.stack(expected).astype(np.float64), weights.T[:, :, None])
        kept = expected if self.gate.uses_advantage else []
        return mixed.astype(np.float32), _MixtureState(states, state.history, recent, kept)

    def keep_rows(self, state: State, rows: Sequence[int]) -> State:
        """Return a state with only the given rows, in the given order (rows may repeat)."""
        chosen = list(rows)
        return _MixtureState(
            tuple(m.keep_rows(s, chosen) for m, s in zip(self.members, state.members, strict=True)),
            [state.history[row] for row in chosen],
            state.recent[chosen],
            [expected[chosen] for expected in state.expected],
        )

    def join_states(self, states: Sequence[State]) -> State:
        """Return one state whose rows are those of all the given states, in order."""
        parts = zip(self.members, zip(*(s.members for s in states), strict=True), strict=True)
        return _MixtureState(
            tuple(member.join_states(some) for member, some in parts),
            [row for s in states for row in s.history],
            np.concatenate([s.recent for s in states]),
            self._joined_expectations(states),
        )

    def config(self) -> dict[str, Any]:
        """Return what ``config.json`` holds; ``members`` are the names of sub-folders of ``members/``."""
        return {
            "model_type": "mixture",
            "members": [str(index) for index in range(len(self.members))],
            "member_families": [member.family for member in self.members],
            "vocab_size": self.vocab_size,
            "context_length": self.context_length,
            "span": self.gate.span,
            "fitted": self.fitted,
        }

    def save_tensors(self) -> dict[str, NDArray[Any]]:
        """Return the weights (K_order, K_knots, M) and the knots (K_knots,), by name."""
        return {"weights": self.gate.weights, "knots": self.gate.knots}

    @classmethod
    def from_tensors(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], members: Sequence[LanguageModel]
    ) -> Self:
        """Build the model that ``config`` and ``save_tensors`` describe over loaded members.

        Raises:
            ModelFolderError: something is missing, or the weights are not distributions.
        """
        try:
            weights, knots = (np.asarray(tensors[name], np.float64) for name in ("weights", "knots"))
            gate = Gate(weights, knots, int(config["span"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFolderError(
                tr(
                    f"the mixture's folder lacks {error}; save it again",
                    f"混合模型的文件夹缺少 {error}；请重新保存",
                )
            ) from error
        sound = np.isfinite(weights).all() and (weights >= 0).all() and np.allclose(weights.sum(axis=-1), 1)
        if not sound or not (np.diff(knots) > 0).all() or gate.span < 1:
            raise ModelFolderError(
                tr(
                    "the mixture's weights are damaged: they do not sum to one",
                    "混合模型的权重已损坏：其和不为一",
                )
            )
        return cls(members, gate, config.get("fitted"))

    def _next_of_members(
        self, ids: Ids, states: tuple[State, ...], lengths: Ids | None
    ) -> tuple[list[LogProbs], tuple[State, ...], Ids]:
        order = np.zeros(len(ids), np.int64)
        expected, after = [], []
        for index, (member, state) in enumerate(zip(self.members, states, strict=True)):
            if index == self._ordered:
                assert isinstance(member, OrderedModel)
                log_probs, order, new = member.next_with_order(ids, state, lengths)
            else:
                log_probs, new = member.next_log_probs(ids, state, lengths)
            expected.append(log_probs)
            after.append(new)
        return expected, tuple(after), order

    def _read(self, ids: Ids, state: _MixtureState, lengths: Ids | None) -> Floats:
        """Note the new ids in ``state.history``; return the first member's advantages (B, span)."""
        counts = np.full(len(ids), ids.shape[1]) if lengths is None else np.asarray(lengths)
        one_known_id = ids.shape[1] == 1 and bool(state.expected)
        state.history = [np.concatenate([old, row[:n]]) for old, row, n in zip(state.history, ids, counts, strict=True)]
        if one_known_id:
            said = np.stack([log_probs[np.arange(len(ids)), ids[:, 0]] for log_probs in state.expected])
            return np.concatenate([state.recent[:, 1:], advantages(said.astype(np.float64))[:, None]], axis=1)
        return self._reread(state.history)

    def _reread(self, history: list[Ids]) -> Floats:
        """Score whole texts anew for their last ``span`` advantages: the members' states do not tell them."""
        lengths = np.array([len(row) for row in history], np.int64)
        recent = np.zeros((len(history), self.gate.span))
        if lengths.max() < 2:
            return recent
        padded = np.zeros((len(history), int(lengths.max())), np.int64)
        for row, text in enumerate(history):
            padded[row, : len(text)] = text
        gains = advantages(score_members(self.members, padded, lengths, None)[0])
        for row, length in enumerate(lengths.tolist()):
            last = gains[row, max(0, length - 1 - self.gate.span) : length - 1]
            recent[row, self.gate.span - len(last) :] = last
        return recent

    def _joined_expectations(self, states: Sequence[_MixtureState]) -> list[LogProbs]:
        if not all(s.expected for s in states):  # a text of which nothing is read expects nothing yet
            return []
        return [np.concatenate(some) for some in zip(*(s.expected for s in states), strict=True)]


def check_members(members: Sequence[LanguageModel]) -> None:
    """Refuse fewer than two members, or members with different vocabularies.

    Raises:
        ConfigError: saying which.
    """
    if len(members) < 2:
        raise ConfigError(tr("a mixture needs at least two members", "混合模型至少需要两个成员"))
    sizes = [member.vocab_size for member in members]
    if len(set(sizes)) > 1:
        raise ConfigError(
            tr(
                f"the members' vocabularies differ ({sizes} ids); mix models of one tokenizer",
                f"各成员的词表大小不同（{sizes}）；请混合使用同一分词器训练的模型",
            )
        )


def ordered_member(members: Sequence[LanguageModel]) -> int | None:
    """Return the index of the first member that tells its matched order; None if there is none."""
    return next((index for index, member in enumerate(members) if isinstance(member, OrderedModel)), None)


def score_members(
    members: Sequence[LanguageModel], ids: Ids, lengths: Ids | None, ordered: int | None
) -> tuple[Floats, Ids]:
    """Return log-probabilities (M, B, T - 1), and the order (B, T - 1) matched by member ``ordered``."""
    order = np.zeros((ids.shape[0], ids.shape[1] - 1), np.int64)
    scores = np.empty((len(members), *order.shape))
    for index, member in enumerate(members):
        if index == ordered:
            assert isinstance(member, OrderedModel)
            scores[index], matched = member.score_with_order(ids, lengths)
            order = np.asarray(matched, np.int64)
        else:
            scores[index] = member.score(ids, lengths)
    return scores, order


def mix(log_probs: Floats, weights: Floats) -> Floats:
    """Return ``ln sum_m w_m p_m`` over the first axis, in float64 and without underflow."""
    highest = np.maximum(log_probs.max(axis=0), -1e30)  # if all members say 0, the answer is ln 0, not a NaN
    with np.errstate(divide="ignore"):
        return np.asarray(highest + np.log((weights * np.exp(log_probs - highest)).sum(axis=0)))


def advantages(log_probs: Floats) -> Floats:
    """Return by how many nats the first of (M, ...) was better than the best of the others, clipped."""
    floor = np.maximum(log_probs, -1e3)
    gap = np.clip(floor[0] - floor[1:].max(axis=0), -_WORST_ADVANTAGE, _WORST_ADVANTAGE)
    return np.asarray(gap, np.float64)


def running_advantage(log_probs: Floats, span: int) -> Floats:
    """Return (B, n): before each of n tokens, the sum of the last ``span`` advantages over ``span``.

    A text's beginning counts the tokens that are not there as 0: no opinion. The token itself is never
    looked at.
    """
    gains = advantages(log_probs)
    before = np.concatenate([np.zeros((len(gains), 1)), np.cumsum(gains, axis=1)[:, :-1]], axis=1)
    long_before = np.concatenate([np.zeros((len(gains), span)), before], axis=1)[:, : before.shape[1]]
    return np.asarray((before - long_before) / span, np.float64)
