"""Small real models that need no training: enough to tell a right evaluation from a wrong one."""

import numpy as np
import pytest

from zhixing.errors import ContextLengthError


class CacheModel:
    """p(x | c) = (a + count of x in c) / (a V + length of c): depends on every id of the window."""

    family = "cache"

    def __init__(self, vocab_size, context_length=None, smoothing=1.0):
        self.vocab_size, self.context_length, self.smoothing = vocab_size, context_length, smoothing
        self.scored_lengths = []

    def initial_state(self, batch):
        return [np.zeros(0, np.int64) for _ in range(batch)]

    def _distribution(self, read):
        counts = np.bincount(read, minlength=self.vocab_size) + self.smoothing
        return np.log(counts / counts.sum()).astype(np.float32)

    def next_log_probs(self, ids, state, lengths=None):
        lengths = [ids.shape[1]] * len(ids) if lengths is None else lengths
        state = [np.concatenate([s, row[:n]]) for s, row, n in zip(state, ids, lengths, strict=True)]
        for read in state:
            if self.context_length is not None and len(read) > self.context_length:
                raise ContextLengthError(len(read), self.context_length)
        return np.stack([self._distribution(read) for read in state]), state

    def score(self, ids, lengths=None):
        lengths = [ids.shape[1]] * len(ids) if lengths is None else [int(n) for n in lengths]
        out = np.zeros((len(ids), ids.shape[1] - 1), np.float32)
        for row, length in enumerate(lengths):
            self.scored_lengths.append(length)
            if self.context_length is not None and length - 1 > self.context_length:
                raise ContextLengthError(length - 1, self.context_length)
            for t in range(1, length):
                out[row, t - 1] = self._distribution(ids[row, :t])[ids[row, t]]
        return out

    def keep_rows(self, state, rows):
        return [state[row] for row in rows]

    def join_states(self, states):
        return [row for state in states for row in state]


@pytest.fixture
def cache_model():
    return CacheModel
