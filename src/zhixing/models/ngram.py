"""The n-gram language model with interpolated modified Kneser-Ney smoothing.

Papers: Kneser and Ney, "Improved backing-off for m-gram language modeling" (1995); Chen and Goodman, "An
empirical study of smoothing techniques for language modeling" (1998), equation 26: three discounts
per order.

    p(w | h) = (a(h w) - D(a(h w))) / sum_v a(h v) + gamma(h) p(w | h without its first id)

``a`` is how often ``h w`` occurs at the highest order, and below it how many different ids occur before ``h
w``. What differs from the textbook: one separator id plays both <s> and </s> (an n-gram that begins with it
can have nothing before it, so it keeps its occurrences as ``a``); the recursion ends in the uniform
distribution over the whole vocabulary, so every id has a probability in every context; discounts that a
small corpus leaves undefined fall back to Ney's single discount, and then to constants.
``zhixing.theory.ngram`` states the same in dictionaries.

Each n-gram's interpolated probability and each context's gamma are stored, so a query is the longest n-gram
that is known, times the gammas of the longer contexts that are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.config import Settings, setting
from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.models.ngram_counts import adjusted_counts, count_orders, join_sequences, smooth
from zhixing.models.ngram_tables import Array, HashIndex, OrderTable, check_ids, run_threads
from zhixing.models.protocol import Ids, LogProbs

Floats = NDArray[np.float64]
Orders = NDArray[np.int8]

_SCORE_BLOCK = 1 << 16


class NgramSettings(Settings):
    """Settings of the n-gram model."""

    family: Literal["ngram"] = "ngram"
    order: int = setting(
        5,
        "longest n-gram: the id itself and order - 1 before it",
        "最长的 n 元组：当前词元及其前 order - 1 个",
        unit="tokens",
        ge=1,
        le=10,
    )


@dataclass(frozen=True)
class NgramState:
    """The last ``order - 1`` ids of each text, right-aligned; -1 where the text is shorter."""

    ids: Ids
    """(B, order - 1)."""


class NgramModel:
    """A ``LanguageModel`` whose memory is the last ``order - 1`` ids."""

    family = "ngram"
    context_length = None

    def __init__(
        self,
        unigram: NDArray[np.float32],
        backoffs: NDArray[np.float32],
        tables: Sequence[OrderTable],
        separator_id: int,
        discounts: Sequence[Sequence[float]] = (),
    ) -> None:
        """Take probabilities as ``fit`` computes them.

        Args:
            unigram: (V,) probability of each id with no context; 0 marks an id that is never predicted.
            backoffs: (V,) gamma of each id as a context.
            tables: of orders 2, 3, ...
            separator_id: id between documents.
            discounts: three per order, as estimated; for the record.
        """
        self.unigram, self.backoffs, self.tables = unigram, backoffs, tuple(tables)
        self.separator_id, self.discounts = separator_id, tuple(map(tuple, discounts))

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return len(self.tables) + 1

    @property
    def vocab_size(self) -> int:
        """``V``."""
        return len(self.unigram)

    @property
    def nbytes(self) -> int:
        """Size of the stored tables in bytes, without the index that the first query builds."""
        return sum(tensor.nbytes for tensor in self.save_tensors().values())

    @classmethod
    def fit(
        cls,
        sequences: Iterable[Array],
        vocab_size: int,
        separator_id: int,
        order: int = 5,
        unpredictable: frozenset[int] = frozenset(),
    ) -> NgramModel:
        """Count ``sequences`` and smooth.

        Args:
            sequences: arrays of ids; the first id of each is context only. One array (a memory map too)
                is one sequence. A separator inside ends a document and begins the next.
            vocab_size: ``V``.
            separator_id: id between documents.
            order: length of the longest n-gram, 1 to 10.
            unpredictable: ids that never come next; they get probability 0.

        Raises:
            DataError: an id outside the vocabulary, or an unpredictable id that comes next in the data.
        """
        NgramSettings(order=order)
        stream = join_sequences(sequences, vocab_size, separator_id)
        counted = count_orders(stream, vocab_size, order)
        found = smooth(counted, adjusted_counts(stream, counted, vocab_size), unpredictable)
        return cls(found.unigram, found.backoffs, found.tables, separator_id, found.discounts)

    def initial_state(self, batch: int) -> NgramState:
        """Return the state of ``batch`` texts of which nothing has been read."""
        return NgramState(np.full((batch, self.order - 1), -1, np.int64))

    def keep_rows(self, state: NgramState, rows: Sequence[int]) -> NgramState:
        """Return a state with only the given rows, in the given order (rows may repeat)."""
        return NgramState(state.ids[np.asarray(rows, np.int64)])

    def join_states(self, states: Sequence[NgramState]) -> NgramState:
        """Return one state whose rows are those of all the given states, in order."""
        return NgramState(np.concatenate([state.ids for state in states]))

    def next_log_probs(self, ids: Ids, state: NgramState, lengths: Ids | None = None) -> tuple[LogProbs, NgramState]:
        """Return (B, V) natural log-probabilities of what follows ``ids``, and the new state."""
        log_probs, _, state = self.next_with_order(ids, state, lengths)
        return log_probs, state

    def next_with_order(
        self, ids: Ids, state: NgramState, lengths: Ids | None = None
    ) -> tuple[LogProbs, Orders, NgramState]:
        """Return ``next_log_probs`` and, between, the length (B,) of each row's longest known context."""
        state = self._read(ids, state, lengths)
        contexts = self._contexts(state)  # (B, order - 1)
        log_probs = np.empty((len(contexts), self.vocab_size), np.float32)
        matched = np.zeros(len(contexts), np.int8)
        with np.errstate(divide="ignore"):
            for row, nodes in enumerate(contexts):
                probs, matched[row] = self._distribution(nodes)
                np.log(probs, out=log_probs[row], casting="same_kind")
        return log_probs, matched, state

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return (B, T - 1) natural log-probabilities of every id but the first of each row; 0 at padding."""
        return self.score_with_order(ids, lengths)[0]

    def score_with_order(self, ids: Ids, lengths: Ids | None = None) -> tuple[LogProbs, Orders]:
        """Return ``score`` and the length of the longest known context of each id, both (B, T - 1)."""
        batch, longest = ids.shape
        real = None if lengths is None else np.arange(longest) < np.asarray(lengths)[:, None]
        flat = ids.reshape(-1) if real is None else ids[real]
        check_ids(flat, self.vocab_size, tr("the text", "文本"))
        flat = np.ascontiguousarray(flat, dtype=np.int64)
        firsts = np.zeros((batch, longest), bool)
        firsts[:, 0] = True
        scores, matched = self._score_stream(flat, firsts.reshape(-1) if real is None else firsts[real])
        if real is None:
            return scores.reshape(batch, longest)[:, 1:], matched.reshape(batch, longest)[:, 1:]
        spread = np.zeros((batch, longest), np.float32), np.zeros((batch, longest), np.int8)
        spread[0][real], spread[1][real] = scores, matched
        return spread[0][:, 1:], spread[1][:, 1:]

    def config(self) -> dict[str, Any]:
        """Return what ``from_tensors`` needs besides the tensors, and what a reader wants to know."""
        return {
            "model_type": "ngram",
            "smoothing": "modified-kneser-ney",
            "order": self.order,
            "vocab_size": self.vocab_size,
            "separator_id": self.separator_id,
            "discounts": [list(row) for row in self.discounts],
        }

    def save_tensors(self) -> dict[str, Array]:
        """Return every table by name: ``1.probs``, ``1.backoffs``, ``2.starts``, ``2.words``, ..."""
        tensors: dict[str, Array] = {"1.probs": self.unigram, "1.backoffs": self.backoffs}
        for n, table in enumerate(self.tables, start=2):
            tensors |= {f"{n}.{name}": getattr(table, name) for name in _tensor_names(n, self.order)}
        return tensors

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, Array]) -> NgramModel:
        """Return the model that ``config`` and ``save_tensors`` describe.

        Raises:
            ModelFolderError: a field or tensor is missing, or its values cannot be an n-gram model's.
        """
        return _restore(config, tensors)

    @cached_property
    def _indexes(self) -> tuple[HashIndex, ...]:
        def build(table: OrderTable) -> HashIndex:
            return HashIndex(table.starts, table.words, table.probs, self.vocab_size)

        return tuple(run_threads(build, self.tables))

    def _read(self, ids: Ids, state: NgramState, lengths: Ids | None) -> NgramState:
        """Return the state after ``ids``: the last ``order - 1`` of what was there and what is new."""
        ends = np.full(len(ids), ids.shape[1]) if lengths is None else np.asarray(lengths)
        real = ids if lengths is None else ids[np.arange(ids.shape[1]) < ends[:, None]]
        check_ids(real, self.vocab_size, tr("the text", "文本"))
        width = state.ids.shape[1]
        together = np.concatenate([state.ids, ids], axis=1)
        return NgramState(np.take_along_axis(together, ends[:, None] + np.arange(width), axis=1))

    def _contexts(self, state: NgramState) -> NDArray[np.int64]:
        """Return the node of every context that ends each row, by length 1, 2, ...; -1 if unknown."""
        batch, width = state.ids.shape
        if width == 0:
            return np.zeros((batch, 0), np.int64)
        nodes = [state.ids]
        for n, index in enumerate(self._indexes[:-1], start=2):
            earlier, latest = nodes[-1][:, :-1], state.ids[:, n - 1 :]
            found = np.full(latest.shape, -1, np.int64)
            known = earlier >= 0
            found[known] = index.find(earlier[known] * self.vocab_size + latest[known])[0]
            nodes.append(found)
        return np.stack([level[:, -1] for level in nodes], axis=1)

    def _distribution(self, nodes: NDArray[np.int64]) -> tuple[Floats, int]:
        """Return the (V,) probabilities after a context given by its nodes, and the longest known length."""
        probs, matched = self.unigram.astype(np.float64), 0
        backoffs = [self.backoffs, *(table.backoffs for table in self.tables)]
        for length, (node, table) in enumerate(zip(nodes, self.tables, strict=True), start=1):
            if node < 0:
                continue
            followers = slice(int(table.starts[node]), int(table.starts[node + 1]))
            probs *= backoffs[length - 1][node]  # 1 where nothing follows, unless another program says otherwise
            if followers.start < followers.stop:
                probs[table.words[followers]] = table.probs[followers]
                matched = length
        return probs, matched

    def _score_stream(self, ids: Ids, firsts: NDArray[np.bool_]) -> tuple[LogProbs, Orders]:
        """Return log-probability and matched order of every id of a flat stream, in blocks that overlap."""
        scores, matched = np.empty(len(ids), np.float32), np.empty(len(ids), np.int8)
        self._indexes  # noqa: B018 - built once, before the threads share it

        def score_block(begin: int) -> None:
            lead = min(begin, self.order - 1)
            block = slice(begin - lead, begin + _SCORE_BLOCK)
            probs, orders = self._score_block(ids[block], firsts[block])
            with np.errstate(divide="ignore"):
                scores[begin : begin + _SCORE_BLOCK] = np.log(probs[lead:])
            matched[begin : begin + _SCORE_BLOCK] = orders[lead:]

        run_threads(score_block, range(0, len(ids), _SCORE_BLOCK))
        return scores, matched

    def _score_block(self, ids: Ids, firsts: NDArray[np.bool_]) -> tuple[Floats, Orders]:
        probs = self.unigram.take(ids).astype(np.float64)
        matched = np.zeros(len(ids), np.int8)
        nodes = ids  # of the longest n-gram of the current order that ends at each place; -1 if unknown
        backoffs = self.backoffs
        for n, (table, index) in enumerate(zip(self.tables, self._indexes, strict=True), start=2):
            contexts = np.empty_like(ids)
            contexts[0], contexts[1:] = -1, nodes[:-1]
            contexts[firsts] = -1  # no n-gram reaches back into the row before
            known = np.flatnonzero(contexts >= 0)
            contexts = contexts.take(known)
            found, values = index.find(contexts * self.vocab_size + ids.take(known))
            hit, missed = np.flatnonzero(found >= 0), np.flatnonzero(found < 0)
            probs[known.take(hit)] = values.take(hit)
            weights = backoffs.take(contexts.take(missed))
            probs[known.take(missed)] *= weights
            matched[known.take(hit)] = n - 1
            matched[known.take(missed[weights < 1])] = n - 1
            nodes = np.full(len(ids), -1, np.int64)
            nodes[known] = found
            backoffs = table.backoffs
        return probs, matched


def _restore(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> NgramModel:
    order, size, separator = (_whole(config, name) for name in ("order", "vocab_size", "separator_id"))
    if order > len(tensors):
        raise _wrong("config.json: order", f"is {order}, more than there are tensors", f"为 {order}，多于张量的数目")
    names = {f"{n}.{name}" for n in range(1, order + 1) for name in _tensor_names(n, order)}
    if names != set(tensors):
        raise _wrong(", ".join(sorted(names ^ set(tensors))), "is missing or unknown", "缺失或未知")
    if not 0 <= separator < size:
        raise _wrong("config.json: separator_id", "is outside the vocabulary", "不在词表中")
    for name, tensor in tensors.items():
        _check_values(name, tensor, size)
    contexts = size
    tables = []
    for n in range(1, order + 1):
        found = {name: tensors[f"{n}.{name}"] for name in _tensor_names(n, order)}
        count = size if n == 1 else len(found["words"])
        if any(len(found[name]) != count for name in found if name != "starts"):
            raise _wrong(f"{n}.*", "differ in length", "长度不一致")
        if n > 1:
            _check_followers(n, found["starts"], found["words"], contexts)
            tables.append(OrderTable(**{"backoffs": np.zeros(0, np.float32), **found}))
        contexts = count
    return NgramModel(tensors["1.probs"], tensors["1.backoffs"], tables, separator, config.get("discounts", ()))


def _tensor_names(n: int, order: int) -> list[str]:
    """Return the tensors of order ``n`` in a model of order ``order``."""
    return ["probs"] + ["backoffs"] * (n < order or n == 1) + ["starts", "words"] * (n > 1)


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not (1 if name != "separator_id" else 0) <= value:
        raise _wrong(f"config.json: {name}", f"is {value!r}, not a whole number", f"为 {value!r}，不是整数")
    return value


def _check_values(name: str, tensor: Array, vocab_size: int) -> None:
    """Raise unless the values of one tensor are of the right type and range."""
    kind = name.split(".")[1]
    if tensor.ndim != 1 or tensor.dtype.kind != ("f" if kind in ("probs", "backoffs") else "u"):
        raise _wrong(name, "has the wrong type or shape", "类型或形状不对")
    if kind in ("probs", "backoffs"):
        # Order 1 may hold zeros: ids that are never predicted. A comparison is false for NaN.
        least = 0.0 if name == "1.probs" else np.finfo(np.float32).tiny
        # Weights of models that others have pruned may be above 1.
        most = 1.0 if kind == "probs" else np.finfo(np.float32).max
        if len(tensor) and not (tensor.min() >= least and tensor.max() <= most):
            raise _wrong(name, "holds values that are not probabilities", "含有不是概率的值")
    if name == "1.probs" and not abs(float(tensor.sum(dtype=np.float64)) - 1) < 1e-3:
        raise _wrong(name, "does not sum to one", "总和不为一")
    if kind == "words" and len(tensor) and tensor.max() >= vocab_size:
        raise _wrong(name, "holds an id outside the vocabulary", "含有词表之外的编号")


def _check_followers(n: int, starts: Array, words: Array, contexts: int) -> None:
    """Raise unless ``starts`` cuts ``words`` into one rising slice per context."""
    whole = len(starts) == contexts + 1 and starts[0] == 0 and starts[-1] == len(words)
    if not whole or np.any(starts[1:] < starts[:-1]):
        raise _wrong(f"{n}.starts", "does not divide the n-grams among the contexts", "未能将 n 元组分给各上下文")
    falls = np.flatnonzero(words[1:] <= words[:-1]) + 1
    if len(falls) and not np.isin(falls, starts).all():
        raise _wrong(f"{n}.words", "is not sorted within its contexts", "在上下文内未排序")


def _wrong(name: str, problem: str, problem_zh: str) -> ModelFolderError:
    return ModelFolderError(
        tr(
            f"n-gram model: {name} {problem}; the folder is damaged, copy or make it again",
            f"n 元模型：{name} {problem_zh}；模型文件夹已损坏，请重新复制或生成",
        )
    )
