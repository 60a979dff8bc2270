"""The hidden Markov model: as a language model, and as a tagger.

Paper: Rabiner, "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition" (1989). As a
language model its memory is a distribution over S states: reading an id multiplies it by how likely each state emits
the id, moving on multiplies it by the transition matrix.

    p(x | read) = sum_j expected_j b_j(x)         expected' = normalised(expected * b(x)) A

What differs from the textbook: it is learned from windows cut out of the text at any place, so ``start`` is where
a window begins, not a document (a document's first id, the separator, tells the states where they are); the random
start is first improved on a sample, since the first passes gain little wherever they look; every count is raised
by ``smoothing``, so that no id is impossible where another is possible; ids that never come next have probability
0, and reading one says nothing about the state. ``zhixing.theory.hmm`` states the same for one text.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.config import Settings, setting
from zhixing.errors import DataError, ModelFolderError
from zhixing.language import tr
from zhixing.models.hmm_passes import (
    Counts,
    Floats,
    Parameters,
    Windows,
    best_paths,
    cut_windows,
    emission_rows,
    expected_counts,
    filter_states,
)
from zhixing.models.ngram_tables import check_ids
from zhixing.models.protocol import Ids, LogProbs
from zhixing.progress import progress

_SAMPLE = 100_000
"""Tokens of which the warm-up's sample has at least so many, and less than twice."""


class HmmSettings(Settings):
    """Settings of the hidden Markov model and of its Baum-Welch training."""

    family: Literal["hmm"] = "hmm"
    states: int = setting(32, "hidden states", "隐状态数", ge=1, le=4096)
    iterations: int = setting(30, "passes over the text at most", "最多遍历文本的次数", ge=0)
    warm_up: int = setting(
        30, "passes over a sample before those over a long text", "遍历长文本之前先遍历样本的次数", ge=0
    )
    tolerance: float = setting(
        1e-4,
        "stop when a pass gains less than this",
        "某次遍历的提升小于此值时停止",
        unit="nats/token",
        ge=0,
    )
    window: int = setting(128, "stretches the text is cut into", "文本切成的片段长度", unit="tokens", ge=2)
    smoothing: float = setting(0.01, "added to every expected count", "加到每个期望计数上的值", gt=0, le=1e6)


@dataclass(frozen=True)
class HmmState:
    """What each text makes of the state that emits its next id."""

    expected: Floats
    """(B, S); rows sum to one."""


