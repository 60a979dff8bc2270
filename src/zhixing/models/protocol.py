"""The waist that an n-gram, an LSTM and a GPT all satisfy: next-token log-probabilities with an opaque state.

One evaluator, one generator and one server work for every model that has these methods. The waist is NumPy, so a
statistical model needs no torch. Batches are padded on the right; ``lengths`` says how many ids of each row are real.

Every text is preceded by the tokenizer's separator id: ``[separator] + ids``. A model is never asked for the
probability of the first id it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
LogProbs = NDArray[np.float32]
State = Any
"""What a model remembers of the ids so far, one row per text. Only the model that made it may look inside."""


@runtime_checkable
class LanguageModel(Protocol):
    """A distribution over the next token given the tokens before it."""

    @property
    def family(self) -> str:
        """The family's name, equal to its module's: ``"llama"``, ``"gpt2"``, ``"ngram"``, ``"mixture"``, ..."""

    @property
    def vocab_size(self) -> int:
        """``V``."""

    @property
    def context_length(self) -> int | None:
        """The most ids a state can hold (so the most ids of one text, separator included); None: no limit."""

    def initial_state(self, batch: int) -> State:
        """Return the state of ``batch`` texts of which nothing has been read."""

    def next_log_probs(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[LogProbs, State]:
        """Read ``ids`` after what ``state`` has read, and return what comes next.

        Args:
            ids: (B, T), T >= 1, right-padded.
            state: of B rows; it may be consumed: use only the returned one afterwards.
            lengths: (B,) number of real ids in each row, >= 1; None: all T.

        Returns:
            (B, V) natural log-probabilities of the id after each row's last real id, and the new state.

        Raises:
            ContextLengthError: a row would exceed ``context_length``.
        """

    def score(self, ids: Ids, lengths: Ids | None = None) -> LogProbs:
        """Return the natural log-probability of every id but the first of each row, given those before it.

        Args:
            ids: (B, T), T >= 2, right-padded, T - 1 <= ``context_length``.
            lengths: (B,) number of real ids in each row; None: all T.

        Returns:
            (B, T - 1) float32; 0 at padding.
        """

    def keep_rows(self, state: State, rows: Sequence[int]) -> State:
        """Return a state with only the given rows, in the given order (rows may repeat)."""

    def join_states(self, states: Sequence[State]) -> State:
        """Return one state whose rows are those of all the given states, in order."""
