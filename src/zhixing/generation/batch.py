"""Many texts written together: one model call for each step, rows that come and go.

This is all that a batching engine needs of the model: a padded prefill, one step for every row, finished
rows leave (``keep_rows``), new ones enter (``join_states``). When to add whom is the caller's business.

A text is chosen from its own row, its own settings and its own random numbers, so its neighbours cannot
change it, except through the last bits of the model's arithmetic: see ``sampling``. A batch of one row
excludes even that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import ZhixingError
from zhixing.generation.sequence import SequenceState
from zhixing.models.protocol import LanguageModel, State

Emission = tuple[SequenceState, str | ZhixingError]
"""A sequence and the text it may show now, or the error that ended it."""


class Batch:
    """The texts being written now, each with its row in the model's state."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._state: State | None = None
        self.active: list[SequenceState] = []

    def add(self, sequences: Sequence[SequenceState]) -> list[Emission]:
        """Read the prompts and choose each sequence's first token. Equal prompts are read once.

        Sequences that are finished already (``max_new_tokens=0``) are passed over.
        """
        fresh = [sequence for sequence in sequences if not sequence.finished]
        if not fresh:
            return []
        prompts = list(dict.fromkeys(sequence.prompt for sequence in fresh))
        rows = [prompts.index(sequence.prompt) for sequence in fresh]
        log_probs, state = self._prefill(prompts)
        if rows != list(range(len(prompts))):
            state = self._model.keep_rows(state, rows)
        emissions = _accept(fresh, log_probs[rows])
        self._enter(state, fresh, emissions)
        return emissions

    def step(self) -> list[Emission]:
        """Let every active sequence read its last id and choose the next."""
        if not self.active:
            return []
        ids = np.array([[sequence.last_id] for sequence in self.active], dtype=np.int64)  # (B, 1)
        log_probs, self._state = self._model.next_log_probs(ids, self._state)
        emissions = _accept(self.active, log_probs)
        self._leave(_going(emissions))
        return emissions

    def remove(self, sequence: SequenceState) -> None:
        """Drop a sequence before its end: its reader went away."""
        self._leave([row for row, other in enumerate(self.active) if other is not sequence])

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> tuple[NDArray[np.float32], State]:
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        ids = np.zeros((len(prompts), int(lengths.max())), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        return self._model.next_log_probs(ids, self._model.initial_state(len(prompts)), lengths)

    def _enter(self, state: State, sequences: Sequence[SequenceState], emissions: Sequence[Emission]) -> None:
        going = _going(emissions)
        if not going:
            return
        if len(going) < len(sequences):
            state = self._model.keep_rows(state, going)
        self._state = self._model.join_states([self._state, state]) if self.active else state
        self.active = [*self.active, *(sequences[row] for row in going)]

    def _leave(self, staying: Sequence[int]) -> None:
        if len(staying) == len(self.active):
            return
        self._state = self._model.keep_rows(self._state, staying) if staying else None
        self.active = [self.active[row] for row in staying]


def _accept(sequences: Sequence[SequenceState], log_probs: NDArray[np.float32]) -> list[Emission]:
    """Hand every sequence its row. One that fails takes only itself out of the batch."""
    emissions: list[Emission] = []
    for sequence, row in zip(sequences, log_probs, strict=True):
        try:
            emissions.append((sequence, sequence.accept(row)))
        except ZhixingError as error:
            emissions.append((sequence, error))
    return emissions


def _going(emissions: Sequence[Emission]) -> list[int]:
    return [row for row, (sequence, shown) in enumerate(emissions) if isinstance(shown, str) and not sequence.finished]