class HmmModel:
    """A ``LanguageModel`` whose memory is a distribution over hidden states."""

    family = "hmm"
    context_length = None

    def __init__(self, parameters: Parameters, state_names: Sequence[str] = (), history: Sequence[float] = ()) -> None:
        """Take probabilities as ``fit`` or ``fit_tagged`` makes them.

        Args:
            parameters: start, transition, emission.
            state_names: one per state, where they mean something (tags).
            history: nats per token of the training text before each pass; for the record.
        """
        self.parameters = parameters
        self.state_names, self.history = tuple(state_names), tuple(map(float, history))
        self._emitted = emission_rows(parameters.emission)
        self._never = ~parameters.emission.any(axis=0)

    @property
    def states(self) -> int:
        """``S``."""
        return len(self.parameters.start)

    @property
    def vocab_size(self) -> int:
        """``V``."""
        return self.parameters.emission.shape[1]

    @classmethod
    def fit(
        cls,
        sequences: Iterable[NDArray[Any]],
        vocab_size: int,
        settings: HmmSettings | None = None,
        seed: int = 0,
        unpredictable: frozenset[int] = frozenset(),
        seconds: float = float("inf"),
    ) -> HmmModel:
        """Learn from text alone by Baum-Welch, starting at random.

        Args:
            sequences: arrays of ids.
            vocab_size: ``V``.
            settings: states, passes, smoothing, ...
            seed: of the start.
            unpredictable: ids that never come; they get probability 0.
            seconds: no pass begins after so much time (by the clock: results then depend on the machine).

        Raises:
            DataError: an id outside the vocabulary, an unpredictable id that comes, or no ids at all.
        """
        settings = settings or HmmSettings()
        windows = cut_windows(sequences, settings.window, vocab_size)
        counts = np.bincount(windows.ravel(), minlength=vocab_size + 1)[:vocab_size]
        possible = _possible(counts, unpredictable)
        parameters = _random_start(counts, possible, settings, seed)
        deadline = time.monotonic() + seconds
        if (share := int(counts.sum()) // _SAMPLE) > 1:
            warming = settings.replace(iterations=settings.warm_up, tolerance=0.0)
            parameters, _ = _passes(parameters, windows[::share], warming, possible, deadline)
        parameters, history = _passes(parameters, windows, settings, possible, deadline)
        return cls(parameters, history=history)

    @classmethod
    def fit_tagged(
        cls,
        tags: Sequence[NDArray[Any]],
        sequences: Sequence[NDArray[Any]],
        states: int,
        vocab_size: int,
        smoothing: float = 0.01,
        state_names: Sequence[str] = (),
    ) -> HmmModel:
        """Learn from texts whose states are known, by counting.

        Args:
            tags: the state of every id, an array (T,) per text.
            sequences: the ids, arrays of the same lengths.
            states: ``S``.
            vocab_size: ``V``.
            smoothing: added to every count, above 0.
            state_names: what the states are called.

        Raises:
            DataError: a text and its tags differ in length, or a number is out of range.
        """
        return cls(maximise(count_tagged(tags, sequences, states, vocab_size), smoothing), state_names)

    def initial_state(self, batch: int) -> HmmState:
        """Return the state of ``batch`` texts of which nothing has been read."""
        return HmmState(np.broadcast_to(self.parameters.start, (batch, self.states)))

    def keep_rows(self, state: HmmState, rows: Sequence[int]) -> HmmState:
        """Return a state with only the given rows, in the given order (rows may repeat)."""
        return HmmState(state.expected[np.asarray(rows, np.int64)])

    def join_states(self, states: Sequence[HmmState]) -> HmmState:
        """Return one state whose rows are those of all the given states, in order."""
        return HmmState(np.concatenate([state.expected for state in states]))

    def next_log_probs(self, ids: Ids, state: HmmState, lengths: Ids | None = None) -> tuple[LogProbs, HmmState]:
        """Return (B, V) natural log-probabilities of what follows ``ids``, and the new state."""
        padded, ends = self._padded(ids, lengths)
        _, alpha, _ = filter_states(self.parameters, self._emitted, state.expected, padded)
        expected = alpha[ends - 1, np.arange(len(ids))] @ self.parameters.transition
        with np.errstate(divide="ignore"):
            log_probs = np.log(expected @ self.parameters.emission)
        return log_probs.astype(np.float32), HmmState(expected)

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return (B, T - 1) natural log-probabilities of every id but the first of each row; 0 at padding."""
        padded, ends = self._padded(ids, lengths)
        start = self.initial_state(len(ids)).expected
        scale = filter_states(self.parameters, self._emitted, start, padded)[2][1:].T
        scores = np.log(scale)
        scores[np.append(self._never, False)[padded[:, 1:]]] = -np.inf
        scores[np.arange(1, ids.shape[1]) >= ends[:, None]] = 0.0
        return scores.astype(np.float32)

    def tag(self, ids: Ids, lengths: Ids | None = None) -> Ids:
        """Return the most probable states (B, T) of every row by Viterbi's algorithm; -1 at padding."""
        padded, ends = self._padded(ids, lengths)
        paths = best_paths(self.parameters, padded)
        paths[np.arange(ids.shape[1]) >= ends[:, None]] = -1
        return paths

    def config(self) -> dict[str, Any]:
        """Return what ``from_tensors`` needs besides the tensors, and what a reader wants to know."""
        return {
            "model_type": "hmm",
            "states": self.states,
            "vocab_size": self.vocab_size,
            "state_names": list(self.state_names),
            "nats_per_token": list(self.history),
        }

    def save_tensors(self) -> dict[str, Floats]:
        """Return ``start`` (S,), ``transition`` (S, S) and ``emission`` (S, V)."""
        found = self.parameters
        tensors = {"start": found.start, "transition": found.transition, "emission": found.emission}
        return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> HmmModel:
        """Return the model that ``config`` and ``save_tensors`` describe.

        Raises:
            ModelFolderError: a tensor is missing, or its values cannot be a hidden Markov model's.
        """
        states, size = config.get("states"), config.get("vocab_size")
        shapes = {"start": (states,), "transition": (states, states), "emission": (states, size)}
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            raise _wrong("the tensors' names or shapes do not fit config.json", "张量的名称或形状与 config.json 不符")
        if any(tensor.dtype != np.float64 for tensor in tensors.values()):
            raise _wrong("the tensors are not float64", "张量不是 float64")
        if any(np.abs(tensor.sum(axis=-1) - 1).max(initial=0) > 1e-6 for tensor in tensors.values()):
            raise _wrong("the probabilities do not sum to one", "概率之和不为一")
        possible = tensors["emission"].any(axis=0)
        if not all(
            (part > 0).all() for part in (tensors["start"], tensors["transition"], tensors["emission"][:, possible])
        ):
            raise _wrong("a probability is not above zero", "有概率不大于零")
        names = config.get("state_names") or ()
        if names and (not isinstance(names, list) or len(names) != states):
            raise _wrong("state_names does not name every state", "state_names 未给每个状态命名")
        return cls(Parameters(**tensors), names, config.get("nats_per_token") or ())

    def _padded(self, ids: Ids, lengths: Ids | None) -> tuple[Ids, Ids]:
        """Return ids with ``V`` for padding, whatever stood there, and the lengths."""
        ends = np.full(len(ids), ids.shape[1]) if lengths is None else np.asarray(lengths, np.int64)
        real = np.arange(ids.shape[1]) < ends[:, None]
        check_ids(ids[real], self.vocab_size, tr("the text", "文本"))
        return np.where(real, ids, self.vocab_size), ends


def _passes(
    parameters: Parameters, windows: Windows, settings: HmmSettings, possible: NDArray[np.bool_], deadline: float
) -> tuple[Parameters, list[float]]:
    """Return the parameters after Baum-Welch on ``windows``, and the nats per token before each pass."""
    history: list[float] = []
    tokens = int((windows < len(possible)).sum())
    with progress("Baum-Welch", total=settings.iterations * tokens, unit="tokens") as bar:
        while len(history) < settings.iterations and time.monotonic() < deadline:
            counted = expected_counts(parameters, windows)
            history.append(-counted.nats / tokens)
            bar.advance(tokens)
            bar.note(tr(f"{history[-1]:.4f} nats/token", f"{history[-1]:.4f} 奈特/词元"))
            parameters = maximise(counted, settings.smoothing, possible)
            if len(history) > 1 and history[-2] - history[-1] < settings.tolerance:
                break
    return parameters, history


def maximise(counts: Counts, smoothing: float, possible: NDArray[np.bool_] | None = None) -> Parameters:
    """Return the parameters that make the counts most probable, each count raised by ``smoothing``.

    ``possible`` (V,): ids that may come; None: all.
    """
    emission = counts.emission + smoothing * (1.0 if possible is None else possible)
    return Parameters(_shares(counts.start + smoothing), _shares(counts.transition + smoothing), _shares(emission))


def count_tagged(
    tags: Sequence[NDArray[Any]], sequences: Sequence[NDArray[Any]], states: int, vocab_size: int
) -> Counts:
    """Return how often each start, transition and emission stands in tagged texts.

    Raises:
        DataError: a text and its tags differ in length, or a number is out of range.
    """
    if [len(path) for path in tags] != [len(ids) for ids in sequences]:
        raise DataError(
            tr(
                "the tags and the ids of a text differ in length; give one tag per id",
                "标签与词元编号的数量不一致；请为每个词元给一个标签",
            )
        )
    kept = [(path, ids) for path, ids in zip(tags, sequences, strict=True) if len(ids)]
    paths = np.concatenate([np.zeros(0, np.int64), *(path for path, _ in kept)])
    ids = np.concatenate([np.zeros(0, np.int64), *(ids for _, ids in kept)])
    check_ids(paths, states, tr("the tags", "标签"))
    check_ids(ids, vocab_size, tr("the text", "文本"))
    firsts = np.cumsum([0, *(len(path) for path, _ in kept)])[:-1]
    moves = np.delete(paths[:-1] * states + paths[1:], firsts[1:] - 1) if len(paths) else paths
    return Counts(
        np.bincount(paths[firsts], minlength=states).astype(np.float64) if kept else np.zeros(states),
        np.bincount(moves, minlength=states**2).reshape(states, states).astype(np.float64),
        np.bincount(paths * vocab_size + ids, minlength=states * vocab_size).reshape(states, -1).astype(np.float64),
        nats=float("nan"),
    )


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _possible(counts: NDArray[np.int64], unpredictable: frozenset[int]) -> NDArray[np.bool_]:
    """Return which ids may come (V,); refuse a text where one comes that may not, or none."""
    if not counts.any():
        raise DataError(tr("there is no text to learn from; give more text", "没有可供学习的文本；请提供更多文本"))
    possible = np.ones(len(counts), bool)
    possible[list(unpredictable)] = False
    if wrong := np.flatnonzero(counts * ~possible).tolist():
        raise DataError(
            tr(
                f"id {wrong[0]} never comes next, yet stands in the text; prepare the text again",
                f"编号 {wrong[0]} 不应出现在文本中，却出现了；请重新准备文本",
            )
        )
    return possible


def _random_start(
    counts: NDArray[np.int64], possible: NDArray[np.bool_], settings: HmmSettings, seed: int
) -> Parameters:
    """Every state emits the text's ids in random proportions: equal states would stay equal for ever."""
    rng = np.random.default_rng(seed)
    shape = (settings.states, settings.states)
    emission = (counts + settings.smoothing) * possible * rng.gamma(1.0, size=(settings.states, len(counts)))
    emission += settings.smoothing * possible
    return Parameters(
        _shares(np.ones(settings.states)), _shares(rng.gamma(1.0, size=shape) + settings.smoothing), _shares(emission)
    )


def _wrong(problem: str, problem_zh: str) -> ModelFolderError:
    return ModelFolderError(
        tr(
            f"hidden Markov model: {problem}; the folder is damaged, copy or make it again",
            f"隐马尔可夫模型：{problem_zh}；模型文件夹已损坏，请重新复制或生成",
        )
    )
